/**
 * The exchange that brings a domain key here: what is extractable lives in the session, for the time of one
 * distribution.
 */
import { CKA, CKM, mechanism, type Template } from '@antipode/cryptoki';
import type { Kdf } from '../../model/kdf.ts';
import type { Handle } from '../../model/object.ts';
import type { KeyExchange } from '../../provider/key-exchange.ts';
import { agreeingWith, POINT_BYTES } from '../agreement.ts';
import type { KeyQuirks } from '../quirks.ts';
import type { WrappingSession } from '../token-session.ts';
import { checkKept } from './check-kept.ts';
import { unwrapNarrowed } from './narrowing.ts';
import { generateP256 } from './p256.ts';
import { domainKeyPolicy, exchangeKeyPolicy } from './policy.ts';
import { openCarried, unwrapAsReceiver, wrapForReceiver } from './receiving-key.ts';
import { checkTagOf } from './tags.ts';

const NO_USE: Template = [CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.DERIVE, CKA.WRAP, CKA.UNWRAP].map(
  (flag) => [flag, false] as const,
);

export class Pkcs11KeyExchange implements KeyExchange {
  readonly #context: WrappingSession;
  readonly #quirks: KeyQuirks;

  constructor(context: WrappingSession, quirks: KeyQuirks) {
    this.#context = context;
    this.#quirks = quirks;
  }

  async generateDomainKey(): Promise<Handle> {
    const { cryptoki, session } = this.#context;
    return cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [CKA.PRIVATE, true],
      [CKA.SENSITIVE, true],
      [CKA.EXTRACTABLE, true],
      ...NO_USE,
    ]);
  }

  async generateEphemeral(): Promise<{ handle: Handle; point: Uint8Array; kdfs: readonly Kdf[] }> {
    const { privateKey, publicHalf } = generateP256(this.#context, {
      privateKey: [
        [CKA.TOKEN, false],
        [CKA.PRIVATE, true],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.SIGN, false],
        [CKA.DERIVE, true],
      ],
    });
    return { handle: privateKey, point: publicHalf.slice(-POINT_BYTES), kdfs: this.#context.agreement.kdfs };
  }

  async deriveExchangeKey({
    ephemeral,
    peerPoint,
    use,
    kdf = 'null',
  }: {
    ephemeral: Handle;
    peerPoint: Uint8Array;
    use: 'wrap' | 'unwrap';
    kdf?: Kdf;
  }): Promise<Handle> {
    const { cryptoki, session, agreement } = this.#context;
    // SoftHSM knows no key derivation function. Sound without one because both points are fresh, signed, and used once.
    const how = agreeingWith(peerPoint, kdf, agreement);
    return cryptoki.deriveKey(session, how, ephemeral, exchangeKeyPolicy(this.#quirks, use));
  }

  async wrapDomainKey({
    exchangeKey,
    domainKey,
    receiver,
  }: {
    exchangeKey: Handle;
    domainKey: Handle;
    receiver?: Uint8Array;
  }): Promise<Uint8Array> {
    const { cryptoki, session, keyWrap } = this.#context;
    if (receiver !== undefined)
      return wrapForReceiver(this.#context, { publicHalf: receiver, domainKey, exchangeKey, keyWrap });
    return new Uint8Array(cryptoki.wrapKey(session, keyWrap, exchangeKey, domainKey));
  }

  async installDomainKey({
    exchangeKey,
    blob,
    ckaId,
    label,
    receiver,
  }: {
    exchangeKey: Handle;
    blob: Uint8Array;
    ckaId: Uint8Array;
    label: string;
    receiver?: Handle;
  }): Promise<{ checkTag: Uint8Array }> {
    const { keyWrap, unenforced } = this.#quirks;
    const names: Template = [
      [CKA.TOKEN, true],
      [CKA.LABEL, Buffer.from(label)],
      [CKA.ID, ckaId],
    ];
    const template = [...names, ...domainKeyPolicy(this.#quirks)];
    const handle =
      receiver === undefined
        ? this.unwrapDomainKey({ exchangeKey, blob }, names)
        : unwrapAsReceiver(this.#context, { receiver, exchangeKey, keyWrap, blob, template });
    checkKept(this.#context, { key: handle, kind: 'secret', name: 'domain key', unenforced });
    return { checkTag: checkTagOf(this.#context, handle) };
  }

  /** `names` say where it lies, and what it is called. */
  unwrapDomainKey({ exchangeKey, blob }: { exchangeKey: Handle; blob: Uint8Array }, names: Template): Handle {
    const how = { mechanism: this.#quirks.keyWrap, under: exchangeKey, blob };
    return unwrapNarrowed(this.#context, how, [...names, ...domainKeyPolicy(this.#quirks)]);
  }

  /** Brings a domain key from a sender to a receiver, both in this session. */
  async lendDomainKey(): Promise<{ handle: Handle; checkTag: Uint8Array }> {
    const made: Handle[] = [];
    const keep = (handle: Handle): Handle => {
      made.push(handle);
      return handle;
    };
    try {
      const [sender, receiver] = [await this.generateEphemeral(), await this.generateEphemeral()];
      keep(sender.handle);
      keep(receiver.handle);
      const kdf = this.#context.agreement.kdfs[0]!;
      const derive = async (ours: Handle, peerPoint: Uint8Array, use: 'wrap' | 'unwrap'): Promise<Handle> =>
        keep(await this.deriveExchangeKey({ ephemeral: ours, peerPoint, use, kdf }));
      const wrapping = await derive(sender.handle, receiver.point, 'wrap');
      const unwrapping = await derive(receiver.handle, sender.point, 'unwrap');
      const born = keep(await this.generateDomainKey());
      const blob = await this.wrapDomainKey({ exchangeKey: wrapping, domainKey: born });
      const handle = this.unwrapDomainKey({ exchangeKey: unwrapping, blob }, [[CKA.TOKEN, false]]);
      return { handle, checkTag: checkTagOf(this.#context, handle) };
    } finally {
      await this.forget(made);
    }
  }

  async openTrustedDelivery({ exchangeKey, blob }: { exchangeKey: Handle; blob: Uint8Array }): Promise<Uint8Array> {
    return openCarried(this.#context, { exchangeKey, keyWrap: this.#quirks.keyWrap, blob });
  }

  async forget(handles: readonly Handle[]): Promise<void> {
    const { cryptoki, session } = this.#context;
    for (const handle of handles) cryptoki.destroy(session, handle);
  }
}
