/** Templates and mechanisms as a module reads them: CK_ATTRIBUTE and CK_MECHANISM in memory, and what they point to. */
import koffi from 'koffi';

/** One attribute of a template: a boolean, a CK_ULONG, bytes, or a nested template. */
export type TemplateValue = boolean | number | Uint8Array | Template;
export type Template = readonly (readonly [type: number, value: TemplateValue])[];

/** A mechanism number with its parameter: none, plain bytes, or a structure that points to other buffers. */
export interface Mechanism {
  readonly type: number;
  readonly parameter?: Uint8Array;
  /** Buffers that the parameter points to; kept alive for the call. */
  readonly keep?: readonly Uint8Array[];
}

/** Size of a CK_ATTRIBUTE: type, pointer, length. */
export const ATTRIBUTE_SIZE = 24;

/**
 * The template and all its values in one buffer, which is to be kept for the call: an address costs more than a copy.
 * Nested templates lie in it too.
 */
export function pack(template: Template): Buffer {
  const packed = Buffer.alloc(sizeOf(template));
  write(packed, { template, at: 0, base: addressOf(packed) });
  return packed;
}

const aligned = (length: number): number => (length + 7) & ~7;

function valueSize(value: TemplateValue): number {
  if (typeof value === 'boolean') return 1;
  if (typeof value === 'number') return 8;
  return value instanceof Uint8Array ? value.length : ATTRIBUTE_SIZE * value.length;
}

function sizeOf(template: Template): number {
  let size = ATTRIBUTE_SIZE * template.length;
  for (const [, value] of template)
    size += typeof value !== 'object' || value instanceof Uint8Array ? aligned(valueSize(value)) : sizeOf(value);
  return size;
}

/** Returns where the next free byte is. */
function write(packed: Buffer, { template, at, base }: { template: Template; at: number; base: bigint }): number {
  let free = at + ATTRIBUTE_SIZE * template.length;
  let entry = at;
  for (const [type, value] of template) {
    const length = valueSize(value);
    writeAttribute(packed, entry, { type, address: length === 0 ? 0n : base + BigInt(free), length });
    entry += ATTRIBUTE_SIZE;
    if (typeof value === 'boolean') packed[free] = value ? 1 : 0;
    else if (typeof value === 'number') writeUlong(packed, value, free);
    else if (value instanceof Uint8Array) packed.set(value, free);
    free =
      typeof value === 'object' && !(value instanceof Uint8Array)
        ? write(packed, { template: value, at: free, base })
        : free + aligned(length);
  }
  return free;
}

/** At a byte offset. */
export function writeAttribute(
  packed: Buffer,
  at: number,
  { type, address, length }: { type: number; address: bigint; length: number },
): void {
  writeUlong(packed, type, at);
  packed.writeBigUInt64LE(address, at + 8);
  writeUlong(packed, length, at + 16);
}

/** A CK_ULONG that is a number of JavaScript. */
function writeUlong(packed: Buffer, value: number, at: number): void {
  packed.writeUInt32LE(value >>> 0, at);
  packed.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/**
 * Buffers by the mechanism that points to them: native memory holds no buffer, so each must live as long as its
 * pointer.
 */
const pointees = new WeakMap<Buffer, readonly Uint8Array[]>();

export function packMechanism({ type, parameter, keep = [] }: Mechanism): Buffer {
  const packed = Buffer.alloc(24);
  writeUlong(packed, type, 0);
  if (parameter !== undefined) {
    packed.writeBigUInt64LE(addressOf(parameter), 8);
    packed.writeBigUInt64LE(BigInt(parameter.length), 16);
    pointees.set(packed, [parameter, ...keep]);
  }
  return packed;
}

export const mechanism = (type: number, parameter?: Uint8Array): Mechanism =>
  parameter === undefined ? { type } : { type, parameter };

/**
 * A structure of CK_ULONGs and pointers (as `[buffer]`: address and length are written as two words, address first).
 */
export function structure(type: number, words: readonly (number | bigint | { pointer: Uint8Array })[]): Mechanism {
  const parameter = Buffer.alloc(words.length * 8);
  const keep: Uint8Array[] = [];
  words.forEach((word, index) => {
    const value = typeof word === 'object' ? addressOf(word.pointer) : BigInt(word);
    if (typeof word === 'object') keep.push(word.pointer);
    parameter.writeBigUInt64LE(value, index * 8);
  });
  return { type, parameter, keep };
}

export function ulong(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function addressOf(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(koffi.address(bytes));
}
