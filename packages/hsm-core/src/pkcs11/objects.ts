/** Reads token objects into the model, and writes templates from it. Follows the table in model/attributes.ts. */
import { createHmac } from 'node:crypto';
import {
  ATTRIBUTES,
  type AttributeName,
  type Attributes,
  type AttributeValue,
  attributesOf,
  encodeAttribute,
  setAttribute,
} from '../model/attributes.ts';
import type { KeyType, ObjectClass, ObservedObject } from '../model/object.ts';
import { barePoint, curveOf, ecPublicHalf, rsaPublicHalf } from '../model/public-half.ts';
import { CKA, CKK, CKO } from './constants.ts';
import { type Cryptoki, type Template, type TemplateValue, ulong } from './cryptoki.ts';
import { returnValueOf } from './return-values.ts';

const CLASSES = new Map<number, ObjectClass>([
  [CKO.DATA, 'data'],
  [CKO.CERTIFICATE, 'certificate'],
  [CKO.PUBLIC_KEY, 'public-key'],
  [CKO.PRIVATE_KEY, 'private-key'],
  [CKO.SECRET_KEY, 'secret-key'],
]);

const KEY_TYPES = new Map<number, KeyType>([
  [CKK.AES, 'aes'],
  [CKK.GENERIC_SECRET, 'generic-secret'],
  [CKK.RSA, 'rsa'],
  [CKK.EC, 'ec'],
]);

export const classNumber = (wanted: ObjectClass): number => [...CLASSES].find(([, name]) => name === wanted)![0];
export const keyTypeNumber = (wanted: KeyType): number => [...KEY_TYPES].find(([, name]) => name === wanted)![0];

/** A token reports "not available" for these in ways of its own; each is read alone, so that it spoils nothing else. */
const READ_ALONE: readonly AttributeName[] = ['startDate', 'endDate'];

/** Attributes beyond the table, needed to describe an object of that class. Never CKA_VALUE of a key (I5). */
const TEMPLATES = [CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE, CKA.DERIVE_TEMPLATE] as const;
const EXTRA: Partial<Record<ObjectClass, readonly number[]>> = {
  'secret-key': [CKA.VALUE_LEN, ...TEMPLATES],
  'private-key': [
    CKA.MODULUS,
    CKA.PUBLIC_EXPONENT,
    CKA.EC_PARAMS,
    CKA.EC_POINT,
    CKA.UNWRAP_TEMPLATE,
    CKA.DERIVE_TEMPLATE,
  ],
  'public-key': [CKA.WRAP_TEMPLATE],
};

export interface ReadContext {
  readonly cryptoki: Cryptoki;
  readonly session: bigint;
  /** Drawn once per worker: a digest of a small value must not tell the value. */
  readonly digestKey: Uint8Array;
}

/** One object as the token gives it now; undefined when it is gone. Private EC keys come without their public half. */
export function readObject({ cryptoki, session, digestKey }: ReadContext, handle: bigint): ObservedObject | undefined {
  const kinds = cryptoki.attributes(session, handle, [CKA.CLASS, CKA.KEY_TYPE], 8);
  if (kinds === undefined) return undefined;
  const classValue = kinds.get(CKA.CLASS);
  const objectClass =
    classValue?.length === 8 ? (CLASSES.get(Number(classValue.readBigUInt64LE())) ?? 'other') : 'other';
  if (objectClass === 'other') {
    return { handle, objectClass, sizeBits: 0, attributes: {}, readDigest: digestOf(digestKey, kinds) };
  }
  const isKey = objectClass.endsWith('-key');
  const typeValue = kinds.get(CKA.KEY_TYPE);
  const keyType = isKey
    ? ((typeValue?.length === 8 ? KEY_TYPES.get(Number(typeValue.readBigUInt64LE())) : undefined) ?? 'unsupported')
    : undefined;

  const names = attributesOf(objectClass);
  const together = names.filter((name) => !READ_ALONE.includes(name)).map((name) => ATTRIBUTES[name].type);
  const raw = cryptoki.attributes(session, handle, [...together, ...(EXTRA[objectClass] ?? [])]);
  if (raw === undefined) return undefined;
  for (const name of names.filter((one) => READ_ALONE.includes(one))) {
    const value = readAlone(cryptoki, session, handle, ATTRIBUTES[name].type);
    if (value !== undefined) raw.set(ATTRIBUTES[name].type, value);
  }
  if (objectClass === 'data') {
    const value = cryptoki.attributes(session, handle, [CKA.VALUE], 4096)?.get(CKA.VALUE);
    if (value !== undefined) raw.set(CKA.VALUE, value);
  }

  const attributes: Attributes = {};
  for (const name of names) {
    const value = raw.get(ATTRIBUTES[name].type);
    const decoded = value && decodeNative(name, value);
    if (decoded !== undefined) setAttribute(attributes, name, decoded);
  }
  const publicHalf = keyType === undefined ? undefined : publicHalfOf(keyType, raw);
  return {
    handle,
    objectClass,
    ...(keyType === undefined ? {} : { keyType }),
    sizeBits: sizeBitsOf(objectClass, keyType, raw),
    attributes,
    ...(publicHalf === undefined ? {} : { publicHalf }),
    ...(objectClass === 'data' ? { valueBytes: raw.get(CKA.VALUE)?.length ?? 0 } : {}),
    ...(TEMPLATES.some((type) => raw.get(type)?.length) ? { hasTemplate: true } : {}),
    readDigest: digestOf(digestKey, new Map([...kinds, ...raw])),
  };
}

/** The curve of a private key, which its attributes do not keep (they travel inside the blob). */
export function ecParamsOf({ cryptoki, session }: ReadContext, handle: bigint): Uint8Array | undefined {
  return cryptoki.attributes(session, handle, [CKA.EC_PARAMS])?.get(CKA.EC_PARAMS);
}

export function dataValueOf({ cryptoki, session }: ReadContext, handle: bigint): Uint8Array | undefined {
  return cryptoki.attributes(session, handle, [CKA.VALUE], 4096)?.get(CKA.VALUE);
}

/**
 * Template entries for attributes of the model. Those that forbid later steps come last, CKA_MODIFIABLE at the very end,
 * since SoftHSM refuses whatever follows it (facts: pkcs11, 9.3).
 */
export function templateOf(objectClass: ObjectClass, attributes: Attributes): Template {
  const entries: [number, TemplateValue][] = [];
  const last: [number, TemplateValue][] = [];
  for (const name of attributesOf(objectClass)) {
    const rule = ATTRIBUTES[name];
    const value = attributes[name];
    if (value === undefined || !rule.inTemplate) continue;
    // CKA_TRUSTED-like defaults: an empty list or an empty subject is what a token has without being told.
    if ((Array.isArray(value) || value instanceof Uint8Array) && value.length === 0 && rule.fate !== 'content')
      continue;
    (rule.fate === 'policy' ? last : entries).push([rule.type, encodeNative(name, value)]);
  }
  last.sort(([a], [b]) => Number(a === ATTRIBUTES.modifiable.type) - Number(b === ATTRIBUTES.modifiable.type));
  return [...entries, ...last];
}

function readAlone(cryptoki: Cryptoki, session: bigint, handle: bigint, type: number): Buffer | undefined {
  try {
    return cryptoki.attributes(session, handle, [type])?.get(type);
  } catch (thrown) {
    returnValueOf(thrown);
    return undefined;
  }
}

/** Attribute bytes as the token gives them -> value; undefined where they have not the form of their kind. */
function decodeNative(name: AttributeName, bytes: Buffer): AttributeValue | undefined {
  switch (ATTRIBUTES[name].kind) {
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
    case 'mechanisms':
      return Array.from({ length: Math.floor(bytes.length / 8) }, (_, index) =>
        Number(bytes.readBigUInt64LE(index * 8)),
      ).sort((a, b) => a - b);
  }
}

function encodeNative(name: AttributeName, value: AttributeValue): TemplateValue {
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

function sizeBitsOf(
  objectClass: ObjectClass,
  keyType: KeyType | 'unsupported' | undefined,
  raw: Map<number, Buffer>,
): number {
  if (objectClass === 'secret-key') {
    const length = raw.get(CKA.VALUE_LEN);
    return length?.length === 8 ? Number(length.readBigUInt64LE()) * 8 : 0;
  }
  if (keyType === 'rsa') {
    const modulus = raw.get(CKA.MODULUS);
    if (modulus === undefined || modulus.length === 0) return 0;
    const start = modulus.findIndex((byte) => byte !== 0);
    return (modulus.length - start) * 8 - Math.clz32(modulus[start] ?? 0) + 24;
  }
  if (keyType === 'ec') return curveOf(raw.get(CKA.EC_PARAMS))?.bits ?? 0;
  return 0;
}

function publicHalfOf(keyType: KeyType | 'unsupported', raw: Map<number, Buffer>): Uint8Array | undefined {
  if (keyType === 'rsa') {
    const [modulus, exponent] = [raw.get(CKA.MODULUS), raw.get(CKA.PUBLIC_EXPONENT)];
    return modulus?.length && exponent?.length ? new Uint8Array(rsaPublicHalf(modulus, exponent)) : undefined;
  }
  if (keyType === 'ec') {
    const curve = curveOf(raw.get(CKA.EC_PARAMS));
    const encoded = raw.get(CKA.EC_POINT);
    const point = curve && encoded ? barePoint(curve, encoded) : undefined;
    return curve && point ? new Uint8Array(ecPublicHalf(curve, point)) : undefined;
  }
  return undefined;
}

function digestOf(key: Uint8Array, values: Map<number, Buffer>): string {
  const hash = createHmac('sha256', key);
  for (const [type, value] of [...values].sort(([a], [b]) => a - b)) {
    hash.update(`${type}:${value.length}:`).update(value);
  }
  return hash.digest('hex');
}
