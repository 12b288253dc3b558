/**
 * The messages of a domain key exchange: what both sides sign, and what each side checks of the other.
 *
 * Each side's identity key signs the transcript. Each side checks the other identity against pins from its own
 * configuration, so neither a relay nor a coordinator can get between them.
 */
import { AntipodeError, sha256 } from '@antipode/runtime';
import { hasOfficerKey, hasReceivingKey, isOfficerKeyOf, receivesFor } from '../model/identity.ts';
import { commonKdf, type Kdf, offeredBy } from '../model/kdf.ts';
import { fingerprint } from '../model/public-half.ts';

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
  /**
   * Key derivation functions that this side's token offers. An older agent names none, and its token is used without
   * one.
   */
  readonly kdfs?: string[];
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

export const NONCE_BYTES = 32;

type Step = 'answer' | 'delivery' | 'receipt';

/**
 * Everything that both sides must agree on, with lengths, under a prefix of its own and the name of the step. If one
 * side is an older agent, the transcript is that of older agents, which knows of no key derivation function.
 */
export function transcript(
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
  const namesKdfs = [initiator, responder].every(({ kdfs = [] }) => kdfs.length > 0);
  const parts = [
    Buffer.from(step),
    Buffer.from(exchangeId),
    Buffer.from(group),
    Buffer.from(String(version)),
    ...side(initiator),
    ...side(responder),
    ...(namesKdfs ? [initiator, responder].map(({ kdfs = [] }) => Buffer.from(kdfs.join(' '))) : []),
    ...extra,
  ];
  const framed = parts.flatMap((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    return [length, part];
  });
  return Buffer.concat([Buffer.from(`antipode exchange v${namesKdfs ? 2 : 1}\0`), ...framed]);
}

export function refuse(why: string, details: Readonly<Record<string, string | number>>): never {
  throw new AntipodeError('EXCHANGE_REFUSED', `the domain key exchange is refused: ${why}`, { details });
}

/** The key derivation function of an exchange. @throws EXCHANGE_REFUSED where both tokens offer different ones only */
export function kdfOf(initiator: ExchangeOffer, responder: ExchangeOffer): Kdf {
  const kdf = commonKdf(initiator, responder);
  if (kdf !== undefined) return kdf;
  const [ours, theirs] = [initiator, responder].map((offer) => offeredBy(offer).join(', ')) as [string, string];
  throw new AntipodeError(
    'EXCHANGE_REFUSED',
    `the tokens have no key derivation function in common: ${initiator.serial} offers ${ours}, and ${responder.serial} offers ${theirs}`,
    {
      details: { initiator: initiator.serial, offers: ours, responder: responder.serial, answers: theirs },
      hint: 'Remove `kdf` of both partitions from agent.yaml, if it is set. Otherwise let a token that offers functions of both bring the domain keys, as a distributor (ADR 0025).',
    },
  );
}

/** A name that could be anything: it goes into a signed transcript and a message. */
const KDF_NAME = /^[a-z0-9-]{1,32}$/;
const KDFS_MAX = 32;

export function checkPeer(
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
  const { kdfs = [] } = offer;
  if (kdfs.length > KDFS_MAX || !kdfs.every((name) => KDF_NAME.test(name)))
    refuse('an offer is malformed', { serial: offer.serial });
}

/**
 * The key under which the domain key is sent. An identity that names a receiving key gets nothing under any other key,
 * nor without one. The pin covers both.
 */
export function receiverOf({ serial, identity, receiver }: ExchangeOffer): { receiver?: Uint8Array } {
  if (!hasReceivingKey(identity)) return {};
  if (receiver === undefined || !receivesFor(identity, receiver))
    refuse('the receiving key in the answer is not the one in the identity', { serial });
  return { receiver };
}

/** The key under which the trusted key is sent. A responder without an officer key wants no trusted key. */
export function officerOf({ serial, identity, officer }: ExchangeOffer): Uint8Array | undefined {
  if (!hasOfficerKey(identity) || !officer?.length) return undefined;
  if (!isOfficerKeyOf(identity, officer))
    refuse('the officer key in the answer is not the one in the identity', { serial });
  return officer;
}

/** The parts of a delivery that both sides sign. */
export const deliveredIn = ({ wrappedKey, wrappedTrustedKey }: Omit<CompleteExchange, 'exchangeId' | 'signature'>) =>
  [wrappedKey, wrappedTrustedKey].flatMap((wrapped) => (wrapped?.length ? [sha256(wrapped)] : []));
