/**
 * The identity of a partition: the public half of its signing key and, where its token can keep one, the hash of its receiving
 * key. Both in one run of bytes, so that one fingerprint is pinned for both: nobody can name another receiving key for an
 * identity that is pinned. What earlier releases made, and tokens that keep no receiving key, have the signing key alone.
 */
import { bytesEqual, sha256 } from '@antipode/runtime';

/** SubjectPublicKeyInfo of a P-256 key with an uncompressed point. */
const SIGNING_HALF_BYTES = 91;
const HASH_BYTES = 32;

export function identityOf(signingHalf: Uint8Array, receivingHalf: Uint8Array | undefined): Uint8Array {
  if (receivingHalf === undefined) return signingHalf;
  return new Uint8Array(Buffer.concat([signingHalf, sha256(receivingHalf)]));
}

export const hasReceivingKey = (identity: Uint8Array): boolean => identity.length === SIGNING_HALF_BYTES + HASH_BYTES;

/** The SubjectPublicKeyInfo of the key that signs. */
export const signingHalfOf = (identity: Uint8Array): Uint8Array =>
  hasReceivingKey(identity) ? identity.subarray(0, SIGNING_HALF_BYTES) : identity;

/** Whether this is the receiving key of the identity. */
export const receivesFor = (identity: Uint8Array, receivingHalf: Uint8Array): boolean =>
  hasReceivingKey(identity) && bytesEqual(identity.subarray(SIGNING_HALF_BYTES), sha256(receivingHalf));
