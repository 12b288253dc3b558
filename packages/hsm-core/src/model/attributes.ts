/**
 * The one table of PKCS#11 attributes that Antipode knows: number, kind, classes, and fate when an object moves.
 * Templates, manifests, digests and comparisons are all derived from this table.
 */
import { CKA } from '@antipode/cryptoki/attributes';
import { decodeNested, INNER_KINDS, type InnerKind } from './nested-template.ts';
import { OBJECT_CLASSES, type ObjectClass } from './object.ts';

/**
 * The fate of an attribute when its object moves:
 *
 * - `portable`: set at the target, readable there, and compared. The content digest covers exactly these.
 * - `content`: the value of an object that travels in the manifest. It is portable, and fixed for the life of the
 *   object.
 * - `carried`: kept in the manifest from the first source on, because a token cannot read it back after an unwrap.
 * - `policy`: portable, and set by the last step at the target, since it forbids later steps.
 */
export type Fate = 'portable' | 'content' | 'carried' | 'policy';

type Kind = InnerKind | 'template';

interface AttributeRule {
  readonly type: number;
  readonly kind: Kind;
  readonly fate: Fate;
  readonly classes: readonly ObjectClass[];
  /** Whether a template for unwrap or create may have it. */
  readonly inTemplate: boolean;
}

const KEYS = ['secret-key', 'private-key', 'public-key'] as const;
const WRAPPED = ['secret-key', 'private-key'] as const;
const ALL = OBJECT_CLASSES;

const rule = <const K extends Kind>(
  type: number,
  kind: K,
  fate: Fate,
  classes: readonly ObjectClass[],
  inTemplate = true,
) => ({
  type,
  kind,
  fate,
  classes,
  inTemplate,
});

export const ATTRIBUTES = {
  private: rule(CKA.PRIVATE, 'boolean', 'portable', ALL),
  label: rule(CKA.LABEL, 'bytes', 'portable', ALL),
  application: rule(CKA.APPLICATION, 'bytes', 'portable', ['data']),
  dataObjectId: rule(CKA.OBJECT_ID, 'bytes', 'portable', ['data']),
  value: rule(CKA.VALUE, 'bytes', 'content', ['certificate', 'public-key']),
  certificateType: rule(CKA.CERTIFICATE_TYPE, 'number', 'content', ['certificate']),
  issuer: rule(CKA.ISSUER, 'bytes', 'portable', ['certificate']),
  serialNumber: rule(CKA.SERIAL_NUMBER, 'bytes', 'portable', ['certificate']),
  certificateCategory: rule(CKA.CERTIFICATE_CATEGORY, 'number', 'portable', ['certificate']),
  subject: rule(CKA.SUBJECT, 'bytes', 'portable', ['private-key', 'public-key', 'certificate']),
  id: rule(CKA.ID, 'bytes', 'portable', [...KEYS, 'certificate']),
  sensitive: rule(CKA.SENSITIVE, 'boolean', 'portable', WRAPPED),
  encrypt: rule(CKA.ENCRYPT, 'boolean', 'portable', ['secret-key', 'public-key']),
  decrypt: rule(CKA.DECRYPT, 'boolean', 'portable', WRAPPED),
  wrap: rule(CKA.WRAP, 'boolean', 'portable', ['secret-key', 'public-key']),
  unwrap: rule(CKA.UNWRAP, 'boolean', 'portable', WRAPPED),
  sign: rule(CKA.SIGN, 'boolean', 'portable', WRAPPED),
  signRecover: rule(CKA.SIGN_RECOVER, 'boolean', 'portable', ['private-key']),
  verify: rule(CKA.VERIFY, 'boolean', 'portable', ['secret-key', 'public-key']),
  verifyRecover: rule(CKA.VERIFY_RECOVER, 'boolean', 'portable', ['public-key']),
  derive: rule(CKA.DERIVE, 'boolean', 'portable', KEYS),
  startDate: rule(CKA.START_DATE, 'date', 'carried', [...KEYS, 'certificate']),
  endDate: rule(CKA.END_DATE, 'date', 'carried', [...KEYS, 'certificate']),
  modulus: rule(CKA.MODULUS, 'bytes', 'content', ['public-key']),
  publicExponent: rule(CKA.PUBLIC_EXPONENT, 'bytes', 'content', ['public-key']),
  prime: rule(CKA.PRIME, 'bytes', 'content', ['public-key', 'domain-parameters']),
  subprime: rule(CKA.SUBPRIME, 'bytes', 'content', ['public-key', 'domain-parameters']),
  base: rule(CKA.BASE, 'bytes', 'content', ['public-key', 'domain-parameters']),
  valueBits: rule(CKA.VALUE_BITS, 'number', 'carried', ['private-key'], false),
  extractable: rule(CKA.EXTRACTABLE, 'boolean', 'portable', WRAPPED),
  local: rule(CKA.LOCAL, 'boolean', 'carried', [...KEYS, 'domain-parameters'], false),
  neverExtractable: rule(CKA.NEVER_EXTRACTABLE, 'boolean', 'carried', WRAPPED, false),
  alwaysSensitive: rule(CKA.ALWAYS_SENSITIVE, 'boolean', 'carried', WRAPPED, false),
  keyGenMechanism: rule(CKA.KEY_GEN_MECHANISM, 'number', 'carried', KEYS, false),
  checkValue: rule(CKA.CHECK_VALUE, 'bytes', 'carried', ['secret-key'], false),
  modifiable: rule(CKA.MODIFIABLE, 'boolean', 'policy', ALL),
  copyable: rule(CKA.COPYABLE, 'boolean', 'policy', ALL),
  destroyable: rule(CKA.DESTROYABLE, 'boolean', 'policy', ALL),
  ecParams: rule(CKA.EC_PARAMS, 'bytes', 'content', ['public-key']),
  ecPoint: rule(CKA.EC_POINT, 'bytes', 'content', ['public-key']),
  alwaysAuthenticate: rule(CKA.ALWAYS_AUTHENTICATE, 'boolean', 'portable', ['private-key']),
  wrapWithTrusted: rule(CKA.WRAP_WITH_TRUSTED, 'boolean', 'portable', WRAPPED),
  wrapTemplate: rule(CKA.WRAP_TEMPLATE, 'template', 'portable', ['secret-key', 'public-key']),
  unwrapTemplate: rule(CKA.UNWRAP_TEMPLATE, 'template', 'portable', WRAPPED),
  deriveTemplate: rule(CKA.DERIVE_TEMPLATE, 'template', 'portable', WRAPPED),
  allowedMechanisms: rule(CKA.ALLOWED_MECHANISMS, 'mechanisms', 'portable', KEYS),
} as const satisfies Record<string, AttributeRule>;

type Rules = typeof ATTRIBUTES;

/**
 * The value assumed for an attribute that a token does not report. Some tokens report defaults and some omit them, so
 * this makes both compare equal.
 *
 * The values are the standard's defaults (PKCS#11 3.0 base, tables 15 to 31). The default of a usage flag is the
 * token's choice, so an absent flag means that the use is not allowed.
 */
export const ASSUMED: Attributes = {
  encrypt: false,
  decrypt: false,
  wrap: false,
  unwrap: false,
  sign: false,
  signRecover: false,
  verify: false,
  verifyRecover: false,
  derive: false,
  certificateCategory: 0,
  modifiable: true,
  copyable: true,
  destroyable: true,
  alwaysAuthenticate: false,
  wrapWithTrusted: false,
};

/** Usage flags. Every template must name all of them, since tokens have defaults of their own: NSS allows every use. */
export const USES: readonly AttributeName[] = [
  'encrypt',
  'decrypt',
  'wrap',
  'unwrap',
  'sign',
  'signRecover',
  'verify',
  'verifyRecover',
  'derive',
];

/**
 * Whether the attribute can matter to a key of this type. Only RSA recovers a message from a signature. Some tokens give
 * the flag to every private key, and NSS 3.132 drops it from EC keys: no use is gained or lost by that.
 */
export const decides = (name: AttributeName, keyType: string | undefined): boolean =>
  !RECOVERY.has(name) || keyType === undefined || keyType === 'rsa';

const RECOVERY: ReadonlySet<AttributeName> = new Set(['signRecover', 'verifyRecover']);

export type AttributeName = keyof Rules;

interface KindValue {
  boolean: boolean;
  number: number;
  bytes: Uint8Array;
  /** `YYYYMMDD`. */
  date: string;
  /** CKM_ numbers, ascending. */
  mechanisms: readonly number[];
  /** In the form of nested-template.ts. */
  template: Uint8Array;
}

export type AttributeValue = KindValue[Kind];

/** The attributes of an object. An attribute that the token does not give is absent, and never a default. */
export type Attributes = { [Name in AttributeName]?: KindValue[Rules[Name]['kind']] };

export const ATTRIBUTE_NAMES = Object.keys(ATTRIBUTES) as AttributeName[];

const BY_TYPE = new Map<number, AttributeName>(ATTRIBUTE_NAMES.map((name) => [ATTRIBUTES[name].type, name]));

const BY_CLASS = new Map<ObjectClass, readonly AttributeName[]>(
  ALL.map((objectClass) => [
    objectClass,
    ATTRIBUTE_NAMES.filter((name) => (ATTRIBUTES[name].classes as readonly ObjectClass[]).includes(objectClass)).sort(
      (a, b) => ATTRIBUTES[a].type - ATTRIBUTES[b].type,
    ),
  ]),
);

/** Names that apply to a class, in the order of their numbers. */
export function attributesOf(objectClass: ObjectClass): readonly AttributeName[] {
  return BY_CLASS.get(objectClass) ?? [];
}

/** The canonical bytes of a value. Manifests store them and digests hash them, on every device the same. */
export const encodeAttribute = (name: AttributeName, value: AttributeValue): Uint8Array =>
  encodeValue(ATTRIBUTES[name].kind, value);

export function encodeValue(kind: Kind, value: AttributeValue): Uint8Array {
  switch (kind) {
    case 'boolean':
      return Uint8Array.of(value === true ? 1 : 0);
    case 'number':
      return numberBytes(value as number);
    case 'bytes':
    case 'template':
      return value as Uint8Array;
    case 'date':
      return Buffer.from(value as string, 'ascii');
    case 'mechanisms':
      return Buffer.concat([...(value as readonly number[])].sort((a, b) => a - b).map(numberBytes));
  }
}

/** The inverse of {@link encodeAttribute}. Undefined if the type is unknown, or the bytes do not have its form. */
export function decodeAttribute(
  type: number,
  bytes: Uint8Array,
): { name: AttributeName; value: AttributeValue } | undefined {
  const name = BY_TYPE.get(type);
  const value = name && decodeValue(ATTRIBUTES[name].kind, bytes);
  return name === undefined || value === undefined ? undefined : { name, value };
}

export function decodeValue(kind: Kind, bytes: Uint8Array): AttributeValue | undefined {
  switch (kind) {
    case 'boolean':
      return bytes.length === 1 && bytes[0]! <= 1 ? bytes[0] === 1 : undefined;
    case 'number':
      return bytes.length === 8 ? Number(Buffer.from(bytes).readBigUInt64BE()) : undefined;
    case 'bytes':
      return new Uint8Array(bytes);
    case 'template':
      return isCanonicalTemplate(Buffer.from(bytes)) ? new Uint8Array(bytes) : undefined;
    case 'date':
      return /^\d{8}$/.test(Buffer.from(bytes).toString('latin1')) ? Buffer.from(bytes).toString('ascii') : undefined;
    case 'mechanisms': {
      if (bytes.length % 8 !== 0) return undefined;
      const buffer = Buffer.from(bytes);
      return Array.from({ length: bytes.length / 8 }, (_, index) => Number(buffer.readBigUInt64BE(index * 8)));
    }
  }
}

/** The kind of an attribute inside a template. Undefined if the model does not know it, or if it is a template too. */
export function innerKindOf(type: number): InnerKind | undefined {
  const name = BY_TYPE.get(type);
  const kind: Kind | undefined = name === undefined ? INNER_KINDS.get(type) : ATTRIBUTES[name].kind;
  return kind === 'template' ? undefined : kind;
}

/** The attribute of this number, if objects of the class have it. */
export function attributeOf(objectClass: ObjectClass, type: number): AttributeName | undefined {
  const name = BY_TYPE.get(type);
  return name !== undefined && (ATTRIBUTES[name].classes as readonly ObjectClass[]).includes(objectClass)
    ? name
    : undefined;
}

/**
 * Whether {@link encodeAttribute} gives these bytes for any value. Decoding and encoding again would answer the same
 * question.
 */
export function isCanonical(name: AttributeName, bytes: Buffer, range: { start: number; end: number }): boolean {
  return isCanonicalValue(ATTRIBUTES[name].kind, bytes, range);
}

function isCanonicalValue(kind: Kind, bytes: Buffer, { start, end }: { start: number; end: number }): boolean {
  const length = end - start;
  switch (kind) {
    case 'boolean':
      return length === 1 && bytes[start]! <= 1;
    case 'number':
      return length === 8 && isExact(bytes, start);
    case 'bytes':
      return true;
    case 'template':
      return isCanonicalTemplate(bytes.subarray(start, end));
    case 'date':
      return /^\d{8}$/.test(bytes.toString('latin1', start, end));
    case 'mechanisms': {
      if (length % 8 !== 0) return false;
      for (let at = start; at < end; at += 8) {
        if (!isExact(bytes, at)) return false;
        if (at > start && bytes.compare(bytes, at - 8, at, at, at + 8) < 0) return false;
      }
      return true;
    }
  }
}

function isCanonicalTemplate(bytes: Buffer): boolean {
  return (
    decodeNested(bytes)?.every(({ type, value }) => {
      const kind = innerKindOf(type);
      return kind !== undefined && isCanonicalValue(kind, Buffer.from(value), { start: 0, end: value.length });
    }) === true
  );
}

/** Whether a double holds the number of these 8 bytes exactly. Any other number would not come back as it was. */
function isExact(bytes: Buffer, at: number): boolean {
  if (bytes.readUInt32BE(at) < 2 ** 21) return true;
  const number = bytes.readBigUInt64BE(at);
  return BigInt(Number(number)) === number;
}

/** Sets one attribute by name. The compiler checks that the value has the type of that name. */
export function setAttribute(attributes: Attributes, name: AttributeName, value: AttributeValue): void {
  (attributes as Record<AttributeName, AttributeValue>)[name] = value;
}

function numberBytes(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
