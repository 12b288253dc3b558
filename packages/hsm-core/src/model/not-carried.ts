/**
 * Attributes that an object may have and no replica gets: the model has no place for them, or the target token takes them
 * from nobody but its security officer. Antipode cannot bring them, so it says which objects had them. What a vendor has
 * defined is known to whoever runs the device only: PKCS#11 has no call that lists the attributes of an object.
 */
import { CKA } from '@antipode/cryptoki/attributes';
import { bytesEqual } from '@antipode/runtime';
import { ATTRIBUTE_NAMES, ATTRIBUTES, type AttributeName, type Attributes, encodeAttribute } from './attributes.ts';
import { type ObjectClass, restoredAs } from './object.ts';

interface NotCarriedRule {
  readonly type: number;
  /** `length` is all that counts of it: whether it is empty. */
  readonly kind: 'boolean' | 'number' | 'length';
  readonly classes: readonly ObjectClass[];
  /** Whether somebody who relies on it is left without protection, and not only without a convenience. */
  readonly matters: boolean;
}

const certificate = (type: number, kind: NotCarriedRule['kind'] = 'length'): NotCarriedRule => ({
  type,
  kind,
  classes: ['certificate'],
  matters: false,
});

/**
 * By the names of PKCS#11 3.0. Dates are not here: they are carried where the token lets them be read; nor the check value of a
 * certificate, which each token computes.
 */
export const NOT_CARRIED: Readonly<Record<string, NotCarriedRule>> = {
  CKA_TRUSTED: {
    type: CKA.TRUSTED,
    kind: 'boolean',
    classes: ['secret-key', 'public-key', 'certificate'],
    matters: true,
  },
  CKA_AC_ISSUER: certificate(CKA.AC_ISSUER),
  CKA_OWNER: certificate(CKA.OWNER),
  CKA_ATTR_TYPES: certificate(CKA.ATTR_TYPES),
  CKA_JAVA_MIDP_SECURITY_DOMAIN: certificate(CKA.JAVA_MIDP_SECURITY_DOMAIN, 'number'),
  CKA_URL: certificate(CKA.URL),
  CKA_HASH_OF_SUBJECT_PUBLIC_KEY: certificate(CKA.HASH_OF_SUBJECT_PUBLIC_KEY),
  CKA_HASH_OF_ISSUER_PUBLIC_KEY: certificate(CKA.HASH_OF_ISSUER_PUBLIC_KEY),
};

/** Dates that a token keeps and does not let be read. */
export const DATE_NAMES: Partial<Record<AttributeName, string>> = {
  startDate: 'CKA_START_DATE',
  endDate: 'CKA_END_DATE',
};

/** Numbers above this are a vendor's own. */
export const { VENDOR_DEFINED } = CKA;

export const vendorName = (type: number): string => `0x${type.toString(16).padStart(8, '0')}`;

/** Whether the loss of this attribute takes a protection away: trust, a date, a limit that a vendor has defined. */
export const isWeighty = (name: string): boolean => NOT_CARRIED[name]?.matters ?? true;

/** What becomes of what an entry says: in the manifest only, set at a replica, or set there more narrowly. */
export interface Becomes {
  readonly carried: readonly string[];
  readonly set: readonly string[];
  readonly narrowed: readonly string[];
}

/**
 * By the names of the model. Follows what an apply does: what a template cannot say is carried, and what an object is restored
 * with is set, or narrowed where the source said otherwise. Uses that are not allowed are set, too: a token has defaults of its own.
 */
export function becomesOf({ objectClass, attributes }: { objectClass: ObjectClass; attributes: Attributes }): Becomes {
  const restored = restoredAs(objectClass, attributes);
  const present = ATTRIBUTE_NAMES.filter((name) => attributes[name] !== undefined);
  const isNarrowed = (name: AttributeName): boolean =>
    !bytesEqual(encodeAttribute(name, restored[name]!), encodeAttribute(name, attributes[name]!));
  const isSet = (name: AttributeName): boolean => ATTRIBUTES[name].inTemplate;
  return {
    carried: present.filter((name) => !isSet(name)),
    set: present.filter((name) => isSet(name) && !isNarrowed(name)),
    narrowed: present.filter((name) => isSet(name) && isNarrowed(name)),
  };
}

/** What each of them means, for people. */
export const BECOMES: Readonly<Record<keyof Becomes | 'lost', string>> = {
  set: 'every replica gets the value of the source, and shows it',
  carried: 'kept in the signed manifest, because a token decides such a value itself',
  narrowed: 'a replica allows less than the source',
  lost: 'the source has the attribute, and no replica gets it',
};
