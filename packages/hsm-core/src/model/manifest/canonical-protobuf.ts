/**
 * The canonical subset of the protobuf wire format. Fields are in the order of their numbers, all below 16. There are
 * no default values, no unknown fields, and only the shortest varints.
 *
 * A message has exactly one such encoding. So strict reading shows the same as encoding again and comparing, without a
 * second copy. Bytes are read in place, without an object for each field.
 *
 * This module knows no message in particular, and checks no meaning.
 */

/** The bytes are not the canonical encoding of the expected message. */
export class NotCanonical extends Error {}

const VARINT = 0;
const BYTES = 2;
const FIELD_MAX = 15;
const UINT32_MAX = 2 ** 32 - 1;
const UINT64_MAX = 2n ** 64n - 1n;
/** Bytes of the longest varint: of a number that is exact in a double, and of any number. */
const SAFE_BYTES_MAX = 8;
const VARINT_BYTES_MAX = 10;

/** The place of a `bytes` field. The reader reuses one range, so a caller that keeps it must copy both numbers. */
export interface Range {
  start: number;
  end: number;
}

export class CanonicalReader {
  readonly bytes: Buffer;
  position: number;
  /** The end of the message that is being read. */
  end: number;

  constructor(bytes: Uint8Array, { start = 0, end = bytes.length }: { start?: number; end?: number } = {}) {
    this.bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = start;
    this.end = end;
  }

  /** A number up to 2^53 - 1, or 0 if the field is absent. */
  number(field: number): number {
    return this.#accept(field, VARINT) ? this.#present(this.#varint()) : 0;
  }

  uint32(field: number): number {
    const value = this.number(field);
    if (value > UINT32_MAX) throw new NotCanonical('a number exceeds 32 bits');
    return value;
  }

  uint64(field: number): bigint {
    if (!this.#accept(field, VARINT)) return 0n;
    const start = this.position;
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0) throw new NotCanonical('a number is longer than necessary, or a default value is present');
        break;
      }
      if (this.position - start === VARINT_BYTES_MAX) throw new NotCanonical('a number exceeds 64 bits');
    }
    if (value > UINT64_MAX) throw new NotCanonical('a number exceeds 64 bits');
    return value;
  }

  /** Whether the field is present. If so, `range` has the place of its bytes, at least one. */
  range(field: number, range: Range): boolean {
    if (!this.#accept(field, BYTES)) {
      range.start = this.position;
      range.end = this.position;
      return false;
    }
    range.end = this.#present(this.#varint()) + this.position;
    range.start = this.position;
    if (range.end > this.end) throw new NotCanonical('it ends too early');
    this.position = range.end;
    return true;
  }

  /** A copy. Empty if the field is absent. */
  copy(field: number): Uint8Array {
    return this.range(field, SCRATCH) ? new Uint8Array(this.bytes.subarray(SCRATCH.start, SCRATCH.end)) : EMPTY;
  }

  hex(field: number): string {
    return this.range(field, SCRATCH) ? this.bytes.toString('hex', SCRATCH.start, SCRATCH.end) : '';
  }

  text(field: number): string {
    if (!this.range(field, SCRATCH)) return '';
    const { start, end } = SCRATCH;
    const text = this.bytes.toString('utf8', start, end);
    if (!Buffer.from(text).equals(this.bytes.subarray(start, end))) throw new NotCanonical('a text is not UTF-8');
    return text;
  }

  /** Whether this field is a message, possibly empty. If so, the reader reads from it until `leave`. */
  enter(field: number): number | undefined {
    if (!this.#accept(field, BYTES)) return undefined;
    const outer = this.end;
    const inner = this.#varint() + this.position;
    if (inner > outer) throw new NotCanonical('it ends too early');
    this.end = inner;
    return outer;
  }

  /** The whole message must have been read. Any further field is unknown, repeated or out of order. */
  leave(outer: number): void {
    if (this.position !== this.end) throw new NotCanonical('it has a field that is unknown or out of order');
    this.end = outer;
  }

  /** Skips a message of this field. Returns whether there was one. */
  skip(field: number): boolean {
    const outer = this.enter(field);
    if (outer === undefined) return false;
    this.position = this.end;
    this.end = outer;
    return true;
  }

  #accept(field: number, type: number): boolean {
    if (this.position >= this.end || this.bytes[this.position] !== ((field << 3) | type)) return false;
    this.position += 1;
    return true;
  }

  #byte(): number {
    if (this.position >= this.end) throw new NotCanonical('it ends too early');
    return this.bytes[this.position++]!;
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let length = 1; ; length += 1) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && length > 1) throw new NotCanonical('a number is longer than necessary');
        break;
      }
      if (length === SAFE_BYTES_MAX) throw new NotCanonical('a number is too large');
      scale *= 128;
    }
    if (value > Number.MAX_SAFE_INTEGER) throw new NotCanonical('a number is too large');
    return value;
  }

  #present(value: number): number {
    if (value === 0) throw new NotCanonical('a default value is present');
    return value;
  }
}

const EMPTY = new Uint8Array();
const SCRATCH: Range = { start: 0, end: 0 };

/** Writes what {@link CanonicalReader} reads, into one buffer that grows. Defaults are left out. */
export class CanonicalWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity = 1_024) {
    this.#buffer = Buffer.allocUnsafeSlow(capacity);
  }

  /** A view on the written bytes. Valid until the next write. */
  get written(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** @param value a whole number up to 2^53 - 1 */
  number(field: number, value: number): void {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new RangeError(`field ${field} is not a whole number: ${value}`);
    if (value === 0) return;
    this.#tag(field, VARINT);
    this.#varint(value);
  }

  uint32(field: number, value: number): void {
    if (value > UINT32_MAX) throw new RangeError(`field ${field} exceeds 32 bits: ${value}`);
    this.number(field, value);
  }

  uint64(field: number, value: bigint): void {
    if (value < 0n || value > UINT64_MAX) throw new RangeError(`field ${field} exceeds 64 bits: ${value}`);
    if (value === 0n) return;
    this.#tag(field, VARINT);
    let rest = value;
    for (; rest > 0x7fn; rest >>= 7n) this.#byte(Number(rest & 0x7fn) | 0x80);
    this.#byte(Number(rest));
  }

  bytes(field: number, value: Uint8Array): void {
    if (value.length > 0) this.message(field, value);
  }

  hex(field: number, digits: string): void {
    this.bytes(field, Buffer.from(digits, 'hex'));
  }

  text(field: number, text: string): void {
    this.bytes(field, Buffer.from(text));
  }

  /** Writes an encoded message, even if it is empty. */
  message(field: number, encoded: Uint8Array): void {
    this.#tag(field, BYTES);
    this.#varint(encoded.length);
    this.#reserve(encoded.length);
    this.#buffer.set(encoded, this.#length);
    this.#length += encoded.length;
  }

  #tag(field: number, type: number): void {
    if (field > FIELD_MAX) throw new RangeError(`field ${field} does not fit into one byte`);
    this.#byte((field << 3) | type);
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.#byte((rest % 128) | 0x80);
    this.#byte(rest);
  }

  #byte(byte: number): void {
    this.#reserve(1);
    this.#buffer[this.#length] = byte;
    this.#length += 1;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    grown.set(this.written);
    this.#buffer = grown;
  }
}
