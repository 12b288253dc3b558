/**
 * The form of an object in SoftHSM's file store: a generation number, and then attributes, each with its type, the kind
 * of its value, and the value. All numbers have 8 bytes, big-endian. SoftHSM counts the generation up with each write,
 * so that other processes notice.
 *
 * Of a private object (CKA_PRIVATE) SoftHSM encrypts each byte string under the token key. Numbers, booleans and lists
 * are in the clear in every object, and so is all of a public one, its value included.
 */

/** The kinds of values, by their number in the file. */
const KIND = { boolean: 1, number: 2, bytes: 3, template: 4, mechanisms: 5 } as const;

export type StoredValue =
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'number'; readonly value: bigint }
  | { readonly kind: 'bytes'; readonly value: Buffer }
  /** Attributes in an attribute, as the file has them. */
  | { readonly kind: 'template'; readonly value: Buffer }
  | { readonly kind: 'mechanisms'; readonly value: readonly bigint[] };

export type StoredAttributes = ReadonlyMap<number, StoredValue>;

export interface StoredObject {
  readonly generation: bigint;
  readonly attributes: StoredAttributes;
}

/** Of whoever had them parsed: nobody else holds them. */
export type ParsedAttributes = Map<number, StoredValue>;

export interface ParsedObject extends StoredObject {
  readonly attributes: ParsedAttributes;
}

export const GENERATION_BYTES = 8;
const WORD_BYTES = 8;
const [TRUE, FALSE] = [0xff, 0x00];
/** Most attributes are flags, and all flags share these. */
const FLAGS = {
  on: { kind: 'boolean', value: true },
  off: { kind: 'boolean', value: false },
} as const satisfies Record<string, StoredValue>;

/** Undefined where the file is not whole, or has another form. */
export function parseObjectFile(file: Buffer): ParsedObject | undefined {
  if (file.length < GENERATION_BYTES) return undefined;
  const attributes = parseAttributes(file.subarray(GENERATION_BYTES));
  return attributes && { generation: file.readBigUInt64BE(0), attributes };
}

/** Reads the part of a file behind its generation number. Undefined where that is not whole, or has another form. */
export function parseAttributes(body: Buffer): ParsedAttributes | undefined {
  const attributes: ParsedAttributes = new Map();
  for (let at = 0; at < body.length; ) {
    const value = at + 2 * WORD_BYTES;
    const [type, kind] = [wordAt(body, at), wordAt(body, at + WORD_BYTES)];
    const end = type === undefined || kind === undefined ? undefined : endOfValue(body, kind, value);
    const stored = end === undefined ? undefined : readValue(body, kind!, { start: value, end });
    if (stored === undefined || attributes.has(type!)) return undefined;
    attributes.set(type!, stored);
    at = end!;
  }
  return attributes;
}

/** In the order of the attributes that is given, which SoftHSM keeps ascending. */
export function serialiseObject({ generation, attributes }: StoredObject): Buffer {
  const parts = [word(generation)];
  for (const [type, stored] of attributes)
    parts.push(word(BigInt(type)), word(BigInt(KIND[stored.kind])), body(stored));
  return Buffer.concat(parts);
}

/** Behind the value that begins at `at`. Undefined where it would end outside: a length in a damaged file may be anything. */
function endOfValue(body: Buffer, kind: number, at: number): number | undefined {
  switch (kind) {
    case KIND.boolean:
      return within(body, at + 1);
    case KIND.number:
      return within(body, at + WORD_BYTES);
    case KIND.bytes:
    case KIND.template:
      return within(body, at + WORD_BYTES + (wordAt(body, at) ?? Number.NaN));
    case KIND.mechanisms:
      return within(body, at + WORD_BYTES + WORD_BYTES * (wordAt(body, at) ?? Number.NaN));
    default:
      return undefined;
  }
}

const within = (body: Buffer, end: number): number | undefined => (end <= body.length ? end : undefined);

function readValue(
  body: Buffer,
  kind: number,
  { start, end }: { start: number; end: number },
): StoredValue | undefined {
  switch (kind) {
    case KIND.boolean: {
      const byte = body[start];
      if (byte === TRUE) return FLAGS.on;
      return byte === FALSE ? FLAGS.off : undefined;
    }
    case KIND.number:
      return { kind: 'number', value: body.readBigUInt64BE(start) };
    case KIND.bytes:
      return { kind: 'bytes', value: body.subarray(start + WORD_BYTES, end) };
    case KIND.template:
      return { kind: 'template', value: body.subarray(start + WORD_BYTES, end) };
    default: {
      const value: bigint[] = [];
      for (let at = start + WORD_BYTES; at < end; at += WORD_BYTES) value.push(body.readBigUInt64BE(at));
      return { kind: 'mechanisms', value };
    }
  }
}

/** A word that a double holds exactly. Undefined where the bytes end before it does. */
function wordAt(body: Buffer, at: number): number | undefined {
  if (at + WORD_BYTES > body.length) return undefined;
  const value = body.readUInt32BE(at) * 2 ** 32 + body.readUInt32BE(at + WORD_BYTES / 2);
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}

function body(stored: StoredValue): Buffer {
  switch (stored.kind) {
    case 'boolean':
      return Buffer.of(stored.value ? TRUE : FALSE);
    case 'number':
      return word(stored.value);
    case 'bytes':
    case 'template':
      return Buffer.concat([word(BigInt(stored.value.length)), stored.value]);
    case 'mechanisms':
      return Buffer.concat([word(BigInt(stored.value.length)), ...stored.value.map(word)]);
  }
}

function word(value: bigint): Buffer {
  const bytes = Buffer.alloc(WORD_BYTES);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
