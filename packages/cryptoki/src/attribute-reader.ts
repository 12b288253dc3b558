/**
 * Reads one list of attributes from many objects: one call for each, with a template and room for the values that are
 * laid out once. The values stay until the next read.
 */
import { CKR_OK, UNAVAILABLE } from './constants.ts';
import type { Module } from './module.ts';
import { CryptokiFailure, IS_GONE, returnValueName, TELLS_ATTRIBUTES } from './return-values.ts';
import { ATTRIBUTE_SIZE, addressOf, writeAttribute } from './template.ts';

/**
 * An attribute, and the bytes that its value may have. `fixed` are booleans, CK_ULONGs and dates. Of `none` only the
 * length is asked.
 */
export interface WantedAttribute {
  readonly type: number;
  readonly size: 'fixed' | 'variable' | 'none';
}

/** Longest of the fixed ones. */
const FIXED_BYTES = 8;
/** Enough for names and points; a longer value makes room for itself, and for those after it. */
const VARIABLE_BYTES = 160;
const ROOM = { fixed: FIXED_BYTES, variable: VARIABLE_BYTES, none: 0 } as const;
/** A token that claims more for one value is not believed, and the value counts as not given. */
const VALUE_BYTES_MAX = 64n * 1024n * 1024n;
/** Room beyond this is given back with the next read, so that one large object does not cost every other one. */
const KEPT_BYTES_MAX = 4096;

const isAnswer = (returned: number): boolean => returned === CKR_OK || TELLS_ATTRIBUTES.has(returnValueName(returned));
const isGone = (returned: number): boolean => returnValueName(returned) === IS_GONE;

/** Low word of the length of an attribute that is not given. */
const ABSENT = Number(UNAVAILABLE & 0xffff_ffffn);
const WORDS = ATTRIBUTE_SIZE / 4;

export class AttributeReader {
  readonly #cryptoki: Pick<Module, 'tryCall' | 'failure'>;
  readonly #session: bigint;
  readonly #wanted: readonly WantedAttribute[];
  readonly #places: ReadonlyMap<number, number>;
  /** How many at the end are asked for one by one where they spoil a whole call. */
  readonly #fragile: number;
  readonly #rooms: number[];
  #layout: Layout;
  #fingerprint = Buffer.alloc(0);
  readonly #failed = new Set<number>();
  /** Whether the token failed at an attribute of the object that was read last, instead of saying that it is absent. */
  isPartial = false;

  /** `fragile` come last in the call. */
  constructor(options: {
    cryptoki: Pick<Module, 'tryCall' | 'failure'>;
    session: bigint;
    wanted: readonly WantedAttribute[];
    fragile?: readonly WantedAttribute[];
  }) {
    const { cryptoki, session, wanted, fragile = [] } = options;
    this.#cryptoki = cryptoki;
    this.#session = session;
    this.#wanted = [...wanted, ...fragile];
    this.#fragile = fragile.length;
    this.#places = new Map(this.#wanted.map(({ type }, index) => [type, index]));
    this.#rooms = this.#wanted.map(({ size }) => ROOM[size]);
    this.#layout = layOut(this.#wanted, this.#rooms);
  }

  /** Reads what fits. False when the object is gone. @throws CryptokiFailure, SessionFailure */
  read(object: bigint): boolean {
    if (this.#layout.isOutsized) {
      this.#layout = layOut(this.#wanted, this.#rooms);
      this.#fingerprint = Buffer.alloc(0);
    }
    return this.#ask(object);
  }

  /**
   * Reads again where one of these is missing and turns out to be too long. The return value does not tell: of a call
   * that also asks for what the object does not have, a token says only that (PKCS#11 3.0, 5.7.5: any of the codes that
   * apply).
   */
  complete(object: bigint, needed: readonly number[]): boolean {
    while (needed.some((type) => this.value(type) === undefined) && this.#makeRoom(object, needed))
      if (!this.#ask(object)) return false;
    return true;
  }

  /** Bytes of the object that was read last, valid until the next read; undefined where the token gave none. */
  value(type: number): Buffer | undefined {
    const { words, bytes, starts, rooms } = this.#layout;
    const index = this.#places.get(type)!;
    const length = words[index * WORDS + 4]!;
    // The high word too: some devices claim absurd lengths.
    return length > rooms[index]! || words[index * WORDS + 5] !== 0
      ? undefined
      : bytes.subarray(starts[index]!, starts[index]! + length);
  }

  /** Whether the token failed of this fragile attribute of the object that was read last. */
  hasFailed(type: number): boolean {
    return this.#failed.has(type);
  }

  /** Length of an attribute of the object that was read last; 0 where the token gave none. */
  length(type: number): number {
    const length = this.#layout.words[this.#places.get(type)! * WORDS + 4]!;
    return length === ABSENT ? 0 : length;
  }

  /**
   * The values of these attributes behind `prefix`, in a form in which two equal reads are equal bytes, whichever
   * reader made them. Valid until the next call.
   */
  fingerprintOf(prefix: Uint8Array, types: readonly number[]): Buffer {
    const { words, bytes, starts, rooms, end } = this.#layout;
    if (this.#fingerprint.length < prefix.length + 4 * types.length + end)
      this.#fingerprint = Buffer.alloc(prefix.length + 4 * types.length + end);
    const fingerprint = this.#fingerprint;
    fingerprint.set(prefix);
    let at = prefix.length;
    for (const type of types) {
      const index = this.#places.get(type)!;
      const length = words[index * WORDS + 4]!;
      at = fingerprint.writeUInt32LE(length, at);
      if (length > rooms[index]!) continue;
      const start = starts[index]!;
      // A call for a few bytes costs more than the bytes.
      if (length <= FIXED_BYTES)
        for (let byte = 0; byte < length; byte += 1) fingerprint[at + byte] = bytes[start + byte]!;
      else bytes.copy(fingerprint, at, start, start + length);
      at += length;
    }
    return fingerprint.subarray(0, at);
  }

  #ask(object: bigint): boolean {
    const { words } = this.#layout;
    const count = this.#wanted.length;
    this.isPartial = false;
    this.#failed.clear();
    this.#clear();
    const returned = this.#call(object, 0, count);
    if (returned === CKR_OK) return true;
    if (isGone(returned)) return false;
    if (isAnswer(returned)) return true;
    this.#clear();
    const sound = count - this.#fragile;
    const rest = this.#call(object, 0, sound);
    if (isGone(rest)) return false;
    if (!isAnswer(rest)) this.#askEach(object, sound);
    for (let index = sound; index < count; index += 1)
      if (!isAnswer(this.#call(object, index, 1))) {
        words[index * WORDS + 4] = ABSENT;
        this.#failed.add(this.#wanted[index]!.type);
      }
    return true;
  }

  /** One attribute that the token fails of must not hide the others, nor one object the rest of the partition. */
  #askEach(object: bigint, count: number): void {
    const { words } = this.#layout;
    this.#clear();
    for (let index = 0; index < count; index += 1) {
      const returned = this.#call(object, index, 1);
      if (isAnswer(returned)) continue;
      const failure = this.#cryptoki.failure('C_GetAttributeValue', returned);
      if (!(failure instanceof CryptokiFailure)) throw failure;
      words[index * WORDS + 4] = ABSENT;
      this.isPartial = true;
    }
  }

  #clear(): void {
    const { words, blank } = this.#layout;
    words.set(blank);
  }

  #call(object: bigint, from: number, count: number): number {
    const { bytes } = this.#layout;
    const template = from === 0 ? bytes : bytes.subarray(from * ATTRIBUTE_SIZE);
    return this.#cryptoki.tryCall('C_GetAttributeValue', this.#session, object, template, count);
  }

  /** Asks for the sizes of these. False when there is nothing to be gained. */
  #makeRoom(object: bigint, needed: readonly number[]): boolean {
    const sizes = Buffer.alloc(ATTRIBUTE_SIZE * needed.length);
    for (const [index, type] of needed.entries())
      writeAttribute(sizes, index * ATTRIBUTE_SIZE, { type, address: 0n, length: 0 });
    if (!isAnswer(this.#cryptoki.tryCall('C_GetAttributeValue', this.#session, object, sizes, needed.length)))
      return false;
    const rooms = [...this.#layout.rooms];
    for (const [index, type] of needed.entries()) {
      const [size, place] = [sizes.readBigUInt64LE(index * ATTRIBUTE_SIZE + 16), this.#places.get(type)!];
      if (size > VALUE_BYTES_MAX && size !== UNAVAILABLE) this.isPartial = true;
      if (size > VALUE_BYTES_MAX || size <= rooms[place]! || this.#wanted[place]!.size !== 'variable') continue;
      const room = Math.ceil(Number(size) / VARIABLE_BYTES) * VARIABLE_BYTES;
      rooms[place] = room;
      if (room <= KEPT_BYTES_MAX) this.#rooms[place] = room;
    }
    if (rooms.every((room, index) => room === this.#layout.rooms[index])) return false;
    this.#layout = layOut(this.#wanted, rooms);
    return true;
  }
}

/** Template and values in one piece of memory that never moves. */
interface Layout {
  readonly bytes: Buffer;
  /** The template, as words of 32 bits; a length is word 4 of its entry. No value is longer than 4 GiB. */
  readonly words: Uint32Array;
  /** The template as it is before a call. */
  readonly blank: Uint32Array;
  readonly starts: readonly number[];
  readonly rooms: readonly number[];
  readonly end: number;
  readonly isOutsized: boolean;
}

function layOut(wanted: readonly WantedAttribute[], rooms: readonly number[]): Layout {
  const templateBytes = ATTRIBUTE_SIZE * wanted.length;
  const total = rooms.reduce((sum, room) => sum + room, templateBytes);
  const bytes = Buffer.from(new ArrayBuffer(total));
  const base = addressOf(bytes);
  const starts: number[] = new Array<number>(wanted.length);
  let at = templateBytes;
  for (const [index, { type, size }] of wanted.entries()) {
    starts[index] = at;
    const length = rooms[index]!;
    const address = size === 'none' ? 0n : base + BigInt(at);
    writeAttribute(bytes, index * ATTRIBUTE_SIZE, { type, address, length });
    at += length;
  }
  const words = new Uint32Array(bytes.buffer, 0, templateBytes / 4);
  return {
    bytes,
    words,
    blank: words.slice(),
    starts,
    rooms: [...rooms],
    end: total,
    isOutsized: rooms.some((room) => room > KEPT_BYTES_MAX),
  };
}
