/**
 * An entry in the bytes of its manifest, decoded on access. So a generation in memory costs little more than its bytes.
 *
 * It looks like any other entry. Its fields are own properties, so a copy with `...` is a plain entry, which is encoded
 * again. It is made only from bytes that manifest-reader.ts has read strictly.
 */
import { type Attributes, decodeAttribute, setAttribute } from '../attributes.ts';
import type { CloneForm, Entry } from '../generation.ts';
import type { KeyType, ObjectClass, ObjectId } from '../object.ts';
import type { Vector } from '../vector.ts';
import { CanonicalReader, type Range } from './canonical-protobuf.ts';
import { VECTOR_USES_BY_NUMBER } from './manifest-fields.ts';

/** Numbers of the fields of antipode.seal.v1.Entry and Attribute. */
export const ENTRY = {
  objectId: 1,
  objectClass: 2,
  keyType: 3,
  sizeBits: 4,
  attributes: 5,
  publicHalf: 6,
  blobSha256: 7,
  blobSize: 8,
  dataKeyId: 9,
  valueTag: 10,
  cloningDomain: 11,
  vectors: 12,
  byDevice: 13,
  clone: 14,
} as const;
export const ATTRIBUTE = { type: 1, value: 2 } as const;
export const CLONE = { cloningDomain: 1, blobSha256: 2, blobSize: 3, dataKeyId: 4 } as const;
export const VECTOR = { use: 1, mechanism: 2, nonce: 3, result: 4 } as const;

export const DIGEST_BYTES = 32;

/** The entries of one list share their manifest and the run of their digests. */
export interface EntryBytes {
  readonly manifest: Buffer;
  readonly digests: Uint8Array;
}

type Decoded =
  | 'attributes'
  | 'publicHalf'
  | 'blobSha256'
  | 'dataKeyId'
  | 'valueTag'
  | 'cloningDomain'
  | 'vectors'
  | 'clone';

export class EncodedEntry implements Entry {
  declare readonly objectId: ObjectId;
  declare readonly objectClass: ObjectClass;
  declare readonly keyType?: KeyType;
  declare readonly sizeBits: number;
  declare readonly attributes: Attributes;
  declare readonly publicHalf?: Uint8Array;
  declare readonly blobSha256?: string;
  declare readonly blobSize: number;
  declare readonly dataKeyId?: string;
  declare readonly valueTag?: Uint8Array;
  declare readonly cloningDomain?: string;
  declare readonly vectors?: readonly Vector[];
  declare readonly byDevice?: true;
  declare readonly clone?: CloneForm;
  readonly #of: EntryBytes;
  readonly #start: number;
  readonly #end: number;
  readonly #index: number;

  constructor(
    of: EntryBytes,
    place: Range & { index: number },
    head: Pick<Entry, 'objectId' | 'objectClass' | 'sizeBits' | 'blobSize'> & { keyType: KeyType | undefined },
    has: Record<Exclude<Decoded, 'attributes'> | 'byDevice', boolean>,
  ) {
    this.#of = of;
    this.#start = place.start;
    this.#end = place.end;
    this.#index = place.index;
    this.objectId = head.objectId;
    this.objectClass = head.objectClass;
    if (head.keyType !== undefined) this.keyType = head.keyType;
    this.sizeBits = head.sizeBits;
    this.blobSize = head.blobSize;
    if (has.byDevice) this.byDevice = true;
    // The accessors are the same each time and in the same order, so that all entries of a kind share one hidden class.
    Object.defineProperty(this, 'attributes', EncodedEntry.#ACCESSORS.attributes);
    if (has.publicHalf) Object.defineProperty(this, 'publicHalf', EncodedEntry.#ACCESSORS.publicHalf);
    if (has.blobSha256) Object.defineProperty(this, 'blobSha256', EncodedEntry.#ACCESSORS.blobSha256);
    if (has.dataKeyId) Object.defineProperty(this, 'dataKeyId', EncodedEntry.#ACCESSORS.dataKeyId);
    if (has.valueTag) Object.defineProperty(this, 'valueTag', EncodedEntry.#ACCESSORS.valueTag);
    if (has.cloningDomain) Object.defineProperty(this, 'cloningDomain', EncodedEntry.#ACCESSORS.cloningDomain);
    if (has.vectors) Object.defineProperty(this, 'vectors', EncodedEntry.#ACCESSORS.vectors);
    if (has.clone) Object.defineProperty(this, 'clone', EncodedEntry.#ACCESSORS.clone);
  }

  /** A view on the bytes of an encoded entry. */
  static encodingOf(entry: Entry): Uint8Array | undefined {
    return #of in entry ? entry.#of.manifest.subarray(entry.#start, entry.#end) : undefined;
  }

  /** A view on the digest that was computed when the manifest was read. */
  static digestOf(entry: Entry): Uint8Array | undefined {
    if (!(#of in entry)) return undefined;
    const start = entry.#index * DIGEST_BYTES;
    return entry.#of.digests.subarray(start, start + DIGEST_BYTES);
  }

  static readonly #ACCESSORS: Record<Decoded, PropertyDescriptor & ThisType<EncodedEntry>> = {
    attributes: {
      enumerable: true,
      get() {
        return this.#attributes();
      },
    },
    publicHalf: {
      enumerable: true,
      get() {
        return this.#copy(ENTRY.publicHalf);
      },
    },
    blobSha256: {
      enumerable: true,
      get() {
        return this.#hex(ENTRY.blobSha256);
      },
    },
    dataKeyId: {
      enumerable: true,
      get() {
        return this.#hex(ENTRY.dataKeyId);
      },
    },
    valueTag: {
      enumerable: true,
      get() {
        return this.#copy(ENTRY.valueTag);
      },
    },
    cloningDomain: {
      enumerable: true,
      get() {
        return this.#hex(ENTRY.cloningDomain);
      },
    },
    vectors: {
      enumerable: true,
      get() {
        return this.#vectors();
      },
    },
    clone: {
      enumerable: true,
      get() {
        return this.#clone();
      },
    },
  };

  #attributes(): Attributes {
    const reader = this.#reader();
    const attributes: Attributes = {};
    skipTo(reader, ENTRY.attributes);
    for (;;) {
      const outer = reader.enter(ENTRY.attributes);
      if (outer === undefined) return attributes;
      const type = reader.uint32(ATTRIBUTE.type);
      reader.range(ATTRIBUTE.value, RANGE);
      const decoded = decodeAttribute(type, reader.bytes.subarray(RANGE.start, RANGE.end));
      if (decoded !== undefined) setAttribute(attributes, decoded.name, decoded.value);
      reader.leave(outer);
    }
  }

  #vectors(): Vector[] {
    const reader = this.#reader();
    skipTo(reader, ENTRY.vectors);
    return readVectors(reader);
  }

  #clone(): CloneForm {
    const reader = this.#reader();
    skipTo(reader, ENTRY.clone);
    return readClone(reader)!;
  }

  #copy(field: number): Uint8Array {
    const reader = this.#reader();
    skipTo(reader, field);
    return reader.copy(field);
  }

  #hex(field: number): string {
    const reader = this.#reader();
    skipTo(reader, field);
    return reader.hex(field);
  }

  #reader(): CanonicalReader {
    return new CanonicalReader(this.#of.manifest, { start: this.#start, end: this.#end });
  }
}

const RANGE: Range = { start: 0, end: 0 };

/** Skips the fields before this one. */
function skipTo(reader: CanonicalReader, field: number): void {
  reader.range(ENTRY.objectId, RANGE);
  reader.number(ENTRY.objectClass);
  reader.number(ENTRY.keyType);
  reader.number(ENTRY.sizeBits);
  if (field === ENTRY.attributes) return;
  while (reader.skip(ENTRY.attributes));
  if (field === ENTRY.publicHalf) return;
  reader.range(ENTRY.publicHalf, RANGE);
  if (field === ENTRY.blobSha256) return;
  reader.range(ENTRY.blobSha256, RANGE);
  reader.number(ENTRY.blobSize);
  if (field === ENTRY.dataKeyId) return;
  reader.range(ENTRY.dataKeyId, RANGE);
  if (field === ENTRY.valueTag) return;
  reader.range(ENTRY.valueTag, RANGE);
  if (field === ENTRY.cloningDomain) return;
  reader.range(ENTRY.cloningDomain, RANGE);
  if (field === ENTRY.vectors) return;
  while (reader.skip(ENTRY.vectors));
  reader.number(ENTRY.byDevice);
}

/** The second form of an entry, as it is. */
export function readClone(reader: CanonicalReader): CloneForm | undefined {
  const outer = reader.enter(ENTRY.clone);
  if (outer === undefined) return undefined;
  const clone = {
    cloningDomain: reader.hex(CLONE.cloningDomain),
    blobSha256: reader.hex(CLONE.blobSha256),
    blobSize: reader.number(CLONE.blobSize),
    dataKeyId: reader.hex(CLONE.dataKeyId),
  };
  reader.leave(outer);
  return clone;
}

/** The vectors of an entry, as they are. A use that is not known is left out. */
export function readVectors(reader: CanonicalReader): Vector[] {
  const vectors: Vector[] = [];
  for (;;) {
    const outer = reader.enter(ENTRY.vectors);
    if (outer === undefined) return vectors;
    const use = VECTOR_USES_BY_NUMBER.get(reader.number(VECTOR.use));
    const mechanism = reader.uint32(VECTOR.mechanism);
    const [nonce, result] = [reader.copy(VECTOR.nonce), reader.copy(VECTOR.result)];
    reader.leave(outer);
    if (use !== undefined) vectors.push({ use, mechanism, nonce, result });
  }
}
