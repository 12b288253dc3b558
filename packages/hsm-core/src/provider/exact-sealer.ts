/**
 * The exact way out of a partition and back, for secrets that wrapping by RFC 5649 would change (ADR 0034): RSA-OAEP,
 * and the result encrypted under an AES key. Not every token offers it.
 */
import type { Handle, UncapturedReason } from '../model/object.ts';
import type { BatchOutcome, UnwrapItem } from './restorer.ts';

/** The longest secret that the exact way carries: RSA-3072 takes that many bytes by OAEP with SHA-1. */
export const EXACT_BYTES_MAX = 342;

/** The keys that seal some secrets: session objects at the source, for one capture. */
export interface ExactKey {
  /** AES-256, encrypts. */
  readonly dataKey: Handle;
  /** Public half of the RSA pair, wraps. */
  readonly wrapping: Handle;
  /** Private half as a member opens it, unwraps. */
  readonly opening: Handle;
  /** The AES key and the private half, both wrapped under the domain key. */
  readonly blob: Uint8Array;
}

/** A secret that was sealed, as `iv || ciphertext || tag` (AES-GCM), or why it was not. */
export type ExactOutcome =
  | { readonly handle: Handle; readonly ciphertext: Uint8Array; readonly valueTag: Uint8Array }
  | { readonly handle: Handle; readonly reason: UncapturedReason; readonly returnValue?: string };

/** A secret to be rebuilt. Its blob is bound to its `aad`. */
export interface ExactItem extends UnwrapItem {
  readonly aad: Uint8Array;
}

export interface ExactSealer {
  /**
   * Keyed tags of the values of secret keys under the domain key, exact to the last byte. Undefined where the token
   * does not give one.
   */
  tagSecrets(domainKey: Handle, handles: readonly Handle[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * Makes the keys for one capture, and tries them with known values. Undefined where the token does not offer the
   * exact way, or does not carry every value unchanged.
   */
  generateExactKey(domainKey: Handle): Promise<ExactKey | undefined>;
  /** Seals secrets. Each is opened again in the token, and counts as sealed only if its value is the same. */
  sealSecrets(options: {
    domainKey: Handle;
    exactKey: Pick<ExactKey, 'dataKey' | 'wrapping' | 'opening'>;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<ExactOutcome[]>;
  /**
   * Rebuilds secrets in the token, by the rules of {@link Restorer.unwrap}. On a token that does not offer the exact way
   * the first item fails (SECRET_INEXACT).
   */
  unwrapSecrets(options: {
    domainKey: Handle;
    keyBlob: Uint8Array;
    items: readonly ExactItem[];
  }): Promise<BatchOutcome>;
}
