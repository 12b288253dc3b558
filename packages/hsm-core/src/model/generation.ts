/**
 * A generation is the result of one capture. Members compare the digest of its content, which covers portable
 * attributes only. The folder manifest/ has the encoding and the signature.
 */
import { createHash, hash } from 'node:crypto';
import { fromHex } from '@antipode/runtime';
import {
  ASSUMED,
  ATTRIBUTES,
  type AttributeName,
  type Attributes,
  attributesOf,
  encodeAttribute,
} from './attributes.ts';
import type { Range } from './manifest/canonical-protobuf.ts';
import { EncodedEntry } from './manifest/encoded-entry.ts';
import {
  isWrapped,
  type KeyType,
  type ObjectClass,
  type ObjectId,
  type Outside,
  type UncapturedReason,
} from './object.ts';
import { type Vector, vectorsProof } from './vector.ts';

/** One captured object. Digests and ids are hexadecimal. */
export interface Entry {
  readonly objectId: ObjectId;
  readonly objectClass: ObjectClass;
  readonly keyType?: KeyType;
  readonly sizeBits: number;
  readonly attributes: Attributes;
  readonly publicHalf?: Uint8Array;
  readonly blobSha256?: string;
  readonly blobSize: number;
  /** Of a data object, of a secret key that is sealed exactly, and of a key that moves natively. */
  readonly dataKeyId?: string;
  /** Keyed tag of the value. A secret key has one if it is sealed exactly. */
  readonly valueTag?: Uint8Array;
  /** Of a key that moves natively (ADR 0055). Only a device of this cloning domain takes it. */
  readonly cloningDomain?: string;
  /** The devices move the key among themselves (ADR 0058): it has neither a blob nor a data key. */
  readonly byDevice?: true;
  /** Of a secret key that moves natively (ADR 0057), in the order of use and mechanism. */
  readonly vectors?: readonly Vector[];
  /** Of a key that is sealed as well (`prefer-native` of ADR 0055). No digest of the entry covers it. */
  readonly clone?: CloneForm;
}

/** The second form of a key: what its device gives to others of its cloning domain. It keeps the history of the key. */
export interface CloneForm {
  readonly cloningDomain: string;
  readonly blobSha256: string;
  readonly blobSize: number;
  readonly dataKeyId: string;
}

/**
 * Whether a secret key is sealed byte for byte under a data key (ADR 0034), and recognised by its tag. Wrapping by RFC
 * 5649 gives the blobs of all other keys.
 *
 * Asks without decoding: most secret keys have no tag.
 */
export const isExact = (entry: Pick<Entry, 'objectClass' | 'valueTag'>): boolean =>
  entry.objectClass === 'secret-key' && 'valueTag' in entry;

/** Whether a key moves by the cloning of its device. Asks without decoding. */
export const isNative = (entry: Pick<Entry, 'cloningDomain'>): boolean => 'cloningDomain' in entry;

/** Whether nothing but another device has the key: no blob of it exists (ADR 0058). */
export const isByDevice = ({ byDevice }: Pick<Entry, 'byDevice'>): boolean => byDevice === true;

/** Whether a key has both forms. Asks without decoding. */
export const hasClone = (entry: Pick<Entry, 'clone'>): boolean => 'clone' in entry;

/** The entry with its sealed form alone. */
export function withoutClone<T extends Pick<Entry, 'clone'>>(entry: T): Omit<T, 'clone'> {
  if (!hasClone(entry)) return entry;
  const { clone: _clone, ...rest } = entry;
  return rest;
}

/** The clone of a key, as an entry of a key that moves natively alone. */
export function asClone(entry: Entry): Entry {
  const { objectId, objectClass, keyType, sizeBits, attributes, publicHalf, clone } = entry;
  return {
    objectId,
    objectClass,
    ...(keyType === undefined ? {} : { keyType }),
    sizeBits,
    attributes,
    ...(publicHalf === undefined ? {} : { publicHalf }),
    ...clone!,
  };
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
  /** Of an object outside the model: its class and key type by number, never a name. A manifest has no place for it. */
  readonly outside?: Pick<Outside, 'objectClass' | 'keyType'>;
  readonly reason: UncapturedReason;
}

export interface Tombstone {
  readonly entry: Entry;
  readonly epoch: bigint;
  readonly generation: bigint;
  readonly deletedMs: number;
  /** The version that opens its blob. Absent if it was deleted under format 1, which does not say. */
  readonly domainKeyVersion?: number;
  /** The data key of a data object, from format 2 on. */
  readonly dataKey?: DataKey;
  /** The data key of its clone, where it has both forms. */
  readonly cloneDataKey?: DataKey;
  /** The shortest time for which its sealed object is kept. Absent if it was deleted under format 1. */
  readonly retentionMs?: number;
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

/** A generation that is known to be whole: captured here, or opened by signed-manifest.ts. */
export interface SealedGeneration {
  readonly generation: Generation;
  /** SHA-256 of the manifest: the generation's name. */
  readonly digest: string;
  readonly contentDigest: string;
  /** The encoded antipode.seal.v1.SignedManifest, as it is stored and sent. */
  readonly signed: Uint8Array;
  /** Fingerprint of the identity key that signed it. */
  readonly signerSha256: string;
}

/** Digests of plain entries. An entry never changes, and every apply asks for each of them. */
const entryDigests = new WeakMap<Entry, Uint8Array>();

/** {@link digestOf} of an entry, computed once. */
export function entryDigest(entry: Entry): Uint8Array {
  const known = EncodedEntry.digestOf(entry) ?? entryDigests.get(entry);
  if (known !== undefined) return known;
  const digest = digestOf(entry);
  entryDigests.set(entry, digest);
  return digest;
}

/**
 * Digest of one object by everything that members can compare: portable attributes and the public half. For an object
 * that hides its value, the digest covers its blob, its keyed tag or its vectors. A wrapped key counts as sensitive,
 * since it is on every replica.
 */
export function digestOf(entry: Entry): Uint8Array {
  const { objectClass, attributes, publicHalf, blobSha256, valueTag, vectors } = entry;
  DIGEST.begin(entry);
  for (const name of attributesOf(objectClass)) {
    const value = attributes[name];
    if (value === undefined) continue;
    const bytes = encodeAttribute(name, value);
    DIGEST.attribute(name, bytes, { start: 0, end: bytes.length });
  }
  const blob = (): Uint8Array => fromHex(blobSha256 ?? '');
  const shown = valueTag ?? (vectors && vectorsProof(vectors));
  const proof = shown ?? (objectClass === 'secret-key' ? blob() : (publicHalf ?? blob()));
  DIGEST.proof(proof, { start: 0, end: proof.length });
  return new Uint8Array(DIGEST.end());
}

/** {@link digestOf} without the parts that show the value. */
export function attributesDigest({
  publicHalf: _half,
  blobSha256: _blob,
  valueTag: _tag,
  vectors: _vectors,
  ...shown
}: Entry): Uint8Array {
  return digestOf(shown);
}

/** Whether members compare this attribute. */
const isCompared = (name: AttributeName): boolean => ATTRIBUTES[name].fate !== 'carried';

/**
 * Computes the digest of one entry from its parts, in the order of their numbers. One instance is enough for a thread,
 * since nothing awaits between begin and end.
 */
export class EntryDigest {
  #input = Buffer.allocUnsafeSlow(4_096);
  #length = 0;
  #isSensitiveDue = false;

  begin({
    objectId,
    objectClass,
    keyType,
  }: Pick<Entry, 'objectId' | 'objectClass'> & { keyType?: KeyType | undefined }) {
    this.#length = 0;
    const head = Buffer.from(`${objectId}:${objectClass}:${keyType ?? ''}`);
    this.#add(head, { start: 0, end: head.length });
    this.#isSensitiveDue = isWrapped(objectClass);
  }

  /** An attribute of the entry, in its canonical bytes. Absent and empty are the same. */
  attribute(name: AttributeName, bytes: Uint8Array, range: Range): void {
    if (this.#isSensitiveDue && ATTRIBUTES[name].type >= ATTRIBUTES.sensitive.type) this.#sensitive();
    if (name !== 'sensitive' && isCompared(name) && range.end > range.start)
      this.#attribute(ATTRIBUTES[name].type, bytes, range);
  }

  /** The value, or the bytes that stand for it. */
  proof(bytes: Uint8Array, range: Range): void {
    if (this.#isSensitiveDue) this.#sensitive();
    this.#add(bytes, range);
  }

  end(): Uint8Array {
    return hash('sha256', this.#input.subarray(0, this.#length), 'buffer');
  }

  #sensitive(): void {
    this.#isSensitiveDue = false;
    this.#attribute(ATTRIBUTES.sensitive.type, TRUE, { start: 0, end: TRUE.length });
  }

  #attribute(type: number, bytes: Uint8Array, range: Range): void {
    this.#reserve(8);
    this.#length = this.#input.writeUInt32BE(type, this.#length);
    this.#length = this.#input.writeUInt32BE(range.end - range.start, this.#length);
    this.#add(bytes, range);
  }

  #add(bytes: Uint8Array, { start, end }: Range): void {
    this.#reserve(end - start);
    // Most values have one byte or eight. A view to copy them from would cost more than the copy.
    for (let at = start; at < end; at += 1) this.#input[this.#length + at - start] = bytes[at]!;
    this.#length += end - start;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#input.length) return;
    const grown = Buffer.allocUnsafeSlow(needed * 2);
    grown.set(this.#input.subarray(0, this.#length));
    this.#input = grown;
  }
}

const TRUE = encodeAttribute('sensitive', true);
const DIGEST = new EntryDigest();

/**
 * The canonical attributes by which two looks at an object are compared. Absent, empty and assumed values are the same,
 * since tokens differ in the attributes that they show.
 */
export function comparableAttributes({
  objectClass,
  attributes,
}: Pick<Entry, 'objectClass' | 'attributes'>): Map<AttributeName, Uint8Array> {
  const comparable = new Map<AttributeName, Uint8Array>();
  for (const name of attributesOf(objectClass)) {
    if (!isCompared(name)) continue;
    const value = name === 'sensitive' && isWrapped(objectClass) ? true : attributes[name];
    if (value === undefined || value === ASSUMED[name]) continue;
    const bytes = encodeAttribute(name, value);
    if (bytes.length > 0) comparable.set(name, bytes);
  }
  return comparable;
}

export const CONTENT_PREFIX = 'antipode content v1\0';

export function contentDigest(entryDigests: ReadonlyMap<ObjectId, Uint8Array>): string {
  const hash = createHash('sha256').update(CONTENT_PREFIX);
  for (const [id, digest] of [...entryDigests].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(fromHex(id)).update(digest);
  return hash.digest('hex');
}

export function contentDigestOf(generation: Generation): string {
  return contentDigest(new Map(generation.entries.map((entry) => [entry.objectId, entryDigest(entry)])));
}
