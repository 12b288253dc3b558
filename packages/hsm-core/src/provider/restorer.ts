/** The way of a sealed generation back into a partition. */
import type { Attributes } from '../model/attributes.ts';
import type { Handle, KeyType, ObjectClass } from '../model/object.ts';

/** A key to be rebuilt from its blob. `attributes` come from a verified manifest and are never widened. */
export interface UnwrapItem {
  readonly objectClass: ObjectClass;
  readonly keyType: KeyType;
  readonly attributes: Attributes;
  readonly publicHalf?: Uint8Array;
  readonly blob: Uint8Array;
  /** An object of equal value that the caller will destroy afterwards. See {@link Restorer.unwrap}. */
  readonly replaces?: Handle;
}

/** A public object to be rebuilt from its attributes. */
export interface CreateItem {
  readonly objectClass: 'public-key' | 'certificate' | 'domain-parameters';
  readonly keyType?: KeyType;
  readonly attributes: Attributes;
  readonly replaces?: Handle;
}

/** Why an object is not made. */
export interface Refusal {
  readonly code:
    | 'BLOB_INVALID'
    | 'ID_TAKEN'
    | 'HSM_REFUSED'
    | 'HSM_FULL'
    | 'HSM_UNAVAILABLE'
    | 'HSM_SESSION_VOID'
    | 'DOMAIN_KEY_UNTRUSTED'
    | 'SECRET_INEXACT'
    | 'NATIVE_UNAVAILABLE'
    | 'CLONING_DOMAIN_OTHER'
    | 'NATIVE_MISMATCH'
    | 'NATIVE_SOURCE_UNREACHED'
    | 'NATIVE_CLONING'
    | 'NATIVE_NOT_CLONED';
  /** Absent where it was not the token that refused. */
  readonly returnValue?: string;
}

/** Handles in the order of the items, and the error that ended the batch early, if any. */
export interface BatchOutcome {
  readonly handles: readonly Handle[];
  readonly failure?: Refusal & { readonly index: number };
}

export interface Restorer {
  /**
   * Rebuilds keys in the token. Stops at the first that fails: what was made before it is returned beside the error.
   *
   * Nothing that is there is overwritten, even on a token that keeps one key per CKA_ID. There an object changes in
   * place when it is the one that the item replaces, and its handle is returned. Under any other object's id the item
   * fails (ID_TAKEN).
   */
  unwrap(domainKey: Handle, items: readonly UnwrapItem[]): Promise<BatchOutcome>;
  /** Rebuilds public objects, by the rules of {@link unwrap}. */
  create(items: readonly CreateItem[]): Promise<BatchOutcome>;
  unwrapDataKey(domainKey: Handle, blob: Uint8Array): Promise<Handle>;
  createData(options: {
    dataKey: Handle;
    items: readonly { attributes: Attributes; ciphertext: Uint8Array; aad: Uint8Array }[];
  }): Promise<BatchOutcome>;
}
