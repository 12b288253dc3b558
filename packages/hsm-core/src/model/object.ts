/** Objects of a partition as Antipode sees them: class, key type, attributes, and identity. */
import type { Attributes } from './attributes.ts';
import type { KEY_TYPE_NUMBERS } from './manifest/manifest-fields.ts';

export const OBJECT_CLASSES = [
  'secret-key',
  'private-key',
  'public-key',
  'certificate',
  'data',
  'domain-parameters',
] as const;

export type ObjectClass = (typeof OBJECT_CLASSES)[number];

/** Those that a manifest has a number for. */
export type KeyType = keyof typeof KEY_TYPE_NUMBERS;

/** A PKCS#11 object handle. It is valid in one provider, that is, in one worker process. It is never stored or sent. */
export type Handle = bigint & { readonly brand?: 'Handle' };

/** 16 random bytes in hexadecimal, given at the first capture. Labels and CKA_IDs repeat, and prove nothing. */
export type ObjectId = string & { readonly brand?: 'ObjectId' };

/**
 * The largest value that an object may have to be moved. One object is one message on its way, to the worker and between
 * agents, and no message may hold up a heartbeat.
 */
export const VALUE_BYTES_MAX = 8 * 1024 * 1024;

export const OBJECT_ID_BYTES = 16;

/** An object whose class or key type the model does not have. */
export interface Outside {
  /** CKA_CLASS, if the token gave one. */
  readonly objectClass?: number;
  /** CKA_KEY_TYPE, if it has one. */
  readonly keyType?: number;
  /** CKA_LABEL and CKA_ID of an object of another class, whose attributes the model does not have. */
  readonly label?: Uint8Array;
  readonly id?: Uint8Array;
  /** Of a key, as far as a readable attribute tells it. */
  readonly sizeBits?: number;
  /** CKA_PARAMETER_SET, which stands for the size of a post-quantum key. */
  readonly parameterSet?: number;
}

/** One token object, as one look has read it. */
export interface ObservedObject {
  readonly handle: Handle;
  /** `other` for a class that the model does not have. */
  readonly objectClass: ObjectClass | 'other';
  /** Absent for certificates and data. `unsupported` for key types that cannot be moved. */
  readonly keyType?: KeyType | 'unsupported';
  /** Bits of the value (secret), of the modulus (RSA) or of the field (EC). 0 if the token does not report it. */
  readonly sizeBits: number;
  readonly attributes: Attributes;
  /** Present if the class or key type is outside the model. It is for people; nothing is decided by it. */
  readonly outside?: Outside;
  /** CKA_EC_PARAMS of an EC key. It identifies the curve (model/curve.ts). */
  readonly curveParams?: Uint8Array;
  /** Length of the value of a data object, or of the longest attribute if that is too large to be read. */
  readonly valueBytes?: number;
  /**
   * Whether it has a CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE or CKA_DERIVE_TEMPLATE that the model cannot hold. Without
   * it the key would do more at a replica than at its source.
   */
  readonly hasTemplate?: true;
  /** Whether an attribute that counts has a value outside the model. Without it, the key would do more at a replica. */
  readonly isBeyondModel?: true;
  /** Whether the token failed to give some attributes. An absent attribute then means nothing. */
  readonly isPartlyRead?: true;
  /** Names of its attributes that no replica gets (model/not-carried.ts). Absent if there are none. */
  readonly notCarried?: readonly string[];
  /** CKA_UNIQUE_ID, where the token has it. It belongs to this token: a replica has another one. */
  readonly uniqueId?: Uint8Array;
  /**
   * SubjectPublicKeyInfo (RFC 5280), DER. Absent for a private key if neither the token nor a use of the key shows it.
   */
  readonly publicHalf?: Uint8Array;
  /** SHA-256 over everything that the token gave for this object. Two equal reads have equal digests. */
  readonly readDigest: string;
}

/** docs/glossary.md explains each, and what to do. */
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

/** Whether keys of this type have values of any length. */
export const isOfAnyLength = (keyType: KeyType | 'unsupported' | undefined): boolean =>
  keyType === 'generic-secret' || keyType?.endsWith('-hmac') === true;

/** Whether objects of the class have a key type. */
export const hasKeyType = (objectClass: ObjectClass | 'other'): boolean =>
  isKey(objectClass) || objectClass === 'domain-parameters';

export const isKey = (objectClass: ObjectClass | 'other'): boolean => objectClass.endsWith('-key');

/** Whether the object travels in the manifest itself. */
export const isInManifest = (objectClass: ObjectClass | 'other'): boolean =>
  objectClass === 'public-key' || objectClass === 'certificate' || objectClass === 'domain-parameters';

/** Whether the object travels as a wrapped blob. Other objects travel in the manifest or under a data key. */
export function isWrapped(objectClass: ObjectClass | 'other'): boolean {
  return objectClass === 'secret-key' || objectClass === 'private-key';
}

/**
 * The attributes that a replica gets. The domain key's CKA_UNWRAP_TEMPLATE demands that a wrapped key is sensitive. A
 * replicated key must stay replicable.
 */
export function restoredAs(objectClass: ObjectClass, attributes: Attributes): Attributes {
  return isWrapped(objectClass) ? { ...attributes, sensitive: true, extractable: true } : attributes;
}
