/**
 * Seals secrets byte for byte, and makes them again (ADR 0034). The value crosses this process by RSA-OAEP only, and
 * leaves it under AES-GCM (I5).
 */
import { randomBytes } from 'node:crypto';
import { CKA, NOT_WRAPPED, returnValueOf, rsaOaep } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { Handle } from '../../model/object.ts';
import type { ExactItem, ExactKey, ExactOutcome, ExactSealer } from '../../provider/exact-sealer.ts';
import type { BatchOutcome } from '../../provider/restorer.ts';
import { decryptUnder, encryptUnder } from '../data-key.ts';
import { batch, type Maker, ObjectRefused, openingBlob } from '../maker.ts';
import type { KeyQuirks } from '../quirks.ts';
import type { WrappingSession } from '../token-session.ts';
import {
  type ExactContext,
  forget,
  makeExactKey,
  type OpenedKey,
  openCarriedSecret,
  openExactKey,
} from './exact-key.ts';
import type { ValueDigests } from './value-digests.ts';

export class Pkcs11ExactSealer implements ExactSealer {
  readonly #context: WrappingSession;
  readonly #exact: ExactContext;
  readonly #digests: ValueDigests;
  readonly #maker: Maker;
  /** A token that has failed once is not asked again: each trial makes an RSA key. */
  #isOffered = true;

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

  async generateExactKey(domainKey: Handle): Promise<ExactKey | undefined> {
    const key = this.#isOffered && this.#digests.isOffered ? makeExactKey(this.#exact, domainKey) : undefined;
    this.#isOffered = key !== undefined;
    return key;
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
      if (!this.#maySend(handle)) return { handle, reason: 'unextractable' };
      if (valueTag === undefined) return { handle, reason: 'unreadable' };
      try {
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

  async unwrapSecrets({
    domainKey,
    keyBlob,
    items,
  }: {
    domainKey: Handle;
    keyBlob: Uint8Array;
    items: readonly ExactItem[];
  }): Promise<BatchOutcome> {
    let keys: OpenedKey | undefined;
    try {
      return batch(items, ({ aad, ...item }) => {
        keys ??= openingBlob(() => openExactKey(this.#exact, domainKey, keyBlob));
        if (keys === undefined) throw new ObjectRefused({ code: 'SECRET_INEXACT' });
        const { dataKey, opening, wrapping } = keys;
        const blob = openingBlob(() => decryptUnder(this.#context, { dataKey, ciphertext: item.blob, aad }));
        return this.#maker.unwrap({ mechanism: rsaOaep(), under: opening, wrapping }, { ...item, blob });
      });
    } finally {
      if (keys !== undefined) forget(this.#context, [keys.dataKey, keys.opening, keys.wrapping]);
    }
  }
}
