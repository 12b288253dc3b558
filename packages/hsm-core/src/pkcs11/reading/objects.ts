/** Numbers of classes and key types, and templates written from the model. Follows the table in model/attributes.ts. */
import { CKA, CKO, type Template, type TemplateValue, ulong } from '@antipode/cryptoki';
import { invariant } from '@antipode/runtime';
import type { Values } from '../../key-kinds/key-kind.ts';
import { kindOfNumber } from '../../key-kinds/kinds.ts';
import {
  ASSUMED,
  ATTRIBUTES,
  type AttributeName,
  type Attributes,
  type AttributeValue,
  attributesOf,
  decodeValue,
  encodeValue,
  innerKindOf,
  USES,
} from '../../model/attributes.ts';
import { decodeNested, encodeNested, type InnerKind } from '../../model/nested-template.ts';
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

export const encodeNative = (name: AttributeName, value: AttributeValue): TemplateValue =>
  nativeOf(ATTRIBUTES[name].kind, value);

function nativeOf(kind: InnerKind | 'template', value: AttributeValue): TemplateValue {
  switch (kind) {
    case 'boolean':
      return value as boolean;
    case 'number':
      return value as number;
    case 'mechanisms':
      return Buffer.concat((value as readonly number[]).map(ulong));
    case 'bytes':
    case 'date':
      return encodeValue(kind, value);
    case 'template':
      return nestedTemplate(value as Uint8Array);
  }
}

/** A template inside a template entry, of a verified manifest. */
export function nestedTemplate(encoded: Uint8Array): Template {
  return (decodeNested(encoded) ?? []).flatMap(({ type, value }) => {
    const kind = innerKindOf(type);
    const decoded = kind && decodeValue(kind, value);
    invariant(kind !== undefined && decoded !== undefined, 'a template has an entry that the model does not know', {});
    return [[type, nativeOf(kind, decoded)] as const];
  });
}

/** Attribute bytes as the token gives them -> value; undefined where they do not have the form of their kind. */
export function decodeNative(kind: InnerKind, bytes: Buffer): AttributeValue | undefined {
  switch (kind) {
    case 'boolean':
      return bytes.length === 1 ? bytes[0] !== 0 : undefined;
    case 'number': {
      if (bytes.length !== 8) return undefined;
      const number = bytes.readBigUInt64LE();
      return number > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(number);
    }
    case 'bytes':
      return new Uint8Array(bytes);
    case 'date': {
      const text = bytes.toString('latin1');
      return /^\d{8}$/.test(text) ? text : undefined;
    }
    case 'mechanisms': {
      if (bytes.length % 8 !== 0) return undefined;
      const numbers = Array.from({ length: bytes.length / 8 }, (_, index) => bytes.readBigUInt64LE(index * 8));
      if (numbers.some((number) => number > BigInt(Number.MAX_SAFE_INTEGER))) return undefined;
      return numbers.map(Number).sort((a, b) => a - b);
    }
  }
}

/** A template that the token has given, in the form of the model; undefined where an entry is unknown. */
export function nestedOf(entries: readonly (readonly [type: number, value: Buffer])[]): Uint8Array | undefined {
  const inner = entries.flatMap(([type, bytes]) => {
    const kind = innerKindOf(type);
    const value = kind && decodeNative(kind, bytes);
    return kind === undefined || value === undefined ? [] : [{ type, value: encodeValue(kind, value) }];
  });
  const encoded = encodeNested(inner);
  return inner.length === entries.length && decodeNested(encoded) !== undefined ? encoded : undefined;
}
