/** Data keys: session keys that encrypt values in the token, wrapped under the domain key. */

import { randomBytes } from 'node:crypto';
import { aesGcm, CKA, CKK, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import type { Handle } from '../model/object.ts';
import { unwrapNarrowed } from './own-keys/narrowing.ts';
import type { WrappingSession } from './token-session.ts';

/** Of AES-GCM; it stands before the ciphertext. */
const GCM_IV_BYTES = 12;

/** A fresh key, which only encrypts, and its blob. */
export function makeDataKey(
  { cryptoki, session, keyWrap }: WrappingSession,
  domainKey: Handle,
): { handle: Handle; blob: Uint8Array } {
  const handle = cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
    [CKA.VALUE_LEN, 32],
    [CKA.TOKEN, false],
    [CKA.PRIVATE, true],
    [CKA.SENSITIVE, true],
    [CKA.EXTRACTABLE, true],
    [CKA.ENCRYPT, true],
    [CKA.DECRYPT, false],
    [CKA.WRAP, false],
    [CKA.UNWRAP, false],
  ]);
  return { handle, blob: new Uint8Array(cryptoki.wrapKey(session, keyWrap, domainKey, handle)) };
}

const OPENED: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.AES],
  [CKA.TOKEN, false],
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, false],
  [CKA.ENCRYPT, false],
  [CKA.DECRYPT, true],
  [CKA.WRAP, false],
  [CKA.UNWRAP, false],
];

/** The key as a member opens it, which only decrypts. @throws CryptokiFailure */
export const openDataKey = (context: WrappingSession, domainKey: Handle, blob: Uint8Array): Handle =>
  unwrapNarrowed(context, { mechanism: context.keyWrap, under: domainKey, blob }, OPENED);

const IVS_AT_ONCE = 256;
let ivs = Buffer.alloc(0);

/** Never twice the same. To draw one alone takes almost as long as to draw many. */
function freshIv(): Buffer {
  if (ivs.length === 0) ivs = randomBytes(IVS_AT_ONCE * GCM_IV_BYTES);
  const iv = ivs.subarray(0, GCM_IV_BYTES);
  ivs = ivs.subarray(GCM_IV_BYTES);
  return iv;
}

/** `iv || ciphertext || tag`. */
export function encryptUnder(
  { cryptoki, session }: WrappingSession,
  { dataKey, value, aad }: { dataKey: Handle; value: Uint8Array; aad: Uint8Array },
): Uint8Array {
  const iv = freshIv();
  const sealed = cryptoki.encrypt(session, aesGcm(iv, aad), dataKey, value);
  const whole = new Uint8Array(iv.length + sealed.length);
  whole.set(iv);
  whole.set(sealed, iv.length);
  return whole;
}

/** Undoes {@link encryptUnder}. @throws CryptokiFailure where it is not what the key has encrypted for this place */
export function decryptUnder(
  { cryptoki, session }: WrappingSession,
  { dataKey, ciphertext, aad }: { dataKey: Handle; ciphertext: Uint8Array; aad: Uint8Array },
): Buffer {
  const [iv, sealed] = [ciphertext.subarray(0, GCM_IV_BYTES), ciphertext.subarray(GCM_IV_BYTES)];
  return cryptoki.decrypt(session, aesGcm(iv, aad), dataKey, sealed);
}
