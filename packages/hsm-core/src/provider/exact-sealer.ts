/**
 * The exact way out of a partition and back, for secrets that wrapping by RFC 5649 would change (ADR 0034): RSA-OAEP,
 * and the result encrypted under an AES key. Not every token offers it.
 */
import type { Handle, UncapturedReason } from '../model/object.ts';
import type { BatchOutcome, Refusal, UnwrapItem } from './restorer.ts';

/**
 * The RSA pairs of the exact way, and how many bytes each carries by OAEP with SHA-1. The larger one is made only for a
 * secret that the smaller one does not carry: it takes a token several times as long.
 */
export const EXACT_PAIRS = [
  { modulusBits: 3072, bytesMax: 342 },
  { modulusBits: 4096, bytesMax: 470 },
] as const;

export type ExactModulusBits = (typeof EXACT_PAIRS)[number]['modulusBits'];

/** The longest secret that the exact way carries. */
export const EXACT_BYTES_MAX = 470;

/** The keys that seal some secrets: session objects. The caller forgets them. */
export interface OpenedKey {
  /** AES-256, encrypts. */
  readonly dataKey: Handle;
  /** Public half of the RSA pair, wraps. */
  readonly wrapping: Handle;
  /** Private half as a member opens it, unwraps. */
  readonly opening: Handle;
}

/** The keys at the source, for one capture. */
export interface ExactKey extends OpenedKey {
  /** The AES key and the private half, both wrapped under the domain key. */
  readonly blob: Uint8Array;
}

/** The keys at a member, for one apply, or why it cannot open any secret with them. */
export type ExactOpening = { readonly key: OpenedKey } | { readonly failure: Refusal };

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
   * exact way now, or does not carry every value unchanged. Each call tries the token again.
   */
  generateExactKey(domainKey: Handle, modulusBits: ExactModulusBits): Promise<ExactKey | undefined>;
  /** Seals secrets. Each is opened again in the token, and counts as sealed only if its value is the same. */
  sealSecrets(options: {
    domainKey: Handle;
    exactKey: OpenedKey;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<ExactOutcome[]>;
  /**
   * Opens the keys of {@link generateExactKey}, and tries them with a known value. The failure is SECRET_INEXACT on a token
   * that does not offer the exact way, and BLOB_INVALID if it is the blob that does not open.
   */
  openExactKey(domainKey: Handle, blob: Uint8Array): Promise<ExactOpening>;
  /** Rebuilds secrets in the token, by the rules of {@link Restorer.unwrap}. */
  unwrapSecrets(options: { exactKey: OpenedKey; items: readonly ExactItem[] }): Promise<BatchOutcome>;
}
