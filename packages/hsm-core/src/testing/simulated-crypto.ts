/** The cryptography of a {@link SimulatedHsm}, which a token does with values that it never shows. */
import {
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { CKM } from '@antipode/cryptoki';
import { bytesEqual, type Prng, sha256 } from '@antipode/runtime';
import { USES } from '../model/attributes.ts';
import {
  agree,
  VECTOR_NONCE_BYTES,
  VECTOR_NONCE_SEED,
  type Vector,
  vectorMessage,
  vectorResultInput,
} from '../model/vector.ts';
import { historyDifferences } from '../objects/clone-comparison.ts';
import type { ProofCheck, ProofItem } from '../provider/provider.ts';
import type { StoredObject } from './simulated-hsm.ts';

/** RFC 5649, section 3. */
const KWP_IV = Buffer.from('a65959a6', 'hex');

export function wrap({ value }: StoredObject, secret: Uint8Array): Uint8Array {
  const cipher = createCipheriv('id-aes256-wrap-pad', value!, KWP_IV);
  return new Uint8Array(Buffer.concat([cipher.update(secret), cipher.final()]));
}

export function unwrap({ value }: StoredObject, blob: Uint8Array): Uint8Array | undefined {
  try {
    const decipher = createDecipheriv('id-aes256-wrap-pad', value!, KWP_IV);
    return new Uint8Array(Buffer.concat([decipher.update(blob), decipher.final()]));
  } catch {
    return undefined;
  }
}

export const tagOf = (domainKey: StoredObject, value: Uint8Array): Uint8Array => sha256(wrap(domainKey, sha256(value)));

/** The tag of a secret that is sealed exactly. */
export function exactTagOf(domainKey: StoredObject, value: Uint8Array): Uint8Array {
  const salt = tagOf(domainKey, Buffer.from('antipode exact secret salt v1'));
  const digest = sha256(Buffer.concat([salt, value]));
  return tagOf(domainKey, Buffer.concat([Buffer.from('antipode exact secret v1\0'), digest]));
}

/** A MAC, of a secret key that has any use. */
export function vectorsOf(domainKey: StoredObject, { objectClass, value, attributes }: StoredObject): Vector[] {
  if (objectClass !== 'secret-key' || value === undefined || !USES.some((use) => attributes[use])) return [];
  const how = { use: 'sign', mechanism: CKM.SHA256_HMAC } as const;
  const nonce = tagOf(domainKey, VECTOR_NONCE_SEED).slice(0, VECTOR_NONCE_BYTES);
  const made = createHmac('sha256', value).update(vectorMessage(nonce)).digest();
  return [{ ...how, nonce, result: tagOf(domainKey, vectorResultInput(how, made)) }];
}

/** `iv || ciphertext || tag` (AES-256-GCM). */
export function encrypt(
  { value: key }: StoredObject,
  { value, aad, iv }: { value: Uint8Array; aad: Uint8Array; iv: Uint8Array },
): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key!, iv).setAAD(aad);
  return new Uint8Array(Buffer.concat([iv, cipher.update(value), cipher.final(), cipher.getAuthTag()]));
}

/** Undefined where it was encrypted otherwise. */
export function decrypt(
  { value: key }: StoredObject,
  { ciphertext, aad }: { ciphertext: Uint8Array; aad: Uint8Array },
): Uint8Array | undefined {
  const [iv, tag] = [ciphertext.subarray(0, GCM_IV_BYTES), ciphertext.subarray(-GCM_TAG_BYTES)];
  const decipher = createDecipheriv('aes-256-gcm', key!, iv).setAAD(aad).setAuthTag(tag);
  const value = decipher.update(ciphertext.subarray(GCM_IV_BYTES, -GCM_TAG_BYTES));
  try {
    decipher.final();
    return new Uint8Array(value);
  } catch {
    return undefined;
  }
}

export const GCM_IV_BYTES = 12;
const GCM_TAG_BYTES = 16;

export const checkTagOf = (domainKey: StoredObject): Uint8Array =>
  tagOf(domainKey, Buffer.from('antipode domain key check v1'));

export const privateKey = ({ value }: StoredObject): KeyObject => keyOf(value ?? new Uint8Array());

/** Keeps what `find` has found for some bytes. A simulation asks for the same again and again. */
function remembering<T>(find: (...bytes: Uint8Array[]) => T): typeof find {
  const known = new Map<string, T>();
  return (...bytes) => {
    const key = bytes.map((some) => `${some.length} ${Buffer.from(some).toString('latin1')}`).join();
    const before = known.get(key);
    if (before !== undefined) return before;
    const found = find(...bytes);
    if (known.size >= REMEMBERED_MAX) known.clear();
    known.set(key, found);
    return found;
  };
}

const REMEMBERED_MAX = 1_000;

const keyOf = remembering((value) => createPrivateKey({ key: Buffer.from(value!), format: 'der', type: 'pkcs8' }));

const halfOf = remembering((value) => publicHalfOf(keyOf(value!)));

/** Whether signatures of the private key verify with the public half. */
const isPair = remembering((value, publicHalf) => {
  const signature = sign('sha256', PAIR_MESSAGE, keyOf(value!));
  const key = createPublicKey({ key: Buffer.from(publicHalf!), format: 'der', type: 'spki' });
  return verify('sha256', PAIR_MESSAGE, key, signature);
});
const PAIR_MESSAGE = Buffer.from('a pair');

export function publicHalfIn(value: Uint8Array): Uint8Array | undefined {
  try {
    return new Uint8Array(halfOf(value));
  } catch {
    return undefined;
  }
}

export function proofOf(object: StoredObject | undefined, item: ProofItem, domainKey: StoredObject): ProofCheck[] {
  const check = (use: string, work: () => boolean): ProofCheck => {
    try {
      return { use, outcome: object !== undefined && work() ? 'proved' : 'failed', detail: 'simulated' };
    } catch {
      return { use, outcome: 'failed', detail: 'simulated' };
    }
  };
  const { blobSha256, publicHalf, valueTag, vectors, isClone } = item;
  if (isClone && object !== undefined && historyDifferences(item, { ...object, handle: 0n, readDigest: '' }).length > 0)
    return [{ use: 'history', outcome: 'failed', detail: 'simulated' }];
  switch (item.objectClass) {
    case 'secret-key':
      return [
        ...(blobSha256 === undefined
          ? []
          : [check('rewrap', () => bytesEqual(sha256(wrap(domainKey, object!.value!)), blobSha256))]),
        ...(valueTag === undefined
          ? []
          : [check('value', () => bytesEqual(exactTagOf(domainKey, object!.value!), valueTag))]),
        ...(vectors === undefined ? [] : [check('vector', () => agree(vectors, vectorsOf(domainKey, object!)))]),
        ...(item.attributes.encrypt ? [check('encrypt', () => object?.value !== undefined)] : []),
        ...(item.attributes.derive ? [{ use: 'derive', outcome: 'not-exercised', detail: 'simulated' } as const] : []),
      ];
    case 'private-key':
      return [check('sign', () => isPair(object!.value!, publicHalf!))];
    case 'data':
      return [check('value', () => bytesEqual(tagOf(domainKey, object!.value!), valueTag!))];
    case 'public-key':
      return [check('value', () => bytesEqual(object!.publicHalf!, publicHalf!))];
    case 'domain-parameters':
      return [check('value', () => bytesEqual(object!.attributes.prime!, item.attributes.prime!))];
    case 'certificate':
      return [check('value', () => bytesEqual(object!.attributes.value!, item.attributes.value!))];
  }
}

/** Makes a P-256 key pair from the seed. node:crypto has no function for that. */
export function ecKey(prng: Prng): KeyObject {
  const pair = createECDH('prime256v1');
  pair.setPrivateKey(prng.bytes(32));
  const point = pair.getPublicKey();
  const text = (bytes: Buffer): string => bytes.toString('base64url');
  const [x, y] = [text(point.subarray(1, 33)), text(point.subarray(33))];
  return createPrivateKey({ key: { kty: 'EC', crv: 'P-256', d: text(pair.getPrivateKey()), x, y }, format: 'jwk' });
}

export const pkcs8 = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: 'pkcs8' }));

export const publicHalfOf = (key: KeyObject): Uint8Array =>
  new Uint8Array(createPublicKey(key as never).export({ format: 'der', type: 'spki' }));
