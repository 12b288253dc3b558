/**
 * CKA_WRAP_TEMPLATE and its like in one form on every device: entries by ascending number, each with its number and
 * length (4 bytes, big-endian) and its value as {@link encodeAttribute} has it. A template with an entry that the model
 * does not know has no such form, and its key is not captured: without the entry it would do more.
 */
import { CKA } from '@antipode/cryptoki/attributes';

export type InnerKind = 'boolean' | 'number' | 'bytes' | 'date' | 'mechanisms';

export interface InnerEntry {
  readonly type: number;
  readonly value: Uint8Array;
}

/** Attributes that a template may name, and that no object of the model carries itself. */
export const INNER_KINDS: ReadonlyMap<number, InnerKind> = new Map([
  [CKA.CLASS, 'number'],
  [CKA.TOKEN, 'boolean'],
  [CKA.KEY_TYPE, 'number'],
  [CKA.VALUE_LEN, 'number'],
  [CKA.MODULUS_BITS, 'number'],
]);

const HEAD_BYTES = 8;

export function encodeNested(entries: readonly InnerEntry[]): Uint8Array {
  const sorted = [...entries].sort((a, b) => a.type - b.type);
  return Buffer.concat(
    sorted.flatMap(({ type, value }) => {
      const head = Buffer.alloc(HEAD_BYTES);
      head.writeUInt32BE(type);
      head.writeUInt32BE(value.length, 4);
      return [head, value];
    }),
  );
}

/** Undefined if the bytes are not what {@link encodeNested} gives. */
export function decodeNested(bytes: Uint8Array): InnerEntry[] | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries: InnerEntry[] = [];
  for (let at = 0; at < buffer.length; ) {
    if (at + HEAD_BYTES > buffer.length) return undefined;
    const [type, length] = [buffer.readUInt32BE(at), buffer.readUInt32BE(at + 4)];
    const start = at + HEAD_BYTES;
    if (start + length > buffer.length || type <= (entries.at(-1)?.type ?? -1)) return undefined;
    entries.push({ type, value: buffer.subarray(start, start + length) });
    at = start + length;
  }
  return entries;
}
