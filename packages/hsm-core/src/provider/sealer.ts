/**
 * The way out of a partition: keys wrapped under the domain key, and values of data objects encrypted under a data key.
 */
import type { Handle, UncapturedReason } from '../model/object.ts';

/** A handle's blob, or why there is none. */
export type WrapOutcome =
  | { readonly handle: Handle; readonly blob: Uint8Array }
  | { readonly handle: Handle; readonly reason: UncapturedReason; readonly returnValue?: string };

/** A data object, encrypted in the token as `iv || ciphertext || tag` (AES-GCM), or why it was not. */
export type DataOutcome =
  | { readonly handle: Handle; readonly ciphertext: Uint8Array; readonly valueTag: Uint8Array }
  | { readonly handle: Handle; readonly reason: UncapturedReason; readonly returnValue?: string };

export interface Sealer {
  /**
   * Wraps token keys under the domain key; a key that the token does not give is an outcome, not an error.
   * @throws HSM_SESSION_VOID when it is the domain key that does not wrap any more
   */
  wrap(domainKey: Handle, handles: readonly Handle[]): Promise<WrapOutcome[]>;
  /** A fresh AES-256 data key (session) and its blob under the domain key. */
  generateDataKey(domainKey: Handle): Promise<{ handle: Handle; blob: Uint8Array }>;
  /**
   * Encrypts the values of data objects in the token, each bound to its `aad`. One that the token does not give or does
   * not encrypt is an outcome, not an error.
   */
  sealData(options: {
    domainKey: Handle;
    dataKey: Handle;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<DataOutcome[]>;
  /** Keyed tags of data objects' values under the domain key, by which they are recognised. */
  tagData(domainKey: Handle, handles: readonly Handle[]): Promise<Uint8Array[]>;
  /** Keyed tags of any bytes under the domain key: names that do not tell what they name. */
  tagBytes(domainKey: Handle, values: readonly Uint8Array[]): Promise<Uint8Array[]>;
}
