/** Numbers of classes and key types, and templates written from the model. Follows the table in model/attributes.ts. */
import { CKA, CKO, type Template, type TemplateValue, ulong } from '@antipode/cryptoki';
import type { Values } from '../../key-kinds/key-kind.ts';
import { kindOfNumber } from '../../key-kinds/kinds.ts';
import {
  ASSUMED,
  ATTRIBUTES,
  type AttributeName,
  type Attributes,
  type AttributeValue,
  attributesOf,
  encodeAttribute,
  USES,
} from '../../model/attributes.ts';
import type { KeyType, ObjectClass } from '../../model/object.ts';

const CLASSES = new Map<number, ObjectClass>([
  [CKO.DATA, 'data'],
  [CKO.CERTIFICATE, 'certificate'],
  [CKO.PUBLIC_KEY, 'public-key'],
  [CKO.PRIVATE_KEY, 'private-key'],
  [CKO.SECRET_KEY, 'secret-key'],
  [CKO.DOMAIN_PARAMETERS, 'domain-parameters'],
]);

export const classNumber = (wanted: ObjectClass): number => [...CLASSES].find(([, name]) => name === wanted)![0];

/** The class that CKA_CLASS names. */
export const classOf = (value: Buffer | undefined): ObjectClass | 'other' =>
  (value?.length === 8 ? CLASSES.get(Number(value.readBigUInt64LE())) : undefined) ?? 'other';

/** The key type that CKA_KEY_TYPE names, together with the values of the object where those tell. */
export function keyTypeOf(value: Values): KeyType | 'unsupported' {
  const number = value(CKA.KEY_TYPE);
  return (
    (number?.length === 8 ? kindOfNumber(Number(number.readBigUInt64LE()), value)?.type : undefined) ?? 'unsupported'
  );
}

/**
 * Template entries for attributes of the model. Those that forbid later steps come last, CKA_MODIFIABLE at the very
 * end, since SoftHSM refuses whatever follows it (facts: pkcs11, 9.3).
 */
export function templateOf(objectClass: ObjectClass, attributes: Attributes): Template {
  const entries: [number, TemplateValue][] = [];
  const last: [number, TemplateValue][] = [];
  for (const name of attributesOf(objectClass)) {
    const rule = ATTRIBUTES[name];
    const isUse = USES.includes(name);
    const value = attributes[name] ?? (isUse ? ASSUMED[name] : undefined);
    if (value === undefined || !rule.inTemplate) continue;
    // A token assumes this value by itself, and not every token accepts it in a template.
    if (value === ASSUMED[name] && !isUse) continue;
    if ((Array.isArray(value) || value instanceof Uint8Array) && value.length === 0 && rule.fate !== 'content')
      continue;
    (rule.fate === 'policy' ? last : entries).push([rule.type, encodeNative(name, value)]);
  }
  last.sort(([a], [b]) => Number(a === CKA.MODIFIABLE) - Number(b === CKA.MODIFIABLE));
  return [...entries, ...last];
}

export function encodeNative(name: AttributeName, value: AttributeValue): TemplateValue {
  switch (ATTRIBUTES[name].kind) {
    case 'boolean':
      return value as boolean;
    case 'number':
      return value as number;
    case 'mechanisms':
      return Buffer.concat((value as readonly number[]).map(ulong));
    case 'bytes':
    case 'date':
      return encodeAttribute(name, value);
  }
}
