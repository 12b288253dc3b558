/**
 * A generation: the signed manifest of one capture. Turns it into bytes and back, and computes the two digests: the
 * manifest's (which names the generation) and the content's (which members compare, over portable attributes only).
 *
 * Upholds I4 (a manifest is accepted whole, canonical and signed by a pinned identity, or not at all).
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { AntipodeError, bytesEqual, fromHex, hex, sha256, sha256Hex } from '@antipode/runtime';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as seal from '../gen/antipode/seal/v1/manifest_pb.ts';
import {
  ATTRIBUTES,
  type AttributeName,
  type Attributes,
  attributesOf,
  decodeAttribute,
  encodeAttribute,
  setAttribute,
} from './attributes.ts';
import { isWrapped, type KeyType, type ObjectClass, type ObjectId, type UncapturedReason } from './object.ts';
import { fingerprint } from './public-half.ts';

/** One object as it was captured. Digests and ids are hexadecimal. */
export interface Entry {
  readonly objectId: ObjectId;
  readonly objectClass: ObjectClass;
  readonly keyType?: KeyType;
  readonly sizeBits: number;
  readonly attributes: Attributes;
  readonly publicHalf?: Uint8Array;
  readonly blobSha256?: string;
  readonly blobSize: number;
  readonly dataKeyId?: string;
  readonly valueTag?: Uint8Array;
}

export interface DataKey {
  readonly id: string;
  readonly blobSha256: string;
  readonly blobSize: number;
}

export interface Uncaptured {
  readonly objectId: ObjectId;
  readonly objectClass: ObjectClass | 'other';
  readonly keyType?: KeyType | 'unsupported';
  readonly reason: UncapturedReason;
}

export interface Tombstone {
  readonly entry: Entry;
  readonly epoch: bigint;
  readonly generation: bigint;
  readonly deletedMs: number;
}

export interface Source {
  readonly serial: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly firmware: string;
  readonly identitySha256: string;
}

export interface Generation {
  readonly group: string;
  readonly domainKeyVersion: number;
  readonly domainKeyCheckTag: Uint8Array;
  readonly epoch: bigint;
  readonly number: bigint;
  /** Empty for the first. */
  readonly previousDigest: string;
  readonly captureStartedMs: number;
  readonly source: Source;
  readonly dataKeys: readonly DataKey[];
  readonly entries: readonly Entry[];
  readonly uncaptured: readonly Uncaptured[];
  readonly tombstones: readonly Tombstone[];
}

/** A generation that is known to be whole: its own capture, or opened by {@link openSigned}. */
export interface SealedGeneration {
  readonly generation: Generation;
  /** SHA-256 of the manifest: the generation's name. */
  readonly digest: string;
  readonly contentDigest: string;
  /** Encoded antipode.seal.v1.SignedManifest: what is stored and sent. */
  readonly signed: Uint8Array;
  /** Fingerprint of the identity key that signed it. */
  readonly signerSha256: string;
}

const FORMAT = 1;
const SIGNING_PREFIX = Buffer.from('antipode manifest v1\0');
const OBJECT_ID_BYTES = 16;
const SHA256_BYTES = 32;

/** What the identity key signs: the manifest's bytes under a prefix of their own, so that no other message can pass for one. */
export const signingInput = (manifest: Uint8Array): Uint8Array => Buffer.concat([SIGNING_PREFIX, manifest]);

/** The order of generations of one group: by tenure, then by number. */
export function isNewer(a: { epoch: bigint; number: bigint }, b: { epoch: bigint; number: bigint }): boolean {
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.number > b.number;
}

/** Every blob that a member needs to restore these entries, hexadecimal, without repeats. */
export function blobDigests({ dataKeys, entries }: Pick<Generation, 'dataKeys' | 'entries'>): string[] {
  const digests = new Set<string>();
  for (const { blobSha256 } of dataKeys) digests.add(blobSha256);
  for (const { blobSha256 } of entries) if (blobSha256 !== undefined) digests.add(blobSha256);
  return [...digests];
}

/** Entries never change, and each is asked for at every apply. */
const entryDigests = new WeakMap<Entry, Uint8Array>();

/** {@link digestOf} of an entry that stays: computed once. */
export function entryDigest(entry: Entry): Uint8Array {
  const known = entryDigests.get(entry);
  if (known !== undefined) return known;
  const digest = digestOf(entry);
  entryDigests.set(entry, digest);
  return digest;
}

/**
 * Digest of one object by what members can compare: portable attributes, public half, and for what hides its value the
 * blob that wrapping it gives, or its keyed tag. A wrapped key counts as sensitive, which it is on every replica.
 */
export function digestOf(entry: Entry): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from(`${entry.objectId}:${entry.objectClass}:${entry.keyType ?? ''}`)];
  for (const [name, value] of comparableAttributes(entry)) {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(ATTRIBUTES[name].type >>> 0, 0);
    head.writeUInt32BE(value.length, 4);
    parts.push(head, value);
  }
  const proof =
    entry.objectClass === 'secret-key'
      ? fromHex(entry.blobSha256 ?? '')
      : (entry.valueTag ?? entry.publicHalf ?? fromHex(entry.blobSha256 ?? ''));
  return sha256(...parts, proof);
}

/** {@link digestOf} without anything that shows the value. */
export function attributesDigest({
  publicHalf: _half,
  blobSha256: _blob,
  valueTag: _tag,
  ...shown
}: Entry): Uint8Array {
  return digestOf(shown);
}

/** The attributes that are compared, canonical, in the order of their numbers. Absent and empty are the same. */
export function comparableAttributes({
  objectClass,
  attributes,
}: Pick<Entry, 'objectClass' | 'attributes'>): Map<AttributeName, Uint8Array> {
  const comparable = new Map<AttributeName, Uint8Array>();
  for (const name of attributesOf(objectClass)) {
    if (ATTRIBUTES[name].fate === 'carried') continue;
    const value = name === 'sensitive' && isWrapped(objectClass) ? true : attributes[name];
    if (value === undefined) continue;
    const bytes = encodeAttribute(name, value);
    if (bytes.length > 0) comparable.set(name, bytes);
  }
  return comparable;
}

export function contentDigest(entryDigests: ReadonlyMap<ObjectId, Uint8Array>): string {
  const hash = createHash('sha256').update('antipode content v1\0');
  for (const [id, digest] of [...entryDigests].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(fromHex(id)).update(digest);
  return hash.digest('hex');
}

export function contentDigestOf(generation: Generation): string {
  return contentDigest(new Map(generation.entries.map((entry) => [entry.objectId, entryDigest(entry)])));
}

export function encodeManifest(generation: Generation): Uint8Array {
  return toBinary(seal.ManifestSchema, toMessage(generation));
}

/** Puts a manifest and its signature together. */
export function sealedGeneration(options: {
  generation: Generation;
  manifest: Uint8Array;
  signature: Uint8Array;
  signer: Uint8Array;
}): SealedGeneration {
  const { generation, manifest, signature, signer } = options;
  return {
    generation,
    digest: sha256Hex(manifest),
    contentDigest: contentDigestOf(generation),
    signed: toBinary(seal.SignedManifestSchema, create(seal.SignedManifestSchema, { manifest, signature, signer })),
    signerSha256: fingerprint(signer),
  };
}

/**
 * Opens a signed manifest that came from elsewhere: checks its digest, its signer against the pins, the signature, and
 * that the bytes are the one canonical encoding of a well-formed generation of this group.
 * @throws MANIFEST_INVALID, PEER_NOT_PINNED
 */
export function openSigned(
  signed: Uint8Array,
  {
    group,
    isPinned,
    expectedDigest,
  }: { group: string; isPinned: (identitySha256: string) => boolean; expectedDigest?: string },
): SealedGeneration {
  const { manifest, signature, signer } = decode(seal.SignedManifestSchema, signed);
  const digest = sha256Hex(manifest);
  if (expectedDigest !== undefined && digest !== expectedDigest) {
    throw new AntipodeError('MANIFEST_INVALID', 'the manifest has not the digest that was announced', {
      details: { expected: expectedDigest, found: digest },
    });
  }
  const signerSha256 = fingerprint(signer);
  if (!isPinned(signerSha256)) {
    throw new AntipodeError(
      'PEER_NOT_PINNED',
      `the manifest is signed by ${signerSha256}, which is not pinned for group ${group}`,
      {
        details: { group, identity: signerSha256 },
      },
    );
  }
  if (!isSignedBy(signer, signingInput(manifest), signature)) invalid('the signature does not verify', digest);
  const message = decode(seal.ManifestSchema, manifest);
  const generation = fromMessage(message, digest);
  if (generation.group !== group) invalid(`it belongs to group ${generation.group}`, digest);
  if (generation.source.identitySha256 !== signerSha256)
    invalid('it is signed by another identity than its source', digest);
  if (!bytesEqual(encodeManifest(generation), manifest)) invalid('its encoding is not canonical', digest);
  return {
    generation,
    digest,
    contentDigest: contentDigestOf(generation),
    signed: new Uint8Array(signed),
    signerSha256,
  };
}

/** Whether `signature` (r || s) over `message` was made by the P-256 key `signer` (SubjectPublicKeyInfo). */
export function isSignedBy(signer: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(signer), format: 'der', type: 'spki' });
    return key.asymmetricKeyType === 'ec' && verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature);
  } catch {
    return false;
  }
}

function invalid(why: string, digest: string): never {
  throw new AntipodeError('MANIFEST_INVALID', `the manifest is refused: ${why}`, { details: { digest } });
}

function decode<Schema extends typeof seal.ManifestSchema | typeof seal.SignedManifestSchema>(
  schema: Schema,
  bytes: Uint8Array,
) {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new AntipodeError('MANIFEST_INVALID', 'the manifest cannot be decoded', { cause });
  }
}

const CLASS_NUMBERS: Record<ObjectClass | 'other', seal.ObjectClass> = {
  'secret-key': seal.ObjectClass.SECRET_KEY,
  'private-key': seal.ObjectClass.PRIVATE_KEY,
  'public-key': seal.ObjectClass.PUBLIC_KEY,
  certificate: seal.ObjectClass.CERTIFICATE,
  data: seal.ObjectClass.DATA,
  other: seal.ObjectClass.OTHER,
};

const KEY_TYPE_NUMBERS: Record<KeyType, seal.KeyType> = {
  aes: seal.KeyType.AES,
  'generic-secret': seal.KeyType.GENERIC_SECRET,
  rsa: seal.KeyType.RSA,
  ec: seal.KeyType.EC,
};

const REASON_NUMBERS: Record<UncapturedReason, seal.UncapturedReason> = {
  unextractable: seal.UncapturedReason.UNEXTRACTABLE,
  'wrap-with-trusted': seal.UncapturedReason.WRAP_WITH_TRUSTED,
  'not-wrappable': seal.UncapturedReason.NOT_WRAPPABLE,
  'unsupported-type': seal.UncapturedReason.UNSUPPORTED_TYPE,
  'length-not-multiple-of-8': seal.UncapturedReason.LENGTH_NOT_MULTIPLE_OF_8,
  'length-unknown': seal.UncapturedReason.LENGTH_UNKNOWN,
  settling: seal.UncapturedReason.SETTLING,
  excluded: seal.UncapturedReason.EXCLUDED,
  unreadable: seal.UncapturedReason.UNREADABLE,
  deleted: seal.UncapturedReason.DELETED,
  'too-large': seal.UncapturedReason.TOO_LARGE,
  'unsupported-attribute': seal.UncapturedReason.UNSUPPORTED_ATTRIBUTE,
};

const nameOf = <Name extends string>(numbers: Record<Name, number>, number: number): Name | undefined =>
  (Object.keys(numbers) as Name[]).find((name) => numbers[name] === number);

const byObjectId = (a: { objectId: string }, b: { objectId: string }): number =>
  a.objectId < b.objectId ? -1 : a.objectId > b.objectId ? 1 : 0;

function toMessage(generation: Generation): seal.Manifest {
  return create(seal.ManifestSchema, {
    format: FORMAT,
    group: generation.group,
    domainKeyVersion: generation.domainKeyVersion,
    domainKeyCheckTag: generation.domainKeyCheckTag,
    epoch: generation.epoch,
    generation: generation.number,
    previousDigest: fromHex(generation.previousDigest),
    captureStartedMs: BigInt(generation.captureStartedMs),
    source: { ...generation.source, identitySha256: fromHex(generation.source.identitySha256) },
    dataKeys: [...generation.dataKeys]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, blobSha256, blobSize }) => ({
        id: fromHex(id),
        blobSha256: fromHex(blobSha256),
        blobSize: BigInt(blobSize),
      })),
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
      .map(({ entry, epoch, generation: number, deletedMs }) => ({
        entry: entryMessage(entry),
        epoch,
        generation: number,
        deletedMs: BigInt(deletedMs),
      })),
  });
}

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
  });
}

function fromMessage(message: seal.Manifest, digest: string): Generation {
  if (message.format !== FORMAT) invalid(`its format is ${message.format}, expected ${FORMAT}`, digest);
  if (message.source === undefined) invalid('it has no source', digest);
  const entries = message.entries.map((entry) => entryFrom(entry, digest));
  if (new Set(entries.map(({ objectId }) => objectId)).size !== entries.length) invalid('an object id repeats', digest);
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
    dataKeys: message.dataKeys.map(({ id, blobSha256, blobSize }) => ({
      id: hex(id),
      blobSha256: hex(blobSha256),
      blobSize: Number(blobSize),
    })),
    entries,
    uncaptured: message.uncaptured.map(({ objectId, objectClass, keyType, reason }) => {
      const kind = nameOf(KEY_TYPE_NUMBERS, keyType);
      return {
        objectId: hex(objectId),
        objectClass: nameOf(CLASS_NUMBERS, objectClass) ?? invalid('an uncaptured object has no class', digest),
        ...(kind === undefined ? {} : { keyType: kind }),
        reason: nameOf(REASON_NUMBERS, reason) ?? invalid('an uncaptured object has no reason', digest),
      };
    }),
    tombstones: message.tombstones.map(({ entry, epoch, generation, deletedMs }) => ({
      entry: entryFrom(entry ?? invalid('a tombstone has no entry', digest), digest),
      epoch,
      generation,
      deletedMs: Number(deletedMs),
    })),
  };
}

function entryFrom(message: seal.Entry, digest: string): Entry {
  const objectClass = nameOf(CLASS_NUMBERS, message.objectClass);
  if (objectClass === undefined || objectClass === 'other')
    invalid('an object has no class that can be captured', digest);
  const keyType = nameOf(KEY_TYPE_NUMBERS, message.keyType);
  const objectId = hex(message.objectId);
  if (message.objectId.length !== OBJECT_ID_BYTES) invalid('an object id has not 16 bytes', digest);
  if (objectClass.endsWith('-key') !== (keyType !== undefined))
    invalid(`object ${objectId} has no fitting key type`, digest);
  const hasBlob = message.blobSha256.length > 0;
  if (hasBlob && message.blobSha256.length !== SHA256_BYTES)
    invalid(`object ${objectId} has a digest that is none`, digest);
  if (hasBlob !== (isWrapped(objectClass) || objectClass === 'data'))
    invalid(`object ${objectId} must ${hasBlob ? 'not ' : ''}have a blob`, digest);
  if ((objectClass === 'data') !== message.dataKeyId.length > 0)
    invalid(`object ${objectId} has no fitting data key`, digest);
  const attributes: Attributes = {};
  for (const { type, value } of message.attributes) {
    const decoded = decodeAttribute(type, value);
    if (decoded === undefined || !(ATTRIBUTES[decoded.name].classes as readonly ObjectClass[]).includes(objectClass)) {
      invalid(`object ${objectId} has an attribute that does not fit (0x${type.toString(16)})`, digest);
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
  };
}
