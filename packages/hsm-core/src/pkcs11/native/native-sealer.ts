/**
 * Moves objects by the cloner of their device. Blobs of a device have names in the clear, and whoever has the secret of
 * the cloning domain opens the rest. So the token encrypts each blob under a data key before it leaves this process
 * (I5), and an object that was made is compared with the manifest before anybody hears of it.
 */
import { CryptokiFailure, returnValueOf } from '@antipode/cryptoki';
import type { Handle, ObservedObject } from '../../model/object.ts';
import { differencesOf } from '../../objects/clone-comparison.ts';
import type { DeviceCloner } from '../../provider/device-cloner.ts';
import type {
  DeviceOutcome,
  NativeCloner,
  NativeItem,
  NativeOutcome,
  NativeSealer,
  PlacedObject,
} from '../../provider/native-cloner.ts';
import type { BatchOutcome, Refusal } from '../../provider/restorer.ts';
import { decryptUnder, encryptUnder } from '../data-key.ts';
import { ObjectRefused, openingBlob } from '../maker.ts';
import type { WrappingSession } from '../token-session.ts';
import { type DeviceCloneParts, DeviceClones } from './device-clones.ts';

interface NativeParts {
  /** Absent where the partition does not clone. */
  readonly cloner: NativeCloner | DeviceCloner | undefined;
  /** Reads an object with its public half; undefined when it is gone. */
  readonly read: DeviceCloneParts['read'];
  /**
   * Reads what the token shows of an object; undefined when it is gone. To find a public half that it does not show would
   * take a signature, and the proof by use makes one in any case.
   */
  readonly readShown: (handle: Handle) => ObservedObject | undefined;
  readonly shows: DeviceCloneParts['shows'];
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
    if (cloner?.shape !== 'blobs') return items.map(({ handle }) => ({ handle, reason: 'not-wrappable' }));
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
    const { cloner } = this.#parts;
    if (cloner?.shape !== 'blobs') return { handles: [], failure: { index: 0, code: 'NATIVE_UNAVAILABLE' } };
    const opened: PlacedObject[] = [];
    let refused: BatchOutcome['failure'];
    for (const [index, { ciphertext, aad, ...object }] of items.entries()) {
      const blob = this.#open({ dataKey, ciphertext, aad });
      if ('code' in blob) {
        refused = { index, ...blob };
        break;
      }
      opened.push({ ...object, blob, entry: aad });
    }
    try {
      const { handles, failure = refused, seen = [] } = await cloner.place(opened);
      const wrong = handles.findIndex((handle, at) => !isAsSaid(items[at]!, seen[at] ?? this.#parts.readShown(handle)));
      if (wrong === -1) return failure === undefined ? { handles } : { handles, failure };
      // Nobody must find what differs by a name that it should not have, or use it in a way that nobody allowed.
      await cloner.discard(handles.slice(wrong));
      return { handles: handles.slice(0, wrong), failure: { index: wrong, code: 'NATIVE_MISMATCH' } };
    } finally {
      for (const { blob } of opened) blob.fill(0);
    }
  }

  async cloneNative(order: Parameters<NativeSealer['cloneNative']>[0]): Promise<DeviceOutcome[]> {
    const { cloner, read, shows } = this.#parts;
    if (cloner?.shape !== 'device') return order.items.map(() => ({ code: 'NATIVE_UNAVAILABLE' }));
    return new DeviceClones(this.#context, { cloner, read, shows }).clone(order);
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
}

const isAsSaid = (item: NativeItem, seen: ObservedObject | undefined): boolean =>
  seen !== undefined && differencesOf(item, seen).length === 0;
