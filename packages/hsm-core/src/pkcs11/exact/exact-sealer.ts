/**
 * Seals secrets byte for byte, and makes them again (ADR 0034). The value crosses this process by RSA-OAEP only, and
 * leaves it under AES-GCM (I5).
 */
import { randomBytes } from 'node:crypto';
import { CKA, NOT_WRAPPED, returnValueOf, rsaOaep } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { Handle } from '../../model/object.ts';
import type {
  ExactItem,
  ExactKey,
  ExactModulusBits,
  ExactOpening,
  ExactOutcome,
  ExactSealer,
  OpenedKey,
} from '../../provider/exact-sealer.ts';
import type { BatchOutcome, Refusal } from '../../provider/restorer.ts';
import { decryptUnder, encryptUnder } from '../data-key.ts';
import { batch, type Maker, ObjectRefused, openingBlob } from '../maker.ts';
import type { KeyQuirks } from '../quirks.ts';
import type { WrappingSession } from '../token-session.ts';
import { type ExactContext, forget, makeExactKey, openCarriedSecret, openExactKey } from './exact-key.ts';
import { twice, type ValueDigests } from './value-digests.ts';

export class Pkcs11ExactSealer implements ExactSealer {
  readonly #context: WrappingSession;
  readonly #exact: ExactContext;
  readonly #digests: ValueDigests;
  readonly #maker: Maker;

  constructor(
    context: WrappingSession,
    { quirks, digests, maker }: { quirks: KeyQuirks; digests: ValueDigests; maker: Maker },
  ) {
    this.#context = context;
    this.#digests = digests;
    this.#maker = maker;
    this.#exact = { context, quirks, digests };
  }

  async tagSecrets(domainKey: Handle, handles: readonly Handle[]): Promise<(Uint8Array | undefined)[]> {
    return this.#digests.tags(domainKey, handles);
  }

  async generateExactKey(domainKey: Handle, modulusBits: ExactModulusBits): Promise<ExactKey | undefined> {
    return this.#digests.isOffered ? twice(() => makeExactKey(this.#exact, { domainKey, modulusBits })) : undefined;
  }

  async sealSecrets(options: {
    domainKey: Handle;
    exactKey: OpenedKey;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<ExactOutcome[]> {
    const handles = options.items.map(({ handle }) => handle);
    const tags = this.#digests.tags(options.domainKey, handles);
    return options.items.map(({ handle, aad }, index): ExactOutcome => {
      const valueTag = tags[index];
      try {
        if (!this.#maySend(handle)) return { handle, reason: 'unextractable' };
        if (valueTag === undefined) return { handle, reason: 'unreadable' };
        const value = this.#carried(options.exactKey, handle);
        if (value === undefined) return { handle, reason: 'not-wrappable' };
        const { dataKey } = options.exactKey;
        return { handle, ciphertext: encryptUnder(this.#context, { dataKey, value, aad }), valueTag };
      } catch (thrown) {
        const returnValue = returnValueOf(thrown);
        return { handle, reason: NOT_WRAPPED[returnValue] ?? 'unreadable', returnValue };
      }
    });
  }

  /**
   * The secret by RSA-OAEP. Undefined if the token does not give the same value back: a device may pad or cut some
   * lengths, and a value that does not come back is worth nothing to a standby.
   */
  #carried({ wrapping, opening }: OpenedKey, handle: Handle): Uint8Array | undefined {
    const { cryptoki, session } = this.#context;
    const salt = randomBytes(32);
    const carried = cryptoki.wrapKey(session, rsaOaep(), wrapping, handle);
    const again = openCarriedSecret(this.#context, opening, carried);
    try {
      return bytesEqual(this.#digests.digest(salt, again), this.#digests.digest(salt, handle)) ? carried : undefined;
    } finally {
      forget(this.#context, [again]);
    }
  }

  /** A token may ignore these attributes, and we do not. */
  #maySend(handle: Handle): boolean {
    const { cryptoki, session } = this.#context;
    const read = cryptoki.attributes(session, handle, [CKA.EXTRACTABLE, CKA.WRAP_WITH_TRUSTED]);
    return read?.get(CKA.EXTRACTABLE)?.[0] === 1 && read.get(CKA.WRAP_WITH_TRUSTED)?.[0] !== 1;
  }

  /**
   * A failure is tried once more, so that one error of the device does not refuse all secrets of a generation. The key
   * is tried with a known value before it counts as open.
   */
  async openExactKey(domainKey: Handle, blob: Uint8Array): Promise<ExactOpening> {
    let failure: Refusal = { code: 'SECRET_INEXACT' };
    const key = twice(() => {
      try {
        return openingBlob(() => openExactKey(this.#exact, domainKey, blob));
      } catch (thrown) {
        if (thrown instanceof ObjectRefused) failure = thrown.why;
        else failure = { code: 'SECRET_INEXACT', returnValue: returnValueOf(thrown) };
        return undefined;
      }
    });
    return key === undefined ? { failure } : { key };
  }

  async unwrapSecrets({
    exactKey: { dataKey, opening, wrapping },
    items,
  }: {
    exactKey: OpenedKey;
    items: readonly ExactItem[];
  }): Promise<BatchOutcome> {
    return batch(items, ({ aad, ...item }) => {
      const blob = openingBlob(() => decryptUnder(this.#context, { dataKey, ciphertext: item.blob, aad }));
      return this.#maker.unwrap({ mechanism: rsaOaep(), under: opening, wrapping }, { ...item, blob });
    });
  }
}
