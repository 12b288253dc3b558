/**
 * Reads an attribute that is a template itself (CKA_WRAP_TEMPLATE and its like, PKCS#11 3.0, table 33): once for the types
 * and lengths, once for the values. The module writes to addresses that it finds in our memory, so all of them point
 * into one buffer of ours.
 */
import { CKR_OK } from './constants.ts';
import type { Module } from './module.ts';
import { ATTRIBUTE_SIZE, addressOf, writeAttribute } from './template.ts';

/** More entries, or longer values, than any real template has. Then it counts as not given. */
const ENTRIES_MAX = 64;
const VALUE_BYTES_MAX = 4096n;

/** Undefined where the token does not give all of it. `bytes` is the length of the attribute, as the token has told it. */
export function readNestedTemplate(
  module: Pick<Module, 'tryCall'>,
  session: bigint,
  { object, type, bytes }: { object: bigint; type: number; bytes: number },
): (readonly [type: number, value: Buffer])[] | undefined {
  const count = bytes / ATTRIBUTE_SIZE;
  if (!Number.isInteger(count) || count < 1 || count > ENTRIES_MAX) return undefined;
  const entries = Buffer.alloc(bytes);
  if (!ask(module, session, { object, type, entries })) return undefined;
  const lengths = Array.from({ length: count }, (_, index) => entries.readBigUInt64LE(index * ATTRIBUTE_SIZE + 16));
  if (lengths.some((length) => length > VALUE_BYTES_MAX)) return undefined;
  const types = Array.from({ length: count }, (_, index) => Number(entries.readBigUInt64LE(index * ATTRIBUTE_SIZE)));
  const values = lengths.map((length) => Buffer.alloc(Math.max(8, Number(length))));
  for (const [index, value] of values.entries())
    writeAttribute(entries, index * ATTRIBUTE_SIZE, {
      type: types[index]!,
      address: addressOf(value),
      length: Number(lengths[index]),
    });
  if (!ask(module, session, { object, type, entries })) return undefined;
  // NSS keeps the entries as they were given once, with addresses of a process that is gone, and writes no value.
  const isSame = types.every(
    (one, index) =>
      Number(entries.readBigUInt64LE(index * ATTRIBUTE_SIZE)) === one &&
      entries.readBigUInt64LE(index * ATTRIBUTE_SIZE + 8) === addressOf(values[index]!) &&
      entries.readBigUInt64LE(index * ATTRIBUTE_SIZE + 16) === lengths[index],
  );
  return isSame
    ? types.map((one, index) => [one, values[index]!.subarray(0, Number(lengths[index]))] as const)
    : undefined;
}

function ask(
  module: Pick<Module, 'tryCall'>,
  session: bigint,
  { object, type, entries }: { object: bigint; type: number; entries: Buffer },
): boolean {
  const attribute = Buffer.alloc(ATTRIBUTE_SIZE);
  writeAttribute(attribute, 0, { type, address: addressOf(entries), length: entries.length });
  const returned = module.tryCall('C_GetAttributeValue', session, object, attribute, 1);
  return returned === CKR_OK && attribute.readBigUInt64LE(16) === BigInt(entries.length);
}
