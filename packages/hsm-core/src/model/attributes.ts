/**
 * The one table of PKCS#11 attributes that Antipode knows: number, kind, where it applies, and what becomes of it when an
 * object moves. Everything else (templates, manifests, digests, comparisons) is read off this table.
 */
import type { ObjectClass } from './object.ts';

/**
 * What becomes of an attribute on the way:
 * - `portable`: set at the target, readable there, compared; the content digest covers exactly these.
 * - `content`: the value of an object that travels in the manifest; portable, and fixed for the life of the object.
 * - `carried`: kept in the manifest from the first source on, because a token cannot read it back after an unwrap.
 * - `policy`: portable, but set by a last step at the target, since it forbids later ones.
 */
export type Fate = 'portable' | 'content' | 'carried' | 'policy';

type Kind = 'boolean' | 'number' | 'bytes' | 'date' | 'mechanisms';

interface AttributeRule {
  readonly type: number;
  readonly kind: Kind;
  readonly fate: Fate;
  readonly classes: readonly ObjectClass[];
  /** May be given in a template for unwrap or create. */
  readonly inTemplate: boolean;
}

const KEYS = ['secret-key', 'private-key', 'public-key'] as const;
const WRAPPED = ['secret-key', 'private-key'] as const;
const ALL = ['secret-key', 'private-key', 'public-key', 'certificate', 'data'] as const;

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

/** Numbers: PKCS#11 3.0, pkcs11t.h. */
export const ATTRIBUTES = {
  private: rule(0x002, 'boolean', 'portable', ALL),
  label: rule(0x003, 'bytes', 'portable', ALL),
  application: rule(0x010, 'bytes', 'portable', ['data']),
  dataObjectId: rule(0x012, 'bytes', 'portable', ['data']),
  value: rule(0x011, 'bytes', 'content', ['certificate']),
  certificateType: rule(0x080, 'number', 'content', ['certificate']),
  issuer: rule(0x081, 'bytes', 'portable', ['certificate']),
  serialNumber: rule(0x082, 'bytes', 'portable', ['certificate']),
  certificateCategory: rule(0x087, 'number', 'portable', ['certificate']),
  subject: rule(0x101, 'bytes', 'portable', ['private-key', 'public-key', 'certificate']),
  id: rule(0x102, 'bytes', 'portable', [...KEYS, 'certificate']),
  sensitive: rule(0x103, 'boolean', 'portable', WRAPPED),
  encrypt: rule(0x104, 'boolean', 'portable', ['secret-key', 'public-key']),
  decrypt: rule(0x105, 'boolean', 'portable', WRAPPED),
  wrap: rule(0x106, 'boolean', 'portable', ['secret-key', 'public-key']),
  unwrap: rule(0x107, 'boolean', 'portable', WRAPPED),
  sign: rule(0x108, 'boolean', 'portable', WRAPPED),
  signRecover: rule(0x109, 'boolean', 'portable', ['private-key']),
  verify: rule(0x10a, 'boolean', 'portable', ['secret-key', 'public-key']),
  verifyRecover: rule(0x10b, 'boolean', 'portable', ['public-key']),
  derive: rule(0x10c, 'boolean', 'portable', KEYS),
  startDate: rule(0x110, 'date', 'carried', [...KEYS, 'certificate']),
  endDate: rule(0x111, 'date', 'carried', [...KEYS, 'certificate']),
  modulus: rule(0x120, 'bytes', 'content', ['public-key']),
  publicExponent: rule(0x122, 'bytes', 'content', ['public-key']),
  extractable: rule(0x162, 'boolean', 'portable', WRAPPED),
  local: rule(0x163, 'boolean', 'carried', KEYS, false),
  neverExtractable: rule(0x164, 'boolean', 'carried', WRAPPED, false),
  alwaysSensitive: rule(0x165, 'boolean', 'carried', WRAPPED, false),
  keyGenMechanism: rule(0x166, 'number', 'carried', KEYS, false),
  checkValue: rule(0x090, 'bytes', 'carried', ['secret-key'], false),
  modifiable: rule(0x170, 'boolean', 'policy', ALL),
  copyable: rule(0x171, 'boolean', 'policy', ALL),
  destroyable: rule(0x172, 'boolean', 'policy', ALL),
  ecParams: rule(0x180, 'bytes', 'content', ['public-key']),
  ecPoint: rule(0x181, 'bytes', 'content', ['public-key']),
  alwaysAuthenticate: rule(0x202, 'boolean', 'portable', ['private-key']),
  wrapWithTrusted: rule(0x210, 'boolean', 'portable', WRAPPED),
  allowedMechanisms: rule(0x40000600, 'mechanisms', 'portable', KEYS),
} as const satisfies Record<string, AttributeRule>;

type Rules = typeof ATTRIBUTES;

export type AttributeName = keyof Rules;

interface KindValue {
  boolean: boolean;
  number: number;
  bytes: Uint8Array;
  /** `YYYYMMDD`. */
  date: string;
  /** CKM_ numbers, ascending. */
  mechanisms: readonly number[];
}

export type AttributeValue = KindValue[Kind];

/** What is known of an object. An attribute that the token does not give is absent, never a default. */
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

/** The canonical bytes of a value: what manifests store and digests hash, on every device the same. */
export function encodeAttribute(name: AttributeName, value: AttributeValue): Uint8Array {
  const kind: Kind = ATTRIBUTES[name].kind;
  switch (kind) {
    case 'boolean':
      return Uint8Array.of(value === true ? 1 : 0);
    case 'number':
      return numberBytes(value as number);
    case 'bytes':
      return value as Uint8Array;
    case 'date':
      return Buffer.from(value as string, 'ascii');
    case 'mechanisms':
      return Buffer.concat([...(value as readonly number[])].sort((a, b) => a - b).map(numberBytes));
  }
}

/** The inverse of {@link encodeAttribute}; undefined where the type is unknown or the bytes have not its form. */
export function decodeAttribute(
  type: number,
  bytes: Uint8Array,
): { name: AttributeName; value: AttributeValue } | undefined {
  const name = BY_TYPE.get(type);
  if (name === undefined) return undefined;
  const kind: Kind = ATTRIBUTES[name].kind;
  switch (kind) {
    case 'boolean':
      return bytes.length === 1 && bytes[0]! <= 1 ? { name, value: bytes[0] === 1 } : undefined;
    case 'number':
      return bytes.length === 8 ? { name, value: Number(Buffer.from(bytes).readBigUInt64BE()) } : undefined;
    case 'bytes':
      return { name, value: new Uint8Array(bytes) };
    case 'date':
      return /^\d{8}$/.test(Buffer.from(bytes).toString('latin1'))
        ? { name, value: Buffer.from(bytes).toString('ascii') }
        : undefined;
    case 'mechanisms': {
      if (bytes.length % 8 !== 0) return undefined;
      const buffer = Buffer.from(bytes);
      return {
        name,
        value: Array.from({ length: bytes.length / 8 }, (_, index) => Number(buffer.readBigUInt64BE(index * 8))),
      };
    }
  }
}

/** The attribute of this number, where objects of the class have it. */
export function attributeOf(objectClass: ObjectClass, type: number): AttributeName | undefined {
  const name = BY_TYPE.get(type);
  return name !== undefined && (ATTRIBUTES[name].classes as readonly ObjectClass[]).includes(objectClass)
    ? name
    : undefined;
}

/** Whether the bytes are what {@link encodeAttribute} gives for some value: the same question as decoding and encoding again. */
export function isCanonical(
  name: AttributeName,
  bytes: Buffer,
  { start, end }: { start: number; end: number },
): boolean {
  const length = end - start;
  const kind: Kind = ATTRIBUTES[name].kind;
  switch (kind) {
    case 'boolean':
      return length === 1 && bytes[start]! <= 1;
    case 'number':
      return length === 8 && isExact(bytes, start);
    case 'bytes':
      return true;
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

/** Whether the 8 bytes are a number that a double holds exactly: no other would come back as it was. */
function isExact(bytes: Buffer, at: number): boolean {
  if (bytes.readUInt32BE(at) < 2 ** 21) return true;
  const number = bytes.readBigUInt64BE(at);
  return BigInt(Number(number)) === number;
}

/** Sets one attribute by name, without losing the tie between name and type of value. */
export function setAttribute(attributes: Attributes, name: AttributeName, value: AttributeValue): void {
  (attributes as Record<AttributeName, AttributeValue>)[name] = value;
}

function numberBytes(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
