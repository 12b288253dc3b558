/**
 * The cloner of a {@link SimulatedHsm}. Tokens with the same cloning key are one cloning domain. A blob is the whole
 * object, encrypted under that key, behind the name of the domain.
 */
import { randomBytes } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import { bytesEqual, hex, sha256 } from '@antipode/runtime';
import type { Handle } from '../model/object.ts';
import {
  CLONING_DOMAIN_BYTES,
  type NativeCloner,
  type PlacedObject,
  type TakenObject,
} from '../provider/native-cloner.ts';
import type { BatchOutcome, Refusal } from '../provider/restorer.ts';
import { decrypt, encrypt, GCM_IV_BYTES } from './simulated-crypto.ts';
import type { StoredObject } from './simulated-hsm.ts';

export const simulatedDomainOf = (cloningKey: Uint8Array): Uint8Array =>
  sha256(Buffer.concat([Buffer.from('simulated cloning domain\0'), cloningKey]));

/** A blob of these objects. An honest device gives out one object at a time. */
export function simulatedBlobOf(cloningKey: Uint8Array, objects: readonly StoredObject[]): Uint8Array {
  const value = serialize(
    objects.map(({ placedAs: _, ...object }) => ({ ...object, attributes: { ...object.attributes } })),
  );
  const sealed = encrypt(keyed(cloningKey), { value, aad: NO_AAD, iv: randomBytes(GCM_IV_BYTES) });
  return new Uint8Array(Buffer.concat([simulatedDomainOf(cloningKey), sealed]));
}

const NO_AAD = new Uint8Array();

const keyed = (value: Uint8Array): StoredObject => ({
  objectClass: 'secret-key',
  value,
  sizeBits: value.length * 8,
  attributes: {},
});

/** The token, as the cloner needs it. */
export interface ClonedToken {
  readonly cloningKey: Uint8Array;
  find(handle: Handle): StoredObject | undefined;
  /** The object that an earlier call has put in under this name. */
  findPlaced(name: string): Handle | undefined;
  /** Puts an object in, whole. */
  store(object: StoredObject): Handle;
  destroy(handle: Handle): void;
}

export class SimulatedCloner implements NativeCloner {
  readonly shape = 'blobs';
  readonly kind = 'simulated';
  readonly #token: ClonedToken;

  constructor(token: ClonedToken) {
    this.#token = token;
  }

  async domain(): Promise<Uint8Array> {
    return simulatedDomainOf(this.#token.cloningKey);
  }

  async take(handles: readonly Handle[]): Promise<TakenObject[]> {
    const { cloningKey } = this.#token;
    return handles.map((handle) => {
      const object = this.#token.find(handle);
      return object === undefined
        ? { handle, reason: 'unreadable', returnValue: 'CKR_OBJECT_HANDLE_INVALID' }
        : { handle, blob: simulatedBlobOf(cloningKey, [object]) };
    });
  }

  async place(items: readonly PlacedObject[]): Promise<BatchOutcome> {
    const handles: Handle[] = [];
    for (const [index, item] of items.entries()) {
      const made = this.#place(item);
      if (typeof made !== 'bigint') return { handles, failure: { index, ...made } };
      handles.push(made);
    }
    return { handles };
  }

  async discard(handles: readonly Handle[]): Promise<void> {
    for (const handle of handles) this.#token.destroy(handle);
  }

  #place({ blob, entry }: PlacedObject): Handle | Refusal {
    const { cloningKey } = this.#token;
    const [domain, ciphertext] = [blob.subarray(0, CLONING_DOMAIN_BYTES), blob.subarray(CLONING_DOMAIN_BYTES)];
    if (domain.length < CLONING_DOMAIN_BYTES) return { code: 'BLOB_INVALID' };
    if (!bytesEqual(domain, simulatedDomainOf(cloningKey))) return { code: 'CLONING_DOMAIN_OTHER' };
    const value = decrypt(keyed(cloningKey), { ciphertext, aad: NO_AAD });
    const objects = value && (deserialize(value) as StoredObject[]);
    const [object] = objects ?? [];
    if (object === undefined || objects?.length !== 1) return { code: 'BLOB_INVALID' };
    const placedAs = hex(sha256(Buffer.concat([sha256(entry), blob])));
    return this.#token.findPlaced(placedAs) ?? this.#token.store({ ...object, placedAs });
  }
}
