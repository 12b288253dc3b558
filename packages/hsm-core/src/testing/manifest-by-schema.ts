/**
 * Reads and writes manifests with the generated code. It is slow and simple, and tests compare model/manifest/ with
 * it.
 */
import { bytesEqual, fromHex, hex } from '@antipode/runtime';
import { create, type DescEnum, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as seal from '../gen/antipode/seal/v1/manifest_pb.ts';
import {
  ATTRIBUTES,
  type Attributes,
  attributesOf,
  decodeAttribute,
  encodeAttribute,
  setAttribute,
} from '../model/attributes.ts';
import type { DataKey, Entry, Generation, Tombstone } from '../model/generation.ts';
import { isWrapped, type KeyType, type ObjectClass, type UncapturedReason } from '../model/object.ts';
import type { Vector, VectorUse } from '../model/vector.ts';

/** By what is in it: a secret key with a data key makes the difference. */
const formatOf = ({ entries, tombstones }: Pick<Generation, 'entries' | 'tombstones'>): number => {
  const all = [...entries, ...tombstones.map(({ entry }) => entry)];
  if (all.some(({ clone }) => clone !== undefined)) return 6;
  if (all.some(({ byDevice }) => byDevice)) return 5;
  if (all.some(({ cloningDomain }) => cloningDomain !== undefined)) return 4;
  const hasExact = all.some(({ objectClass, dataKeyId }) => objectClass === 'secret-key' && dataKeyId !== undefined);
  return hasExact ? 3 : 2;
};

export const writtenBySchema = (generation: Generation): Uint8Array =>
  toBinary(seal.ManifestSchema, toMessage(generation));

/** The generation, if the bytes are a well-formed manifest and its one encoding. */
export function readBySchema(bytes: Uint8Array): Generation | undefined {
  try {
    const generation = fromMessage(fromBinary(seal.ManifestSchema, bytes));
    return bytesEqual(writtenBySchema(generation), bytes) ? generation : undefined;
  } catch {
    return undefined;
  }
}

/** The numbers of a schema by our names: a new class, key type or reason has its number here by itself. */
const numbersOf = <Name extends string, Value extends number>({ values }: DescEnum): Record<Name, Value> =>
  Object.fromEntries(
    values
      .filter(({ number }) => number !== 0)
      .map(({ localName, number }) => [localName.toLowerCase().replaceAll('_', '-'), number]),
  ) as Record<Name, Value>;

const CLASS_NUMBERS = numbersOf<ObjectClass | 'other', seal.ObjectClass>(seal.ObjectClassSchema);
const KEY_TYPE_NUMBERS = numbersOf<KeyType, seal.KeyType>(seal.KeyTypeSchema);
const USE_NUMBERS = numbersOf<VectorUse, seal.VectorUse>(seal.VectorUseSchema);
const REASON_NUMBERS = numbersOf<UncapturedReason, seal.UncapturedReason>(seal.UncapturedReasonSchema);

const nameOf = <Name extends string>(numbers: Record<Name, number>, number: number): Name | undefined =>
  (Object.keys(numbers) as Name[]).find((name) => numbers[name] === number);

const byObjectId = (a: { objectId: string }, b: { objectId: string }): number =>
  a.objectId < b.objectId ? -1 : a.objectId > b.objectId ? 1 : 0;

function toMessage(generation: Generation): seal.Manifest {
  return create(seal.ManifestSchema, {
    format: formatOf(generation),
    group: generation.group,
    domainKeyVersion: generation.domainKeyVersion,
    domainKeyCheckTag: generation.domainKeyCheckTag,
    epoch: generation.epoch,
    generation: generation.number,
    previousDigest: fromHex(generation.previousDigest),
    captureStartedMs: BigInt(generation.captureStartedMs),
    source: { ...generation.source, identitySha256: fromHex(generation.source.identitySha256) },
    dataKeys: [...generation.dataKeys].sort((a, b) => (a.id < b.id ? -1 : 1)).map(dataKeyMessage),
    entries: [...generation.entries].sort(byObjectId).map(entryMessage),
    uncaptured: [...generation.uncaptured].sort(byObjectId).map(({ objectId, objectClass, keyType, reason }) => ({
      objectId: fromHex(objectId),
      objectClass: CLASS_NUMBERS[objectClass],
      keyType:
        keyType === undefined || keyType === 'unsupported' ? seal.KeyType.UNSPECIFIED : KEY_TYPE_NUMBERS[keyType],
      reason: REASON_NUMBERS[reason],
    })),
    tombstones: [...generation.tombstones]
      .sort((a, b) => byObjectId(a.entry, b.entry))
      .map((tombstone) => ({
        entry: entryMessage(tombstone.entry),
        epoch: tombstone.epoch,
        generation: tombstone.generation,
        deletedMs: BigInt(tombstone.deletedMs),
        domainKeyVersion: tombstone.domainKeyVersion ?? 0,
        ...(tombstone.dataKey === undefined ? {} : { dataKey: dataKeyMessage(tombstone.dataKey) }),
        retentionMs: BigInt(tombstone.retentionMs ?? 0),
        ...(tombstone.cloneDataKey === undefined ? {} : { cloneDataKey: dataKeyMessage(tombstone.cloneDataKey) }),
      })),
  });
}

const dataKeyMessage = ({ id, blobSha256, blobSize }: DataKey) =>
  create(seal.DataKeySchema, { id: fromHex(id), blobSha256: fromHex(blobSha256), blobSize: BigInt(blobSize) });

const dataKeyFrom = ({ id, blobSha256, blobSize }: seal.DataKey): DataKey => ({
  id: hex(id),
  blobSha256: hex(blobSha256),
  blobSize: Number(blobSize),
});

function entryMessage(entry: Entry): seal.Entry {
  const attributes = attributesOf(entry.objectClass)
    .filter((name) => entry.attributes[name] !== undefined)
    .map((name) => ({ type: ATTRIBUTES[name].type, value: encodeAttribute(name, entry.attributes[name]!) }));
  return create(seal.EntrySchema, {
    objectId: fromHex(entry.objectId),
    objectClass: CLASS_NUMBERS[entry.objectClass],
    keyType: entry.keyType === undefined ? seal.KeyType.UNSPECIFIED : KEY_TYPE_NUMBERS[entry.keyType],
    sizeBits: entry.sizeBits,
    attributes,
    publicHalf: entry.publicHalf ?? new Uint8Array(),
    blobSha256: fromHex(entry.blobSha256 ?? ''),
    blobSize: BigInt(entry.blobSize),
    dataKeyId: fromHex(entry.dataKeyId ?? ''),
    valueTag: entry.valueTag ?? new Uint8Array(),
    cloningDomain: fromHex(entry.cloningDomain ?? ''),
    vectors: (entry.vectors ?? []).map(({ use, ...rest }) => ({ use: USE_NUMBERS[use], ...rest })),
    byDevice: entry.byDevice === true,
    ...(entry.clone === undefined
      ? {}
      : {
          clone: {
            cloningDomain: fromHex(entry.clone.cloningDomain),
            blobSha256: fromHex(entry.clone.blobSha256),
            blobSize: BigInt(entry.clone.blobSize),
            dataKeyId: fromHex(entry.clone.dataKeyId),
          },
        }),
  });
}

function fromMessage(message: seal.Manifest): Generation {
  if (![2, 3, 4, 5, 6].includes(message.format)) invalid(`its format is ${message.format}, expected 2 to 6`);
  if (message.source === undefined) invalid('it has no source');
  const entries = message.entries.map((entry) => entryFrom(entry));
  if (new Set(entries.map(({ objectId }) => objectId)).size !== entries.length) invalid('an object id repeats');
  return {
    group: message.group,
    domainKeyVersion: message.domainKeyVersion,
    domainKeyCheckTag: new Uint8Array(message.domainKeyCheckTag),
    epoch: message.epoch,
    number: message.generation,
    previousDigest: hex(message.previousDigest),
    captureStartedMs: Number(message.captureStartedMs),
    source: {
      serial: message.source.serial,
      manufacturer: message.source.manufacturer,
      model: message.source.model,
      firmware: message.source.firmware,
      identitySha256: hex(message.source.identitySha256),
    },
    dataKeys: message.dataKeys.map(dataKeyFrom),
    entries,
    uncaptured: message.uncaptured.map(({ objectId, objectClass, keyType, reason }) => {
      const kind = nameOf(KEY_TYPE_NUMBERS, keyType);
      return {
        objectId: hex(objectId),
        objectClass: nameOf(CLASS_NUMBERS, objectClass) ?? invalid('an uncaptured object has no class'),
        ...(kind === undefined ? {} : { keyType: kind }),
        reason: nameOf(REASON_NUMBERS, reason) ?? invalid('an uncaptured object has no reason'),
      };
    }),
    tombstones: message.tombstones.map(tombstoneFrom),
  };
}

function tombstoneFrom(message: seal.Tombstone): Tombstone {
  const { epoch, generation, deletedMs, domainKeyVersion, dataKey, retentionMs, cloneDataKey } = message;
  const entry = entryFrom(message.entry ?? invalid('a tombstone has no entry'));
  const hasDataKey = entry.dataKeyId !== undefined && domainKeyVersion !== 0;
  if ((dataKey !== undefined) !== hasDataKey) invalid('a tombstone has no fitting data key');
  if (dataKey !== undefined && hex(dataKey.id) !== entry.dataKeyId) invalid('a tombstone has another data key');
  const hasCloneDataKey = entry.clone !== undefined && domainKeyVersion !== 0;
  if ((cloneDataKey !== undefined) !== hasCloneDataKey) invalid('a tombstone has no data key of its clone');
  if (cloneDataKey !== undefined && hex(cloneDataKey.id) !== entry.clone?.dataKeyId)
    invalid('a tombstone has another data key of its clone');
  return {
    entry,
    epoch,
    generation,
    deletedMs: Number(deletedMs),
    ...(domainKeyVersion === 0 ? {} : { domainKeyVersion }),
    ...(dataKey === undefined ? {} : { dataKey: dataKeyFrom(dataKey) }),
    ...(cloneDataKey === undefined ? {} : { cloneDataKey: dataKeyFrom(cloneDataKey) }),
    ...(retentionMs === 0n ? {} : { retentionMs: Number(retentionMs) }),
  };
}

function entryFrom(message: seal.Entry): Entry {
  const objectClass = nameOf(CLASS_NUMBERS, message.objectClass);
  if (objectClass === undefined || objectClass === 'other') invalid('an object has no class that can be captured');
  const keyType = nameOf(KEY_TYPE_NUMBERS, message.keyType);
  const objectId = hex(message.objectId);
  if (message.objectId.length !== 16) invalid('an object id is not 16 bytes long');
  if ((objectClass.endsWith('-key') || objectClass === 'domain-parameters') !== (keyType !== undefined))
    invalid(`object ${objectId} has no fitting key type`);
  const hasBlob = message.blobSha256.length > 0;
  if (hasBlob && message.blobSha256.length !== 32) invalid(`object ${objectId} has an invalid digest`);
  const { byDevice } = message;
  if (byDevice && (message.cloningDomain.length === 0 || message.blobSize > 0n)) invalid('no device moves it');
  if (hasBlob !== ((isWrapped(objectClass) || objectClass === 'data') && !byDevice))
    invalid(`object ${objectId} must ${hasBlob ? 'not ' : ''}have a blob`);
  const isNative = message.cloningDomain.length > 0;
  if (isNative && (message.cloningDomain.length !== 32 || !isWrapped(objectClass) || message.valueTag.length > 0))
    invalid(`object ${objectId} has a cloning domain that does not fit`);
  const vectors = message.vectors.map((one): Vector => {
    const use = nameOf(USE_NUMBERS, one.use) ?? invalid('a vector has no use');
    if (one.nonce.length !== 16 || one.result.length !== 32) invalid('a vector has other lengths');
    return { use, mechanism: one.mechanism, nonce: new Uint8Array(one.nonce), result: new Uint8Array(one.result) };
  });
  const order = vectors.map(({ use, mechanism }) => USE_NUMBERS[use] * 2 ** 32 + mechanism);
  if (order.some((one, index) => index > 0 && one <= order[index - 1]!)) invalid('vectors are out of order');
  if (vectors.length > 0 !== (isNative && objectClass === 'secret-key')) invalid('vectors do not fit');
  if (isNative && objectClass === 'private-key' && message.publicHalf.length === 0) invalid('it shows nothing');
  const mayHaveDataKey =
    (isNative && !byDevice) || objectClass === 'data' || (objectClass === 'secret-key' && message.valueTag.length > 0);
  if (mayHaveDataKey !== message.dataKeyId.length > 0) invalid(`object ${objectId} has no fitting data key`);
  const { clone } = message;
  if (clone !== undefined) {
    if (isNative || !isWrapped(objectClass)) invalid('no second form fits it');
    if (clone.cloningDomain.length !== 32 || clone.blobSha256.length !== 32 || clone.dataKeyId.length !== 16)
      invalid('its second form is not whole');
  }
  const attributes: Attributes = {};
  for (const { type, value } of message.attributes) {
    const decoded = decodeAttribute(type, value);
    if (decoded === undefined || !(ATTRIBUTES[decoded.name].classes as readonly ObjectClass[]).includes(objectClass)) {
      invalid(`object ${objectId} has an attribute that does not fit (0x${type.toString(16)})`);
    }
    setAttribute(attributes, decoded.name, decoded.value);
  }
  return {
    objectId,
    objectClass,
    ...(keyType === undefined ? {} : { keyType }),
    sizeBits: message.sizeBits,
    attributes,
    ...(message.publicHalf.length === 0 ? {} : { publicHalf: new Uint8Array(message.publicHalf) }),
    ...(hasBlob ? { blobSha256: hex(message.blobSha256) } : {}),
    blobSize: Number(message.blobSize),
    ...(message.dataKeyId.length === 0 ? {} : { dataKeyId: hex(message.dataKeyId) }),
    ...(message.valueTag.length === 0 ? {} : { valueTag: new Uint8Array(message.valueTag) }),
    ...(isNative ? { cloningDomain: hex(message.cloningDomain) } : {}),
    ...(vectors.length === 0 ? {} : { vectors }),
    ...(byDevice ? { byDevice: true as const } : {}),
    ...(clone === undefined
      ? {}
      : {
          clone: {
            cloningDomain: hex(clone.cloningDomain),
            blobSha256: hex(clone.blobSha256),
            blobSize: Number(clone.blobSize),
            dataKeyId: hex(clone.dataKeyId),
          },
        }),
  };
}

function invalid(why: string): never {
  throw new Error(why);
}
