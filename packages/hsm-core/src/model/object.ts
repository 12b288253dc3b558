/** Objects of a partition as Antipode sees them: class, key type, attributes, and the identity they get. */
import type { Attributes } from './attributes.ts';

export const OBJECT_CLASSES = ['secret-key', 'private-key', 'public-key', 'certificate', 'data'] as const;

export type ObjectClass = (typeof OBJECT_CLASSES)[number];

export type KeyType = 'aes' | 'generic-secret' | 'rsa' | 'ec';

/**
 * A PKCS#11 object handle. Valid in one provider, that is, in one worker process: never stored, never sent.
 */
export type Handle = bigint & { readonly brand?: 'Handle' };

/** 16 random bytes in hexadecimal, given at first capture; labels and CKA_IDs repeat and prove nothing. */
export type ObjectId = string & { readonly brand?: 'ObjectId' };

export const OBJECT_ID_BYTES = 16;

/** What one look read of one token object. */
export interface ObservedObject {
  readonly handle: Handle;
  /** `other` where the class is none of ours. */
  readonly objectClass: ObjectClass | 'other';
  /** Absent for certificates and data, `unsupported` for key types that do not move. */
  readonly keyType?: KeyType | 'unsupported';
  /** Bits of the value (secret), the modulus (RSA) or the field (EC); 0 where the token does not tell. */
  readonly sizeBits: number;
  readonly attributes: Attributes;
  /** CKA_EC_PARAMS of an EC key, by which its curve is known; model/curve.ts. */
  readonly curveParams?: Uint8Array;
  /** Length of the value of a data object. */
  readonly valueBytes?: number;
  /**
   * Whether it carries CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE or CKA_DERIVE_TEMPLATE. They do not move, and without them
   * the key would do more at a replica than at its source.
   */
  readonly hasTemplate?: true;
  /** Whether an attribute that counts has a value outside the model: without it the key would do more at a replica. */
  readonly isBeyondModel?: true;
  /** Whether the token failed of some of its attributes: nothing follows from what is absent. */
  readonly isPartlyRead?: true;
  /** Names of attributes that it has and no replica gets (model/not-carried.ts); absent where it has none. */
  readonly notCarried?: readonly string[];
  /** SubjectPublicKeyInfo (RFC 5280), DER. Private keys: absent where the token does not give it and use does not show it. */
  readonly publicHalf?: Uint8Array;
  /** SHA-256 over everything the token gave for this object: two equal reads have equal digests. */
  readonly readDigest: string;
}

/** Their meanings, and what to do: docs/glossary.md. */
export const UNCAPTURED_REASONS = [
  'unextractable',
  'wrap-with-trusted',
  'not-wrappable',
  'unsupported-type',
  'unsupported-attribute',
  'length-not-multiple-of-8',
  'length-unknown',
  'too-large',
  'settling',
  'excluded',
  'unreadable',
  'deleted',
  'value-changed',
  'does-not-work',
] as const;

export type UncapturedReason = (typeof UNCAPTURED_REASONS)[number];

/** `private-key/rsa`, `certificate`, ... for people. */
export function kindOf({
  objectClass,
  keyType,
}: {
  objectClass: ObjectClass | 'other';
  keyType?: KeyType | 'unsupported' | undefined;
}): string {
  return keyType === undefined ? objectClass : `${objectClass}/${keyType}`;
}

/** Whether the object crosses as a wrapped blob; everything else travels in the manifest or under a data key. */
export function isWrapped(objectClass: ObjectClass | 'other'): boolean {
  return objectClass === 'secret-key' || objectClass === 'private-key';
}

/**
 * What a replica is given for these attributes. The domain key's CKA_UNWRAP_TEMPLATE demands that a wrapped key is sensitive; and
 * what is replicated must stay replicable.
 */
export function restoredAs(objectClass: ObjectClass, attributes: Attributes): Attributes {
  return isWrapped(objectClass) ? { ...attributes, sensitive: true, extractable: true } : attributes;
}
