/**
 * Brings a domain key to the partitions of its domain by an authenticated ECDH exchange between two tokens. There is
 * one exchange per member and version, including the birthplace (design section 4, Exchange).
 *
 * Each side's identity key signs the transcript. Each side checks the other identity against pins from its own
 * configuration, so neither a relay nor a coordinator can get between them.
 *
 * The domain key is extractable only as a session object of the birthplace, and only during one distribution.
 */
import { AntipodeError, bytesEqual, type Clock, type Prng, sha256 } from '@antipode/runtime';
import { hasOfficerKey, hasReceivingKey, isOfficerKeyOf, receivesFor } from '../model/identity.ts';
import type { Handle } from '../model/object.ts';
import { fingerprint } from '../model/public-half.ts';
import { isSignedBy } from '../model/signed-manifest.ts';
import type { HsmProvider } from '../provider/provider.ts';
import { CKA_ID_BYTES, type DomainKeyRecord, domainKeyLabel, type Keyring, type TrustedKeyRecord } from './keyring.ts';

/** One side's contribution. */
export interface ExchangeOffer {
  readonly serial: string;
  /** Identity key, SubjectPublicKeyInfo. */
  readonly identity: Uint8Array;
  /** 32 random bytes. */
  readonly nonce: Uint8Array;
  /** Fresh ECDH P-256 point, uncompressed. */
  readonly point: Uint8Array;
  /** SubjectPublicKeyInfo of the responder's receiving key, if its identity names one. */
  readonly receiver?: Uint8Array;
  /**
   * SubjectPublicKeyInfo of the responder's officer key, if its identity names one. The responder then wants a trusted
   * key too.
   */
  readonly officer?: Uint8Array;
}

export interface BeginExchange {
  readonly exchangeId: string;
  readonly group: string;
  readonly version: number;
  readonly offer: ExchangeOffer;
}

export interface CompleteExchange {
  readonly exchangeId: string;
  /** The domain key under the agreed key, RFC 5649. */
  readonly wrappedKey: Uint8Array;
  /** The trusted key of the version, wrapped for the officer key and under the agreed key. */
  readonly wrappedTrustedKey?: Uint8Array;
  readonly signature: Uint8Array;
}

/** The way to one member, in process or over the wire. It writes nothing to disk or log. */
export interface ExchangeTransport {
  readonly serial: string;
  begin(message: BeginExchange): Promise<{ offer: ExchangeOffer; signature: Uint8Array }>;
  complete(message: CompleteExchange): Promise<{ checkTag: Uint8Array; signature: Uint8Array }>;
}

const NONCE_BYTES = 32;
/** An exchange that is begun keeps a session key. After this time it is forgotten. */
const EXCHANGE_MS_MAX = 60_000;
const EXCHANGES_MAX = 16;

type Step = 'answer' | 'delivery' | 'receipt';

/** Everything that both sides must agree on, with lengths, under a prefix of its own and the name of the step. */
function transcript(
  step: Step,
  {
    exchangeId,
    group,
    version,
    initiator,
    responder,
    extra,
  }: {
    exchangeId: string;
    group: string;
    version: number;
    initiator: ExchangeOffer;
    responder: ExchangeOffer;
    extra: readonly Uint8Array[];
  },
): Uint8Array {
  const side = ({ serial, identity, nonce, point }: ExchangeOffer): Uint8Array[] => [
    Buffer.from(serial),
    sha256(identity),
    nonce,
    point,
  ];
  const parts = [
    Buffer.from(step),
    Buffer.from(exchangeId),
    Buffer.from(group),
    Buffer.from(String(version)),
    ...side(initiator),
    ...side(responder),
    ...extra,
  ];
  const framed = parts.flatMap((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    return [length, part];
  });
  return Buffer.concat([Buffer.from('antipode exchange v1\0'), ...framed]);
}

function refuse(why: string, details: Readonly<Record<string, string | number>>): never {
  throw new AntipodeError('EXCHANGE_REFUSED', `the domain key exchange is refused: ${why}`, { details });
}

function checkPeer(
  offer: ExchangeOffer,
  { group, isPinned }: { group: string; isPinned: (identitySha256: string, offer: ExchangeOffer) => boolean },
): void {
  const identity = fingerprint(offer.identity);
  if (!isPinned(identity, offer)) {
    throw new AntipodeError(
      'PEER_NOT_PINNED',
      `partition ${offer.serial} shows identity ${identity}, which is not pinned for it in group ${group}`,
      {
        details: { group, serial: offer.serial, identity },
      },
    );
  }
  if (offer.nonce.length !== NONCE_BYTES || offer.point.length !== 65 || offer.point[0] !== 4)
    refuse('an offer is malformed', { serial: offer.serial });
}

/**
 * The key under which the domain key is sent. An identity that names a receiving key gets nothing under any other key,
 * nor without one. The pin covers both.
 */
function receiverOf({ serial, identity, receiver }: ExchangeOffer): { receiver?: Uint8Array } {
  if (!hasReceivingKey(identity)) return {};
  if (receiver === undefined || !receivesFor(identity, receiver))
    refuse('the receiving key in the answer is not the one in the identity', { serial });
  return { receiver };
}

/** The key under which the trusted key is sent. A responder without an officer key wants no trusted key. */
function officerOf({ serial, identity, officer }: ExchangeOffer): Uint8Array | undefined {
  if (!hasOfficerKey(identity) || !officer?.length) return undefined;
  if (!isOfficerKeyOf(identity, officer))
    refuse('the officer key in the answer is not the one in the identity', { serial });
  return officer;
}

/** The parts of a delivery that both sides sign. */
const deliveredIn = ({ wrappedKey, wrappedTrustedKey }: Omit<CompleteExchange, 'exchangeId' | 'signature'>) =>
  [wrappedKey, wrappedTrustedKey].flatMap((wrapped) => (wrapped?.length ? [sha256(wrapped)] : []));

export interface Distribution {
  readonly confirmedSerials: readonly string[];
  readonly failures: readonly { readonly serial: string; readonly error: AntipodeError }[];
  /** Members with equal check tags hold the same key. */
  readonly checkTag: Uint8Array | undefined;
}

interface DistributionOptions {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly prng: Prng;
  readonly serial: string;
  readonly group: string;
  readonly version: number;
  readonly members: readonly ExchangeTransport[];
  /** Whether the identity is pinned for the partition that the offer names. */
  readonly isPinned: (identitySha256: string, offer: ExchangeOffer) => boolean;
}

/**
 * Makes a new domain key in this token and brings it to every member. Nothing is installed anywhere until each member
 * has answered and is pinned. A member that fails after that gets the next version.
 */
export async function distributeDomainKey(options: DistributionOptions): Promise<Distribution> {
  const { provider, members } = options;
  const session: Handle[] = [];
  const failures: { serial: string; error: AntipodeError }[] = [];
  /** The results of the members that succeed. The others are in `failures`. */
  const attempt = async <T>(serial: string, work: () => Promise<T>): Promise<T[]> => {
    try {
      return [await work()];
    } catch (thrown) {
      failures.push({ serial, error: AntipodeError.from(thrown) });
      return [];
    }
  };
  try {
    const begun = await Promise.all(
      members.map((member) => attempt(member.serial, () => begin(options, member, session))),
    );
    if (failures.length > 0) return { confirmedSerials: [], failures, checkTag: undefined };
    const domainKey = await provider.generateDomainKey();
    session.push(domainKey);
    let trustedKey: Handle | undefined;
    if (begun.flat().some(({ responder }) => officerOf(responder) !== undefined)) {
      trustedKey = await provider.generateDomainKey();
      session.push(trustedKey);
    }
    const confirmedSerials: string[] = [];
    let checkTag: Uint8Array | undefined;
    for (const exchange of begun.flat()) {
      const { serial } = exchange.member;
      await attempt(serial, async () => {
        const tag = await deliver(options, exchange, { domainKey, trustedKey, session });
        if (checkTag !== undefined && !bytesEqual(tag, checkTag))
          refuse('a member confirmed a different key', { serial });
        checkTag = tag;
        confirmedSerials.push(serial);
      });
    }
    return { confirmedSerials, failures, checkTag };
  } finally {
    await provider.forget(session);
  }
}

/** An exchange that the member has answered. */
interface Begun {
  readonly member: ExchangeTransport;
  readonly ephemeral: Handle;
  readonly responder: ExchangeOffer;
  readonly common: Omit<Parameters<typeof transcript>[1], 'extra'>;
}

async function begin(
  { provider, keyring, prng, serial, group, version, isPinned }: DistributionOptions,
  member: ExchangeTransport,
  session: Handle[],
): Promise<Begun> {
  const exchangeId = Buffer.from(prng.bytes(16)).toString('hex');
  const { handle: ephemeral, point } = await provider.generateEphemeral();
  session.push(ephemeral);
  const nonce = prng.bytes(NONCE_BYTES);
  const initiator: ExchangeOffer = { serial, identity: keyring.identity.publicHalf, nonce, point };
  const { offer: responder, signature } = await member.begin({ exchangeId, group, version, offer: initiator });
  if (responder.serial !== member.serial)
    refuse('a different partition answered', { serial: member.serial, answered: responder.serial });
  checkPeer(responder, { group, isPinned });
  receiverOf(responder);
  officerOf(responder);
  const common = { exchangeId, group, version, initiator, responder };
  if (!isSignedBy(responder.identity, transcript('answer', { ...common, extra: [] }), signature))
    refuse('the answer is not signed by its identity', { serial: member.serial });
  return { member, ephemeral, responder, common };
}

async function deliver(
  { provider, keyring }: DistributionOptions,
  { member, ephemeral, responder, common }: Begun,
  { domainKey, trustedKey, session }: { domainKey: Handle; trustedKey: Handle | undefined; session: Handle[] },
): Promise<Uint8Array> {
  const exchangeKey = await provider.deriveExchangeKey({ ephemeral, peerPoint: responder.point, use: 'wrap' });
  session.push(exchangeKey);
  const wrappedKey = await provider.wrapDomainKey({ exchangeKey, domainKey, ...receiverOf(responder) });
  const receiver = officerOf(responder);
  const keys = {
    wrappedKey,
    ...(receiver === undefined || trustedKey === undefined
      ? {}
      : { wrappedTrustedKey: await provider.wrapDomainKey({ exchangeKey, domainKey: trustedKey, receiver }) }),
  };
  const delivery = transcript('delivery', { ...common, extra: deliveredIn(keys) });
  const receipt = await member.complete({
    exchangeId: common.exchangeId,
    ...keys,
    signature: await provider.signAsIdentity(keyring.identity.handle, delivery),
  });
  const receiptInput = transcript('receipt', { ...common, extra: [...deliveredIn(keys), receipt.checkTag] });
  if (!isSignedBy(responder.identity, receiptInput, receipt.signature))
    refuse('the receipt is not signed by its identity', { serial: member.serial });
  return receipt.checkTag;
}

interface OpenExchange {
  readonly begun: BeginExchange;
  readonly answer: ExchangeOffer;
  readonly ephemeral: Handle;
  readonly sinceMs: number;
}

/** The receiving side of one partition. */
export class ExchangeResponder {
  readonly #options: ConstructorParameters<typeof ExchangeResponder>[0];
  readonly #open = new Map<string, OpenExchange>();

  constructor(options: {
    provider: HsmProvider;
    keyring: Keyring;
    prng: Prng;
    clock: Clock;
    serial: string;
    isPinned: (group: string, identitySha256: string) => boolean;
    /** Whether a version is recorded already. No version is ever installed twice. */
    holds: (group: string, version: number) => boolean;
    /** Durable on return. Only then is the key installed. */
    announce: (ckaId: Uint8Array) => void;
    /** Durable on return. Only then is the receipt given. */
    remember: (record: DomainKeyRecord, trusted?: TrustedKeyRecord) => void;
  }) {
    this.#options = options;
  }

  /** @throws PEER_NOT_PINNED, EXCHANGE_REFUSED */
  async begin(message: BeginExchange): Promise<{ offer: ExchangeOffer; signature: Uint8Array }> {
    const { provider, keyring, prng, clock, serial, isPinned, holds } = this.#options;
    const { exchangeId, group, version, offer } = message;
    checkPeer(offer, { group, isPinned: (identity) => isPinned(group, identity) });
    if (hasReceivingKey(keyring.identity.publicHalf) && keyring.receivingKey === undefined)
      refuse('the receiving key of this partition is missing', { serial });
    if (holds(group, version)) refuse('this partition already holds this version', { serial, group, version });
    await this.#forgetOld();
    if (this.#open.has(exchangeId) || this.#open.size >= EXCHANGES_MAX)
      refuse('this exchange or too many exchanges are already open', { serial });
    const ephemeral = await provider.generateEphemeral();
    const answer: ExchangeOffer = {
      serial,
      identity: keyring.identity.publicHalf,
      nonce: prng.bytes(NONCE_BYTES),
      point: ephemeral.point,
      ...(keyring.receivingKey === undefined ? {} : { receiver: keyring.receivingKey.publicHalf }),
      ...(keyring.officerKey === undefined ? {} : { officer: keyring.officerKey.publicHalf }),
    };
    this.#open.set(exchangeId, { begun: message, answer, ephemeral: ephemeral.handle, sinceMs: clock.monotonicMs() });
    const input = transcript('answer', { exchangeId, group, version, initiator: offer, responder: answer, extra: [] });
    return { offer: answer, signature: await provider.signAsIdentity(keyring.identity.handle, input) };
  }

  /**
   * Installs nothing if it throws.
   * @throws EXCHANGE_REFUSED
   */
  async complete({
    exchangeId,
    signature,
    ...keys
  }: CompleteExchange): Promise<{ checkTag: Uint8Array; signature: Uint8Array }> {
    const { provider, keyring, prng, serial, announce, remember } = this.#options;
    const open = this.#open.get(exchangeId);
    if (open === undefined) refuse('this exchange is not open', { serial });
    // The exchange ends here, whatever the outcome. Neither message can be replayed.
    this.#open.delete(exchangeId);
    const { begun, answer, ephemeral } = open;
    const session: Handle[] = [ephemeral];
    try {
      const common = {
        exchangeId,
        group: begun.group,
        version: begun.version,
        initiator: begun.offer,
        responder: answer,
      };
      const { wrappedKey, wrappedTrustedKey } = keys;
      const delivery = transcript('delivery', { ...common, extra: deliveredIn(keys) });
      if (!isSignedBy(begun.offer.identity, delivery, signature))
        refuse('the delivery is not signed by its identity', { serial });
      const exchangeKey = await provider.deriveExchangeKey({ ephemeral, peerPoint: begun.offer.point, use: 'unwrap' });
      session.push(exchangeKey);
      const ckaId = prng.bytes(CKA_ID_BYTES);
      announce(ckaId);
      const { checkTag } = await provider.installDomainKey({
        exchangeKey,
        blob: wrappedKey,
        ckaId,
        label: domainKeyLabel(begun),
        ...(keyring.receivingKey === undefined ? {} : { receiver: keyring.receivingKey.handle }),
      });
      const { group, version } = begun;
      const trusted = !wrappedTrustedKey?.length
        ? undefined
        : { group, version, sealed: await provider.openTrustedDelivery({ exchangeKey, blob: wrappedTrustedKey }) };
      remember({ group, version, ckaId, checkTag }, trusted);
      const receipt = transcript('receipt', { ...common, extra: [...deliveredIn(keys), checkTag] });
      return { checkTag, signature: await provider.signAsIdentity(keyring.identity.handle, receipt) };
    } finally {
      await provider.forget(session);
    }
  }

  async #forgetOld(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [exchangeId, { ephemeral, sinceMs }] of this.#open) {
      if (nowMs - sinceMs <= EXCHANGE_MS_MAX) continue;
      this.#open.delete(exchangeId);
      await this.#options.provider.forget([ephemeral]);
    }
  }
}
