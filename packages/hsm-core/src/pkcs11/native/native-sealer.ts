/**
 * Moves objects by the cloner of their device. Blobs of a device have names in the clear, and whoever has the secret of
 * the cloning domain opens the rest. So the token encrypts each blob under a data key before it leaves this process
 * (I5), and an object that was made is compared with the manifest before anybody hears of it.
 */
import { CryptokiFailure, returnValueOf } from '@antipode/cryptoki';
import type { Handle, ObservedObject } from '../../model/object.ts';
import { differencesOf } from '../../objects/clone-comparison.ts';
import type { NativeCloner, NativeItem, NativeOutcome, NativeSealer } from '../../provider/native-cloner.ts';
import type { BatchOutcome, Refusal } from '../../provider/restorer.ts';
import { decryptUnder, encryptUnder } from '../data-key.ts';
import { ObjectRefused, openingBlob } from '../maker.ts';
import type { WrappingSession } from '../token-session.ts';

interface NativeParts {
  /** Absent where the partition does not clone. */
  readonly cloner: NativeCloner | undefined;
  /** Reads an object with its public half; undefined when it is gone. */
  readonly read: (handle: Handle, publicHalf: Uint8Array | undefined) => ObservedObject | undefined;
}

export class Pkcs11NativeSealer implements NativeSealer {
  readonly #context: WrappingSession;
  readonly #parts: NativeParts;

  constructor(context: WrappingSession, parts: NativeParts) {
    this.#context = context;
    this.#parts = parts;
  }

  async takeNative({ dataKey, items }: Parameters<NativeSealer['takeNative']>[0]): Promise<NativeOutcome[]> {
    const { cloner } = this.#parts;
    if (cloner === undefined) return items.map(({ handle }) => ({ handle, reason: 'not-wrappable' }));
    const taken = await cloner.take(items.map(({ handle }) => handle));
    const blobs = new Map(taken.map((one) => [one.handle, one]));
    return items.map(({ handle, aad }): NativeOutcome => {
      const one = blobs.get(handle);
      if (one === undefined) return { handle, reason: 'unreadable' };
      if ('reason' in one) return one;
      try {
        return { handle, ciphertext: encryptUnder(this.#context, { dataKey, value: one.blob, aad }) };
      } catch (thrown) {
        return { handle, reason: 'unreadable', returnValue: returnValueOf(thrown) };
      } finally {
        one.blob.fill(0);
      }
    });
  }

  async putNative({ dataKey, items }: Parameters<NativeSealer['putNative']>[0]): Promise<BatchOutcome> {
    const handles: Handle[] = [];
    for (const [index, item] of items.entries()) {
      const made = await this.#put(dataKey, item);
      if (typeof made !== 'bigint') return { handles, failure: { index, ...made } };
      handles.push(made);
    }
    return { handles };
  }

  async #put(dataKey: Handle, item: NativeItem): Promise<Handle | Refusal> {
    const { cloner } = this.#parts;
    if (cloner === undefined) return { code: 'NATIVE_UNAVAILABLE' };
    const { ciphertext, aad, ...object } = item;
    const blob = this.#open({ dataKey, ciphertext, aad });
    if ('code' in blob) return blob;
    try {
      const placed = await cloner.place({ ...object, blob });
      if ('failure' in placed) return placed.failure;
      return this.#isAsSaid(placed.handle, item) ? placed.handle : { code: 'NATIVE_MISMATCH' };
    } finally {
      blob.fill(0);
    }
  }

  #open(sealed: { dataKey: Handle; ciphertext: Uint8Array; aad: Uint8Array }): Buffer | Refusal {
    try {
      return openingBlob(() => decryptUnder(this.#context, sealed));
    } catch (thrown) {
      if (thrown instanceof ObjectRefused) return thrown.why;
      if (thrown instanceof CryptokiFailure) return { code: 'HSM_REFUSED', returnValue: thrown.returnValue };
      throw thrown;
    }
  }

  /** Destroys what differs: nobody must find it by a name that it should not have, or use it in a way that nobody allowed. */
  #isAsSaid(handle: Handle, item: NativeItem): boolean {
    const { cryptoki, session } = this.#context;
    const seen = this.#parts.read(handle, item.publicHalf);
    if (seen !== undefined && differencesOf(item, seen).length === 0) return true;
    if (seen !== undefined) cryptoki.destroy(session, handle);
    return false;
  }
}
