/**
 * Writes a generation as the bytes of antipode.seal.v1.Manifest, entry by entry. Tests compare this module with the
 * generated code.
 */
import { runToEnd } from '@antipode/runtime';
import { ATTRIBUTES, attributesOf, encodeAttribute } from '../attributes.ts';
import type { DataKey, Entry, Generation, Tombstone } from '../generation.ts';
import { CanonicalWriter } from './canonical-protobuf.ts';
import { ATTRIBUTE, CLONE, ENTRY, EncodedEntry, VECTOR } from './encoded-entry.ts';
import {
  CLASS_NUMBERS,
  DATA_KEY,
  FORMAT_1,
  KEY_TYPE_NUMBERS,
  MANIFEST,
  REASON_NUMBERS,
  SOURCE,
  TOMBSTONE,
  UNCAPTURED,
  VECTOR_USE_NUMBERS,
} from './manifest-fields.ts';
import { formatOf } from './manifest-format.ts';
import { Slice } from './slice.ts';

export const encodeManifest = (generation: Generation, options: { format?: number } = {}): Uint8Array =>
  runToEnd(writingManifest(generation, options));

/**
 * Entries from another manifest are copied as they are.
 * @param options.format the one that fits the generation, except in tests of format 1
 */
export function* writingManifest(
  generation: Generation,
  { format = formatOf(generation) }: { format?: number } = {},
): Generator<void, Uint8Array> {
  const writer = new CanonicalWriter();
  const part = new CanonicalWriter();
  const scratch = { entry: new CanonicalWriter(), attribute: new CanonicalWriter() };
  const { source } = generation;
  writer.uint32(MANIFEST.format, format);
  writer.text(MANIFEST.group, generation.group);
  writer.uint32(MANIFEST.domainKeyVersion, generation.domainKeyVersion);
  writer.bytes(MANIFEST.domainKeyCheckTag, generation.domainKeyCheckTag);
  writer.uint64(MANIFEST.epoch, generation.epoch);
  writer.uint64(MANIFEST.generation, generation.number);
  writer.hex(MANIFEST.previousDigest, generation.previousDigest);
  writer.number(MANIFEST.captureStartedMs, generation.captureStartedMs);
  part.text(SOURCE.serial, source.serial);
  part.text(SOURCE.manufacturer, source.manufacturer);
  part.text(SOURCE.model, source.model);
  part.text(SOURCE.firmware, source.firmware);
  part.hex(SOURCE.identitySha256, source.identitySha256);
  writer.message(MANIFEST.source, part.written);
  for (const dataKey of sorted(generation.dataKeys, ({ id }) => id))
    writer.message(MANIFEST.dataKeys, encodedDataKey(dataKey, part));
  const slice = new Slice();
  for (const entry of sorted(generation.entries, ({ objectId }) => objectId)) {
    const encoded = encodedEntry(entry, scratch);
    writer.message(MANIFEST.entries, encoded);
    if (slice.isOverAfter(encoded.length)) yield;
  }
  for (const { objectId, objectClass, keyType, reason } of sorted(generation.uncaptured, (one) => one.objectId)) {
    part.clear();
    part.hex(UNCAPTURED.objectId, objectId);
    part.number(UNCAPTURED.objectClass, CLASS_NUMBERS[objectClass]);
    if (keyType !== undefined && keyType !== 'unsupported') part.number(UNCAPTURED.keyType, KEY_TYPE_NUMBERS[keyType]);
    part.number(UNCAPTURED.reason, REASON_NUMBERS[reason]);
    writer.message(MANIFEST.uncaptured, part.written);
    if (slice.isOverAfter(part.written.length)) yield;
  }
  for (const tombstone of sorted(generation.tombstones, ({ entry }) => entry.objectId)) {
    part.clear();
    part.message(TOMBSTONE.entry, encodedEntry(tombstone.entry, scratch));
    part.uint64(TOMBSTONE.epoch, tombstone.epoch);
    part.uint64(TOMBSTONE.generation, tombstone.generation);
    part.number(TOMBSTONE.deletedMs, tombstone.deletedMs);
    if (format !== FORMAT_1) writeSealedDeleted(part, tombstone, scratch.attribute);
    writer.message(MANIFEST.tombstones, part.written);
    if (slice.isOverAfter(part.written.length)) yield;
  }
  return new Uint8Array(writer.written);
}

function writeSealedDeleted(
  part: CanonicalWriter,
  { domainKeyVersion = 0, dataKey, retentionMs = 0, cloneDataKey }: Tombstone,
  scratch: CanonicalWriter,
): void {
  part.uint32(TOMBSTONE.domainKeyVersion, domainKeyVersion);
  if (dataKey !== undefined) part.message(TOMBSTONE.dataKey, encodedDataKey(dataKey, scratch));
  part.number(TOMBSTONE.retentionMs, retentionMs);
  if (cloneDataKey !== undefined) part.message(TOMBSTONE.cloneDataKey, encodedDataKey(cloneDataKey, scratch));
}

/** A view. Valid until the next use of the writer. */
function encodedDataKey({ id, blobSha256, blobSize }: DataKey, scratch: CanonicalWriter): Uint8Array {
  scratch.clear();
  scratch.hex(DATA_KEY.id, id);
  scratch.hex(DATA_KEY.blobSha256, blobSha256);
  scratch.number(DATA_KEY.blobSize, blobSize);
  return scratch.written;
}

/** A view. Valid until the next call. */
function encodedEntry(
  entry: Entry,
  scratch: { readonly entry: CanonicalWriter; readonly attribute: CanonicalWriter },
): Uint8Array {
  const known = EncodedEntry.encodingOf(entry);
  if (known !== undefined) return known;
  const { entry: writer, attribute } = scratch;
  const { objectId, objectClass, keyType, sizeBits, attributes, publicHalf, blobSha256, blobSize } = entry;
  const { dataKeyId, valueTag, cloningDomain, vectors = [], byDevice, clone } = entry;
  writer.clear();
  writer.hex(ENTRY.objectId, objectId);
  writer.number(ENTRY.objectClass, CLASS_NUMBERS[objectClass]);
  if (keyType !== undefined) writer.number(ENTRY.keyType, KEY_TYPE_NUMBERS[keyType]);
  writer.uint32(ENTRY.sizeBits, sizeBits);
  for (const name of attributesOf(objectClass)) {
    const value = attributes[name];
    if (value === undefined) continue;
    attribute.clear();
    attribute.uint32(ATTRIBUTE.type, ATTRIBUTES[name].type);
    attribute.bytes(ATTRIBUTE.value, encodeAttribute(name, value));
    writer.message(ENTRY.attributes, attribute.written);
  }
  if (publicHalf !== undefined) writer.bytes(ENTRY.publicHalf, publicHalf);
  if (blobSha256 !== undefined) writer.hex(ENTRY.blobSha256, blobSha256);
  writer.number(ENTRY.blobSize, blobSize);
  if (dataKeyId !== undefined) writer.hex(ENTRY.dataKeyId, dataKeyId);
  if (valueTag !== undefined) writer.bytes(ENTRY.valueTag, valueTag);
  if (cloningDomain !== undefined) writer.hex(ENTRY.cloningDomain, cloningDomain);
  for (const { use, mechanism, nonce, result } of vectors) {
    attribute.clear();
    attribute.number(VECTOR.use, VECTOR_USE_NUMBERS[use]);
    attribute.uint32(VECTOR.mechanism, mechanism);
    attribute.bytes(VECTOR.nonce, nonce);
    attribute.bytes(VECTOR.result, result);
    writer.message(ENTRY.vectors, attribute.written);
  }
  if (byDevice === true) writer.number(ENTRY.byDevice, 1);
  if (clone !== undefined) {
    attribute.clear();
    attribute.hex(CLONE.cloningDomain, clone.cloningDomain);
    attribute.hex(CLONE.blobSha256, clone.blobSha256);
    attribute.number(CLONE.blobSize, clone.blobSize);
    attribute.hex(CLONE.dataKeyId, clone.dataKeyId);
    writer.message(ENTRY.clone, attribute.written);
  }
  return writer.written;
}

function sorted<T>(list: readonly T[], idOf: (item: T) => string): T[] {
  return [...list].sort((a, b) => {
    const [one, other] = [idOf(a), idOf(b)];
    return one < other ? -1 : one > other ? 1 : 0;
  });
}
