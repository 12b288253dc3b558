/**
 * Brings a domain key to the partitions of its domain by an authenticated ECDH exchange between two tokens. There is
 * one exchange per member and version, including the birthplace.
 *
 * The domain key is extractable only as a session object of the birthplace, and only during one distribution.
 */
import { AntipodeError, bytesEqual, type Prng } from '@antipode/runtime';
import { isSignedBy } from '../model/manifest/signed-manifest.ts';
import type { Handle } from '../model/object.ts';
import type { HsmProvider } from '../provider/provider.ts';
import {
  checkPeer,
  deliveredIn,
  type ExchangeOffer,
  type ExchangeTransport,
  kdfOf,
  NONCE_BYTES,
  officerOf,
  receiverOf,
  refuse,
  transcript,
} from './exchange.ts';
import type { Keyring } from './keyring.ts';

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
  const { handle: ephemeral, point, kdfs } = await provider.generateEphemeral();
  session.push(ephemeral);
  const nonce = prng.bytes(NONCE_BYTES);
  const initiator: ExchangeOffer = { serial, identity: keyring.identity.publicHalf, nonce, point, kdfs: [...kdfs] };
  const { offer: responder, signature } = await member.begin({ exchangeId, group, version, offer: initiator });
  if (responder.serial !== member.serial)
    refuse('a different partition answered', { serial: member.serial, answered: responder.serial });
  checkPeer(responder, { group, isPinned });
  receiverOf(responder);
  officerOf(responder);
  const common = { exchangeId, group, version, initiator, responder };
  if (!isSignedBy(responder.identity, transcript('answer', { ...common, extra: [] }), signature))
    refuse('the answer is not signed by its identity', { serial: member.serial });
  kdfOf(initiator, responder);
  return { member, ephemeral, responder, common };
}

async function deliver(
  { provider, keyring }: DistributionOptions,
  { member, ephemeral, responder, common }: Begun,
  { domainKey, trustedKey, session }: { domainKey: Handle; trustedKey: Handle | undefined; session: Handle[] },
): Promise<Uint8Array> {
  const kdf = kdfOf(common.initiator, responder);
  const exchangeKey = await provider.deriveExchangeKey({ ephemeral, peerPoint: responder.point, use: 'wrap', kdf });
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
