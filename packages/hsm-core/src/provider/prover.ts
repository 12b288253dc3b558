/** Whether an object in the partition is what it is held for: shown by using it. */
import type { Attributes } from '../model/attributes.ts';
import type { Handle, KeyType, ObjectClass } from '../model/object.ts';
import type { Vector } from '../model/vector.ts';

/** Everything that has to hold for one restored object. */
export interface ProofItem {
  readonly handle: Handle;
  readonly objectClass: ObjectClass;
  readonly keyType?: KeyType;
  readonly sizeBits: number;
  readonly attributes: Attributes;
  readonly publicHalf?: Uint8Array;
  /** Digest of the blob that re-wrapping must give again (wrapping by RFC 5649 is deterministic). */
  readonly blobSha256?: Uint8Array;
  /** Keyed tag of the value: of a data object, and of a secret that was sealed exactly. */
  readonly valueTag?: Uint8Array;
  /** Of a secret key that nobody may wrap. The key must give them again (ADR 0057). */
  readonly vectors?: readonly Vector[];
  /** Its device has cloned it: then it has the history of its attributes as well. */
  readonly isClone?: true;
  /**
   * Of an RSA private key: digest of the blob that this very device gave of it when it was proved before. Other vendors
   * write the same key otherwise, so it is not part of a manifest.
   */
  readonly wrapsTo?: Uint8Array;
}

/** One thing that was tried with a restored object. */
export interface ProofCheck {
  /** `rewrap`, `sign`, `decrypt`, `unwrap`, `derive`, `encrypt`, `verify`, `wrap`, `value`, `vector`, `history`. */
  readonly use: string;
  readonly outcome: 'proved' | 'failed' | 'not-exercised';
  /** Mechanism used, or why it was not exercised. */
  readonly detail: string;
}

export interface ProofOutcome {
  readonly handle: Handle;
  readonly proved: boolean;
  readonly checks: readonly ProofCheck[];
  /** Of an RSA private key that was proved: digest of the blob that the device gives of it. */
  readonly wrapsTo?: Uint8Array;
}

/**
 * The answer of a key that nobody vouches for, to every use that its flags and mechanisms allow: at least one works,
 * all that could be tried fail, or none could be tried.
 */
export type Challenge = 'works' | 'refuses' | 'untried';

export interface Prover {
  /** Uses each object in every way its flags allow and compares. */
  prove(domainKey: Handle, items: readonly ProofItem[]): Promise<ProofOutcome[]>;
  /**
   * Makes vectors of secret keys under a domain key: for each key one for every use of which something can be shown.
   * Other objects have no vector, nor does an object that is gone, nor a key that counts its uses.
   */
  makeVectors(domainKey: Handle, handles: readonly Handle[]): Promise<(readonly Vector[])[]>;
  /** Tries keys without anything to compare with, to tell those that an unwrap left half made. */
  challenge(domainKey: Handle, handles: readonly Handle[]): Promise<Challenge[]>;
}
