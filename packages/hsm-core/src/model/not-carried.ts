/**
 * Attributes that an object may have and no replica gets. The model has no place for them, or the target token accepts
 * them from its security officer only. Antipode reports the objects that have them.
 *
 * Only the operator of a device knows the attributes that its vendor has defined. PKCS#11 has no call that lists the
 * attributes of an object.
 */
import { CKA } from '@antipode/cryptoki/attributes';
import { bytesEqual } from '@antipode/runtime';
import { ATTRIBUTE_NAMES, ATTRIBUTES, type AttributeName, type Attributes, encodeAttribute } from './attributes.ts';
import { type ObjectClass, restoredAs } from './object.ts';

interface NotCarriedRule {
  readonly type: number;
  /** Only `length` counts: whether the value is empty. */
  readonly kind: 'boolean' | 'number' | 'length';
  readonly classes: readonly ObjectClass[];
  /** Whether its loss takes a protection away, and not only a convenience. */
  readonly matters: boolean;
}

const certificate = (type: number, kind: NotCarriedRule['kind'] = 'length'): NotCarriedRule => ({
  type,
  kind,
  classes: ['certificate'],
  matters: false,
});

/**
 * Names as in PKCS#11 3.0. The manifest carries dates that the token lets be read, so they are not here. Each token
 * computes the check value of a certificate, so it is not here either.
 */
export const NOT_CARRIED: Readonly<Record<string, NotCarriedRule>> = {
  CKA_TRUSTED: {
    type: CKA.TRUSTED,
    kind: 'boolean',
    classes: ['secret-key', 'public-key', 'certificate'],
    matters: true,
  },
  CKA_PUBLIC_KEY_INFO: {
    type: CKA.PUBLIC_KEY_INFO,
    kind: 'length',
    classes: ['private-key', 'public-key', 'certificate'],
    matters: false,
  },
  CKA_AC_ISSUER: certificate(CKA.AC_ISSUER),
  CKA_OWNER: certificate(CKA.OWNER),
  CKA_ATTR_TYPES: certificate(CKA.ATTR_TYPES),
  CKA_JAVA_MIDP_SECURITY_DOMAIN: certificate(CKA.JAVA_MIDP_SECURITY_DOMAIN, 'number'),
  CKA_URL: certificate(CKA.URL),
  CKA_HASH_OF_SUBJECT_PUBLIC_KEY: certificate(CKA.HASH_OF_SUBJECT_PUBLIC_KEY),
  CKA_HASH_OF_ISSUER_PUBLIC_KEY: certificate(CKA.HASH_OF_ISSUER_PUBLIC_KEY),
};

/** Dates that a token keeps and does not show. */
export const DATE_NAMES: Partial<Record<AttributeName, string>> = {
  startDate: 'CKA_START_DATE',
  endDate: 'CKA_END_DATE',
};

/** Numbers above this are a vendor's own. */
export const { VENDOR_DEFINED } = CKA;

export const vendorName = (type: number): string => `0x${type.toString(16).padStart(8, '0')}`;

/** Whether the loss of this attribute takes a protection away: trust, a date, a limit that a vendor has defined. */
export const isWeighty = (name: string): boolean => NOT_CARRIED[name]?.matters ?? true;

/** The fate of an attribute at a replica: kept in the manifest only, set, or set more narrowly. */
export interface Becomes {
  readonly carried: readonly string[];
  readonly set: readonly string[];
  readonly narrowed: readonly string[];
}

/**
 * Names as in the model. The values follow from what an apply does. An attribute that no template may have is carried.
 * A restored attribute is set, or narrowed if the source had another value. Uses that are not allowed are set too,
 * since a token has defaults of its own. A clone is as its source is.
 */
export function becomesOf({
  objectClass,
  attributes,
  cloningDomain,
}: {
  objectClass: ObjectClass;
  attributes: Attributes;
  cloningDomain?: string;
}): Becomes {
  const restored = restoredAs(objectClass, attributes);
  const present = ATTRIBUTE_NAMES.filter((name) => attributes[name] !== undefined);
  if (cloningDomain !== undefined) return { carried: [], set: present, narrowed: [] };
  const isNarrowed = (name: AttributeName): boolean =>
    !bytesEqual(encodeAttribute(name, restored[name]!), encodeAttribute(name, attributes[name]!));
  const isSet = (name: AttributeName): boolean => ATTRIBUTES[name].inTemplate;
  return {
    carried: present.filter((name) => !isSet(name)),
    set: present.filter((name) => isSet(name) && !isNarrowed(name)),
    narrowed: present.filter((name) => isSet(name) && isNarrowed(name)),
  };
}

/** The meaning of each, for people. */
export const BECOMES: Readonly<Record<keyof Becomes | 'lost', string>> = {
  set: 'every replica gets the value of the source, and shows it',
  carried: 'kept in the signed manifest, because a token decides such a value itself',
  narrowed: 'a replica allows less than the source',
  lost: 'the source has the attribute, and no replica gets it',
};
