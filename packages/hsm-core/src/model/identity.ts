/**
 * The identity of a partition: the public half of its signing key. If the token can keep them, the hashes of its
 * receiving key and of its officer key follow.
 *
 * All of it is one run of bytes, and one fingerprint pins it. So nobody can name another receiving key for a pinned
 * identity.
 *
 * An identity of an earlier release, or of a token without a receiving key, has the signing key only. An officer key
 * needs a receiving key.
 */
import { bytesEqual, sha256 } from '@antipode/runtime';

/** SubjectPublicKeyInfo of a P-256 key with an uncompressed point. */
const SIGNING_HALF_BYTES = 91;
const HASH_BYTES = 32;
const RECEIVING_END = SIGNING_HALF_BYTES + HASH_BYTES;
const OFFICER_END = RECEIVING_END + HASH_BYTES;

/** Public halves of a partition's keys other than the signing key. */
export interface ReceivingHalves {
  /** Unwraps domain keys. */
  readonly receiving?: Uint8Array | undefined;
  /** Unwraps trusted keys, in a session of the security officer. */
  readonly officer?: Uint8Array | undefined;
}

export function identityOf(signingHalf: Uint8Array, { receiving, officer }: ReceivingHalves): Uint8Array {
  const hashes = receiving === undefined ? [] : [receiving, officer].flatMap((half) => (half ? [sha256(half)] : []));
  return hashes.length === 0 ? signingHalf : new Uint8Array(Buffer.concat([signingHalf, ...hashes]));
}

export const hasReceivingKey = (identity: Uint8Array): boolean =>
  identity.length === RECEIVING_END || identity.length === OFFICER_END;

export const hasOfficerKey = (identity: Uint8Array): boolean => identity.length === OFFICER_END;

/** The SubjectPublicKeyInfo of the signing key. */
export const signingHalfOf = (identity: Uint8Array): Uint8Array =>
  hasReceivingKey(identity) ? identity.subarray(0, SIGNING_HALF_BYTES) : identity;

/** Whether this is the receiving key of the identity. */
export const receivesFor = (identity: Uint8Array, receivingHalf: Uint8Array): boolean =>
  hasReceivingKey(identity) && bytesEqual(identity.subarray(SIGNING_HALF_BYTES, RECEIVING_END), sha256(receivingHalf));

/** Whether this is the officer key of the identity. */
export const isOfficerKeyOf = (identity: Uint8Array, officerHalf: Uint8Array): boolean =>
  hasOfficerKey(identity) && bytesEqual(identity.subarray(RECEIVING_END), sha256(officerHalf));
