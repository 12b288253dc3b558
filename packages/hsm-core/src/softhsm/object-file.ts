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

export const GENERATION_BYTES = 8;
const WORD_BYTES = 8;
const [TRUE, FALSE] = [0xff, 0x00];

/** Undefined where the file is not whole, or has another form. */
export function parseObjectFile(file: Buffer): StoredObject | undefined {
  if (file.length < GENERATION_BYTES) return undefined;
  const attributes = parseAttributes(file.subarray(GENERATION_BYTES));
  return attributes && { generation: file.readBigUInt64BE(0), attributes };
}

/** Reads the part of a file behind its generation number. Undefined where that is not whole, or has another form. */
export function parseAttributes(body: Buffer): StoredAttributes | undefined {
  const attributes = new Map<number, StoredValue>();
  const cursor = new Cursor(body);
  while (!cursor.isAtEnd) {
    const type = cursor.number();
    const kind = cursor.number();
    const value = type === undefined || kind === undefined ? undefined : readValue(cursor, kind);
    if (type === undefined || value === undefined || attributes.has(type)) return undefined;
    attributes.set(type, value);
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

function readValue(cursor: Cursor, kind: number): StoredValue | undefined {
  switch (kind) {
    case KIND.boolean: {
      const byte = cursor.bytes(1)?.[0];
      return byte === TRUE || byte === FALSE ? { kind: 'boolean', value: byte === TRUE } : undefined;
    }
    case KIND.number: {
      const value = cursor.word();
      return value === undefined ? undefined : { kind: 'number', value };
    }
    case KIND.bytes:
    case KIND.template: {
      const length = cursor.number();
      const value = length === undefined ? undefined : cursor.bytes(length);
      return value && { kind: kind === KIND.bytes ? 'bytes' : 'template', value };
    }
    case KIND.mechanisms: {
      const bytes = cursor.bytes((cursor.number() ?? Number.NaN) * WORD_BYTES);
      if (bytes === undefined) return undefined;
      const value = Array.from({ length: bytes.length / WORD_BYTES }, (_, at) =>
        bytes.readBigUInt64BE(at * WORD_BYTES),
      );
      return { kind: 'mechanisms', value };
    }
    default:
      return undefined;
  }
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

/** Reads from the front. Nothing is read beyond the end: a length in a damaged file may be anything. */
class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  bytes(length: number): Buffer | undefined {
    if (!(length <= this.#bytes.length - this.#at)) return undefined;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  word(): bigint | undefined {
    if (this.#bytes.length - this.#at < WORD_BYTES) return undefined;
    this.#at += WORD_BYTES;
    return this.#bytes.readBigUInt64BE(this.#at - WORD_BYTES);
  }

  /** A word that a double holds exactly. */
  number(): number | undefined {
    if (this.#bytes.length - this.#at < WORD_BYTES) return undefined;
    this.#at += WORD_BYTES;
    const high = this.#bytes.readUInt32BE(this.#at - WORD_BYTES);
    const value = high * 2 ** 32 + this.#bytes.readUInt32BE(this.#at - WORD_BYTES / 2);
    return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
  }
}
