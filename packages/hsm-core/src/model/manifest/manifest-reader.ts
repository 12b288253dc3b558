/**
 * Reads a generation from the bytes of antipode.seal.v1.Manifest, entry by entry. It builds no tree of messages: 10,000
 * keys would need a quarter of a million objects.
 *
 * The schema stays the contract, and tests compare this module with the generated code. It upholds I4: a manifest is
 * well formed and the one encoding of its content, or it is refused as a whole.
 */
import { createHash } from 'node:crypto';
import { attributeOf, isCanonical } from '../attributes.ts';
import {
  type CloneForm,
  CONTENT_PREFIX,
  type DataKey,
  type Entry,
  EntryDigest,
  type Generation,
  type Source,
  type Tombstone,
  type Uncaptured,
} from '../generation.ts';
import { hasKeyType, isWrapped, type KeyType } from '../object.ts';
import { sortedVectors, VECTOR_NONCE_BYTES, VECTOR_RESULT_BYTES, type Vector, vectorsProof } from '../vector.ts';
import { CanonicalReader, NotCanonical, type Range } from './canonical-protobuf.ts';
import {
  ATTRIBUTE,
  DIGEST_BYTES,
  ENTRY,
  EncodedEntry,
  type EntryBytes,
  readClone,
  readVectors,
} from './encoded-entry.ts';
import {
  CLASSES,
  DATA_KEY,
  FORMAT_1,
  FORMAT_2,
  FORMAT_6,
  KEY_TYPES,
  MANIFEST,
  OBJECT_ID_BYTES,
  REASONS,
  SHA256_BYTES,
  SOURCE,
  TOMBSTONE,
  UNCAPTURED,
} from './manifest-fields.ts';
import { formatOf } from './manifest-format.ts';
import { Slice } from './slice.ts';

/** A generation that was read, and the digest of its content. The digest costs nothing extra while reading. */
export interface ReadManifest {
  readonly generation: Generation;
  readonly contentDigest: string;
}

/**
 * Reads a manifest. The generation refers to its bytes, which must not be changed any more.
 * @throws NotCanonical
 */
export function* readingManifest(manifest: Uint8Array): Generator<void, ReadManifest> {
  const reader = new CanonicalReader(manifest);
  const format = reader.uint32(MANIFEST.format);
  if (format < FORMAT_1 || format > FORMAT_6)
    throw new NotCanonical(`its format is ${format}, expected ${FORMAT_1} to ${FORMAT_6}`);
  const header = {
    group: reader.text(MANIFEST.group),
    domainKeyVersion: reader.uint32(MANIFEST.domainKeyVersion),
    domainKeyCheckTag: reader.copy(MANIFEST.domainKeyCheckTag),
    epoch: reader.uint64(MANIFEST.epoch),
    number: reader.uint64(MANIFEST.generation),
    previousDigest: reader.hex(MANIFEST.previousDigest),
    captureStartedMs: reader.number(MANIFEST.captureStartedMs),
    source: readSource(reader),
  };
  const dataKeys = readDataKeys(reader);
  const { entries, contentDigest } = yield* readingEntries(reader);
  const uncaptured = yield* readingUncaptured(reader);
  const tombstones = yield* readingTombstones(reader, format);
  reader.leave(reader.end);
  const generation = { ...header, dataKeys, entries, uncaptured, tombstones };
  const expected = formatOf(generation);
  if (format !== expected && (format !== FORMAT_1 || expected !== FORMAT_2))
    throw new NotCanonical(`its format is ${format}, expected ${expected}`);
  return { generation, contentDigest };
}

function readSource(reader: CanonicalReader): Source {
  const outer = reader.enter(MANIFEST.source);
  if (outer === undefined) throw new NotCanonical('it has no source');
  const source = {
    serial: reader.text(SOURCE.serial),
    manufacturer: reader.text(SOURCE.manufacturer),
    model: reader.text(SOURCE.model),
    firmware: reader.text(SOURCE.firmware),
    identitySha256: reader.hex(SOURCE.identitySha256),
  };
  reader.leave(outer);
  return source;
}

function readDataKeys(reader: CanonicalReader): DataKey[] {
  const dataKeys: DataKey[] = [];
  for (;;) {
    const outer = reader.enter(MANIFEST.dataKeys);
    if (outer === undefined) return dataKeys;
    const id = reader.hex(DATA_KEY.id);
    inOrder(dataKeys.at(-1)?.id ?? '', id);
    dataKeys.push({ id, blobSha256: reader.hex(DATA_KEY.blobSha256), blobSize: reader.number(DATA_KEY.blobSize) });
    reader.leave(outer);
  }
}

function readDataKey(reader: CanonicalReader, field: number): DataKey | undefined {
  const outer = reader.enter(field);
  if (outer === undefined) return undefined;
  const dataKey = {
    id: reader.hex(DATA_KEY.id),
    blobSha256: reader.hex(DATA_KEY.blobSha256),
    blobSize: reader.number(DATA_KEY.blobSize),
  };
  reader.leave(outer);
  return dataKey;
}

function* readingEntries(reader: CanonicalReader): Generator<void, { entries: Entry[]; contentDigest: string }> {
  const of = bytesOf(reader, MANIFEST.entries);
  const content = createHash('sha256').update(CONTENT_PREFIX);
  const entries: Entry[] = [];
  const slice = new Slice();
  for (;;) {
    const start = reader.position;
    const outer = reader.enter(MANIFEST.entries);
    if (outer === undefined) return { entries, contentDigest: content.digest('hex') };
    const entry = readEntry(reader, of, entries.length);
    const before = entries.at(-1);
    if (before?.objectId === entry.objectId) throw new NotCanonical('an object id repeats');
    inOrder(before?.objectId ?? '', entry.objectId);
    entries.push(entry);
    reader.leave(outer);
    content.update(entry.objectId, 'hex').update(EncodedEntry.digestOf(entry)!);
    if (slice.isOverAfter(reader.position - start)) yield;
  }
}

function* readingUncaptured(reader: CanonicalReader): Generator<void, Uncaptured[]> {
  const uncaptured: Uncaptured[] = [];
  const slice = new Slice();
  for (;;) {
    const start = reader.position;
    const outer = reader.enter(MANIFEST.uncaptured);
    if (outer === undefined) return uncaptured;
    const objectId = reader.hex(UNCAPTURED.objectId);
    inOrder(uncaptured.at(-1)?.objectId ?? '', objectId);
    const objectClass = CLASSES.get(reader.number(UNCAPTURED.objectClass));
    if (objectClass === undefined) throw new NotCanonical('an uncaptured object has no class');
    const keyType = readKeyType(reader, UNCAPTURED.keyType);
    const reason = REASONS.get(reader.number(UNCAPTURED.reason));
    if (reason === undefined) throw new NotCanonical('an uncaptured object has no reason');
    reader.leave(outer);
    uncaptured.push({ objectId, objectClass, ...(keyType === undefined ? {} : { keyType }), reason });
    if (slice.isOverAfter(reader.position - start)) yield;
  }
}

function* readingTombstones(reader: CanonicalReader, format: number): Generator<void, Tombstone[]> {
  const of = bytesOf(reader, MANIFEST.tombstones);
  const tombstones: Tombstone[] = [];
  const slice = new Slice();
  for (;;) {
    const start = reader.position;
    const outer = reader.enter(MANIFEST.tombstones);
    if (outer === undefined) return tombstones;
    const outerOfEntry = reader.enter(TOMBSTONE.entry);
    if (outerOfEntry === undefined) throw new NotCanonical('a tombstone has no entry');
    const entry = readEntry(reader, of, tombstones.length);
    reader.leave(outerOfEntry);
    inOrder(tombstones.at(-1)?.entry.objectId ?? '', entry.objectId);
    const deleted = {
      entry,
      epoch: reader.uint64(TOMBSTONE.epoch),
      generation: reader.uint64(TOMBSTONE.generation),
      deletedMs: reader.number(TOMBSTONE.deletedMs),
    };
    // Format 1 has no more fields. `leave` refuses any field that follows.
    tombstones.push(format === FORMAT_1 ? deleted : readSealedDeleted(reader, deleted));
    reader.leave(outer);
    if (slice.isOverAfter(reader.position - start)) yield;
  }
}

/** The fields of format 2 about the sealed object. */
function readSealedDeleted(reader: CanonicalReader, deleted: Tombstone): Tombstone {
  const { entry } = deleted;
  const domainKeyVersion = reader.uint32(TOMBSTONE.domainKeyVersion);
  const dataKey = readDataKey(reader, TOMBSTONE.dataKey);
  const retentionMs = reader.number(TOMBSTONE.retentionMs);
  const cloneDataKey = readDataKey(reader, TOMBSTONE.cloneDataKey);
  const isSealed = domainKeyVersion !== 0;
  const wanted = [entry.dataKeyId, entry.clone?.dataKeyId].map((id) => (isSealed ? id : undefined));
  if (dataKey?.id !== wanted[0] || cloneDataKey?.id !== wanted[1])
    throw new NotCanonical(`deleted object ${entry.objectId} has no fitting data key`);
  return {
    ...deleted,
    ...(domainKeyVersion === 0 ? {} : { domainKeyVersion }),
    ...(dataKey === undefined ? {} : { dataKey }),
    ...(cloneDataKey === undefined ? {} : { cloneDataKey }),
    ...(retentionMs === 0 ? {} : { retentionMs }),
  };
}

/** Makes room for the digests of all messages of this field. */
function bytesOf(reader: CanonicalReader, field: number): EntryBytes {
  const start = reader.position;
  let count = 0;
  while (reader.skip(field)) count += 1;
  reader.position = start;
  return { manifest: reader.bytes, digests: new Uint8Array(count * DIGEST_BYTES) };
}

const DIGEST = new EntryDigest();
const VALUE: Range = { start: 0, end: 0 };
const ID: Range = { start: 0, end: 0 };
const PUBLIC_HALF: Range = { start: 0, end: 0 };
const BLOB_SHA256: Range = { start: 0, end: 0 };
const DATA_KEY_ID: Range = { start: 0, end: 0 };
const VALUE_TAG: Range = { start: 0, end: 0 };
const CLONING_DOMAIN: Range = { start: 0, end: 0 };

/** Reads one entry, and computes its digest at the same time. */
function readEntry(reader: CanonicalReader, of: EntryBytes, index: number): EncodedEntry {
  const { bytes, position: start, end } = reader;
  if (!reader.range(ENTRY.objectId, ID) || ID.end - ID.start !== OBJECT_ID_BYTES)
    throw new NotCanonical('an object id is not 16 bytes long');
  const objectId = bytes.toString('hex', ID.start, ID.end);
  const objectClass = CLASSES.get(reader.number(ENTRY.objectClass));
  if (objectClass === undefined || objectClass === 'other')
    throw new NotCanonical('an object has no class that can be captured');
  const keyType = readKeyType(reader, ENTRY.keyType);
  if (hasKeyType(objectClass) !== (keyType !== undefined))
    throw new NotCanonical(`object ${objectId} has no fitting key type`);
  const sizeBits = reader.uint32(ENTRY.sizeBits);

  DIGEST.begin({ objectId, objectClass, keyType });
  for (let above = 0; ; ) {
    const outer = reader.enter(ENTRY.attributes);
    if (outer === undefined) break;
    const type = reader.uint32(ATTRIBUTE.type);
    reader.range(ATTRIBUTE.value, VALUE);
    reader.leave(outer);
    const name = attributeOf(objectClass, type);
    if (name === undefined || type <= above || !isCanonical(name, bytes, VALUE))
      throw new NotCanonical(`object ${objectId} has an attribute that does not fit (0x${type.toString(16)})`);
    above = type;
    DIGEST.attribute(name, bytes, VALUE);
  }

  const has = {
    publicHalf: reader.range(ENTRY.publicHalf, PUBLIC_HALF),
    blobSha256: reader.range(ENTRY.blobSha256, BLOB_SHA256),
    dataKeyId: false,
    valueTag: false,
    cloningDomain: false,
    vectors: false,
    byDevice: false,
    clone: false,
  };
  const blobSize = reader.number(ENTRY.blobSize);
  has.dataKeyId = reader.range(ENTRY.dataKeyId, DATA_KEY_ID);
  has.valueTag = reader.range(ENTRY.valueTag, VALUE_TAG);
  has.cloningDomain = reader.range(ENTRY.cloningDomain, CLONING_DOMAIN);
  // Few entries have any.
  const vectors = reader.position === end ? [] : fittingVectors(reader, objectId);
  has.vectors = vectors.length > 0;
  has.byDevice = reader.number(ENTRY.byDevice) === 1;
  const clone = reader.position === end ? undefined : readClone(reader);
  has.clone = clone !== undefined;
  if (has.blobSha256 && BLOB_SHA256.end - BLOB_SHA256.start !== SHA256_BYTES)
    throw new NotCanonical(`object ${objectId} has an invalid digest`);
  if (has.byDevice && (!has.cloningDomain || blobSize !== 0))
    throw new NotCanonical(`object ${objectId} cannot be moved by its device`);
  if (has.blobSha256 !== (!has.byDevice && (isWrapped(objectClass) || objectClass === 'data')))
    throw new NotCanonical(`object ${objectId} must ${has.blobSha256 ? 'not ' : ''}have a blob`);
  const mayBeExact = objectClass === 'secret-key' && has.valueTag;
  const isInDataKey = objectClass === 'data' || mayBeExact || (has.cloningDomain && !has.byDevice);
  if (isInDataKey !== has.dataKeyId) throw new NotCanonical(`object ${objectId} has no fitting data key`);
  const isLongEnough = CLONING_DOMAIN.end - CLONING_DOMAIN.start === SHA256_BYTES;
  if (has.cloningDomain && (!isLongEnough || !isWrapped(objectClass) || has.valueTag))
    throw new NotCanonical(`object ${objectId} has a cloning domain that does not fit`);
  if (clone !== undefined && (has.cloningDomain || !isWrapped(objectClass) || !isWhole(clone)))
    throw new NotCanonical(`object ${objectId} has a second form that does not fit`);
  const isShownOtherwise = objectClass === 'private-key' && has.publicHalf;
  if (
    has.vectors !== (has.cloningDomain && objectClass === 'secret-key') ||
    (has.cloningDomain && !has.vectors && !isShownOtherwise)
  )
    throw new NotCanonical(`object ${objectId} has no fitting vectors`);

  const isByBlob = !has.valueTag && (objectClass === 'secret-key' || !has.publicHalf);
  if (has.vectors) {
    const proof = vectorsProof(vectors);
    DIGEST.proof(proof, { start: 0, end: proof.length });
  } else DIGEST.proof(bytes, isByBlob ? BLOB_SHA256 : has.valueTag ? VALUE_TAG : PUBLIC_HALF);
  of.digests.set(DIGEST.end(), index * DIGEST_BYTES);
  return new EncodedEntry(of, { start, end, index }, { objectId, objectClass, keyType, sizeBits, blobSize }, has);
}

const isWhole = ({ cloningDomain, blobSha256, dataKeyId }: CloneForm): boolean =>
  cloningDomain.length === SHA256_BYTES * 2 &&
  blobSha256.length === SHA256_BYTES * 2 &&
  dataKeyId.length === OBJECT_ID_BYTES * 2;

/** A vector of each use and mechanism once, in order. */
function fittingVectors(reader: CanonicalReader, objectId: string): Vector[] {
  const start = reader.position;
  let count = 0;
  while (reader.skip(ENTRY.vectors)) count += 1;
  reader.position = start;
  const vectors = readVectors(reader);
  const isSound = ({ nonce, result }: Vector): boolean =>
    nonce.length === VECTOR_NONCE_BYTES && result.length === VECTOR_RESULT_BYTES;
  const isSorted = sortedVectors(vectors).every((one, index) => one === vectors[index]);
  const names = new Set(vectors.map(({ use, mechanism }) => `${use} ${mechanism}`));
  if (vectors.length !== count || !vectors.every(isSound) || !isSorted || names.size !== count)
    throw new NotCanonical(`object ${objectId} has a vector that does not fit`);
  return vectors;
}

function readKeyType(reader: CanonicalReader, field: number): KeyType | undefined {
  const number = reader.number(field);
  const keyType = KEY_TYPES.get(number);
  if (number !== 0 && keyType === undefined) throw new NotCanonical('it has a key type that is unknown');
  return keyType;
}

/** Hexadecimal strings sort in the order of their bytes. */
function inOrder(before: string, id: string): void {
  if (id < before) throw new NotCanonical('a list is out of order');
}
