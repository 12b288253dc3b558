/**
 * One object as the people of its site see it: with the names that programs know it by. Every command that shows objects
 * at a site shows this. Nothing of it is ever sent anywhere: elsewhere an object is its random id.
 */
import { type Attributes, classNameOf, type Entry, keyTypeNameOf, type ObservedObject, USES } from '@antipode/hsm-core';
import { hex, printableBytes } from '@antipode/runtime';

export interface SiteObject {
  /** The random id by which the coordinator knows it. Absent if no generation has named it yet. */
  readonly objectId?: string;
  /** `private-key`, `certificate`, ..., or the name of a class that Antipode does not move. */
  readonly objectClass: string;
  /** `RSA`, `EC prime256v1`, `DES3`, ... Absent for an object that is not a key. */
  readonly keyType?: string;
  /** 0 if the token does not tell. */
  readonly sizeBits: number;
  /** As it can be printed: control, direction and invisible characters are escaped. */
  readonly label: string;
  /** CKA_ID, hexadecimal. */
  readonly ckaId: string;
  /** The uses that the key allows. */
  readonly uses: readonly string[];
  /** CKA_UNIQUE_ID in this token, where it has one. */
  readonly uniqueId?: string;
}

type Described = Pick<ObservedObject, 'objectClass' | 'keyType' | 'sizeBits' | 'attributes' | 'publicHalf'> &
  Partial<Pick<ObservedObject, 'outside' | 'curveParams' | 'uniqueId'>>;

export function siteObject(object: Described | Entry, objectId?: string): SiteObject {
  const { outside, uniqueId }: Described = object;
  const attributes: Attributes = object.attributes;
  const { label = outside?.label, id = outside?.id } = attributes;
  const keyType = keyTypeNameOf(object);
  return {
    ...(objectId === undefined ? {} : { objectId }),
    objectClass: classNameOf(object),
    ...(keyType === undefined ? {} : { keyType }),
    sizeBits: object.sizeBits || (outside?.sizeBits ?? 0),
    label: printableBytes(label ?? new Uint8Array()),
    ckaId: hex(id ?? new Uint8Array()),
    uses: USES.filter((use) => attributes[use] === true),
    ...(uniqueId === undefined ? {} : { uniqueId: printableBytes(uniqueId) }),
  };
}
