/** The receiving side of a domain key exchange. It installs the key only after the initiator has proved its identity. */
import type { Clock, Prng } from '@antipode/runtime';
import { hasReceivingKey } from '../model/identity.ts';
import { isSignedBy } from '../model/manifest/signed-manifest.ts';
import type { Handle } from '../model/object.ts';
import { CKA_ID_BYTES, domainKeyLabel, markedId } from '../model/own-key-name.ts';
import type { HsmProvider } from '../provider/provider.ts';
import {
  type BeginExchange,
  type CompleteExchange,
  checkPeer,
  deliveredIn,
  type ExchangeOffer,
  kdfOf,
  NONCE_BYTES,
  refuse,
  transcript,
} from './exchange.ts';
import type { DomainKeyRecord, Keyring, TrustedKeyRecord } from './keyring.ts';

/** An exchange that is begun keeps a session key. After this time it is forgotten. */
const EXCHANGE_MS_MAX = 60_000;
const EXCHANGES_MAX = 16;

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
      kdfs: [...ephemeral.kdfs],
      ...(keyring.receivingKey === undefined ? {} : { receiver: keyring.receivingKey.publicHalf }),
      ...(keyring.officerKey === undefined ? {} : { officer: keyring.officerKey.publicHalf }),
    };
    try {
      kdfOf(offer, answer);
    } catch (thrown) {
      await provider.forget([ephemeral.handle]);
      throw thrown;
    }
    this.#open.set(exchangeId, { begun: message, answer, ephemeral: ephemeral.handle, sinceMs: clock.monotonicMs() });
    const input = transcript('answer', { exchangeId, group, version, initiator: offer, responder: answer, extra: [] });
    return { offer: answer, signature: await provider.signAsIdentity(keyring.identity.handle, input) };
  }

  /**
   * @throws EXCHANGE_REFUSED and then nothing is installed; after another error the key may be there, and may be recorded
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
      const exchangeKey = await provider.deriveExchangeKey({
        ephemeral,
        peerPoint: begun.offer.point,
        use: 'unwrap',
        kdf: kdfOf(begun.offer, answer),
      });
      session.push(exchangeKey);
      const label = domainKeyLabel(begun);
      const { ckaId: identityId } = keyring.identity;
      const ckaId = markedId({ identityId, label, random: prng.bytes(CKA_ID_BYTES) });
      announce(ckaId);
      const { checkTag } = await provider.installDomainKey({
        exchangeKey,
        blob: wrappedKey,
        ckaId,
        label,
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

  /** Ends an exchange that nobody will complete. Idempotent. */
  async abandon(exchangeId: string): Promise<void> {
    const open = this.#open.get(exchangeId);
    if (open === undefined) return;
    this.#open.delete(exchangeId);
    await this.#options.provider.forget([open.ephemeral]);
  }

  async #forgetOld(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [exchangeId, { sinceMs }] of this.#open)
      if (nowMs - sinceMs > EXCHANGE_MS_MAX) await this.abandon(exchangeId);
  }
}
