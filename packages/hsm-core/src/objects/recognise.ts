/**
 * Recognises objects of a partition as objects of a generation. Private and public keys are known by their public half,
 * and secrets by their type and the blob that wrapping them gives (RFC 5649 is deterministic). Certificates are known by
 * value. Data, and secrets that are sealed exactly, are known by keyed tag.
 * IDs and labels only settle which of several copies of one value is meant.
 *
 * Which tokens show the public half of a private key, or let it be found, depends on token, key and release. Where the
 * entry or the object has no public half, the blob tells.
 */
import { bytesEqual, type Clock, hex, Pace, runToEnd, sha256Hex } from '@antipode/runtime';
import { ASSUMED, type Attributes, decides } from '../model/attributes.ts';
import { comparableAttributes, digestOf, type Entry, isExact, isNative } from '../model/generation.ts';
import {
  type Handle,
  isOfAnyLength,
  type KeyType,
  type ObjectId,
  type ObservedObject,
  type UncapturedReason,
} from '../model/object.ts';
import { agree, sortedVectors, type Vector, vectorKey } from '../model/vector.ts';
import { EXACT_BYTES_MAX } from '../provider/exact-sealer.ts';
import type { HsmProvider } from '../provider/provider.ts';
import { entryBytes } from './batches.ts';

/** The findings about one object beside its attributes. */
export interface Examined {
  readonly object: ObservedObject;
  /** Blob under the domain key asked for; absent where the object is not wrapped, or the token does not give it. */
  readonly blob?: Uint8Array;
  /** Of a data object; of a secret whose blob does not show its length for certain, if the token tags it exactly. */
  readonly valueTag?: Uint8Array;
  /** Of a secret key that may move natively: what shows its value instead of a blob. */
  readonly vectors?: readonly Vector[];
  /** Why the token gave no blob. */
  readonly refusal?: UncapturedReason;
}

/** Types of the private keys that are in these entries without a public half: only their blobs tell them. */
export function typesByBlob(entries: Iterable<Entry>): ReadonlySet<KeyType | 'unsupported'> {
  const types = new Set<KeyType>();
  for (const entry of entries)
    if (entry.keyType !== undefined && !types.has(entry.keyType) && isNamedByBlob(entry)) types.add(entry.keyType);
  return types;
}

/** Without reading the public half: most entries have one, and are asked at every look. */
const isNamedByBlob = (entry: Pick<Entry, 'objectClass' | 'publicHalf'>): boolean =>
  entry.objectClass === 'private-key' && !('publicHalf' in entry);

/** The part of a provider that an examination asks. */
export type ExaminingProvider = Pick<HsmProvider, 'wrap' | 'tagData' | 'tagSecrets' | 'makeVectors' | 'describe'>;

/** Wraps and tags what cannot be recognised by its attributes alone, and private keys of the types in `byBlob`. */
export async function examine(
  provider: ExaminingProvider,
  {
    clock,
    domainKey,
    objects,
    byBlob = NO_TYPES,
  }: {
    clock: Clock;
    domainKey: Handle;
    objects: readonly ObservedObject[];
    byBlob?: ReadonlySet<KeyType | 'unsupported'>;
  },
): Promise<Examined[]> {
  const toWrap = objects.filter(
    (object) => isWrappedToKnow(object, byBlob) && object.keyType !== 'unsupported' && !isPadded(object),
  );
  const toTag = objects.filter(({ objectClass }) => objectClass === 'data');
  const outcomes = new Map(
    (await provider.wrap(domainKey, handlesOf(toWrap))).map((outcome) => [outcome.handle, outcome]),
  );
  const tags = await provider.tagData(domainKey, handlesOf(toTag));
  const tagOf = new Map(toTag.map(({ handle }, index) => [handle, tags[index]]));
  const inexact = objects.filter((object) => mayBeExact(object));
  const secretTags = inexact.length === 0 ? [] : await provider.tagSecrets(domainKey, handlesOf(inexact));
  for (const [index, { handle }] of inexact.entries()) tagOf.set(handle, secretTags[index]);
  const vectors = await vectorsOf(provider, {
    domainKey,
    objects: objects.filter((object) => {
      const outcome = outcomes.get(object.handle);
      const hasValue = tagOf.get(object.handle) !== undefined || (outcome !== undefined && 'blob' in outcome);
      return object.objectClass === 'secret-key' && (!hasValue || object.attributes.wrapWithTrusted === true);
    }),
  });
  const examined: Examined[] = [];
  const pace = new Pace(clock);
  for (const object of objects) {
    if (pace.isDue()) await pace.makeWay();
    const outcome = outcomes.get(object.handle);
    const valueTag = tagOf.get(object.handle);
    const shown = vectors.get(object.handle) ?? [];
    examined.push({
      object,
      ...(outcome !== undefined && 'blob' in outcome ? { blob: outcome.blob } : {}),
      ...(outcome !== undefined && 'reason' in outcome ? { refusal: outcome.reason } : {}),
      ...(valueTag === undefined ? {} : { valueTag }),
      ...(shown.length === 0 ? {} : { vectors: shown }),
    });
  }
  return examined;
}

/** A partition that clones nothing captures no such secret, so none is used there. */
async function vectorsOf(
  provider: ExaminingProvider,
  { domainKey, objects }: { domainKey: Handle; objects: readonly ObservedObject[] },
): Promise<Map<Handle, readonly Vector[]>> {
  const silent = objects.filter(({ keyType }) => keyType !== 'unsupported');
  if (silent.length === 0 || (await provider.describe()).cloning === undefined) return new Map();
  const made = await provider.makeVectors(domainKey, handlesOf(silent));
  return new Map(silent.map(({ handle }, index) => [handle, sortedVectors(made[index] ?? [])]));
}

const NO_TYPES: ReadonlySet<KeyType | 'unsupported'> = new Set();

/** Whether only the blob may tell which entry it is. */
function isWrappedToKnow(
  { objectClass, keyType, publicHalf }: ObservedObject,
  byBlob: ReadonlySet<KeyType | 'unsupported'>,
): boolean {
  if (objectClass === 'private-key') return publicHalf === undefined || byBlob.has(keyType ?? 'unsupported');
  return objectClass === 'secret-key';
}

/**
 * Whether wrapping would change the value: SoftHSM pads it with zeros to a multiple of 8 bytes first, so that its blob
 * is that of another, longer secret.
 */
export function isPadded({ keyType, sizeBits }: ObservedObject): boolean {
  return isOfAnyLength(keyType) && sizeBits % 64 !== 0;
}

/** Whether the token does not tell the length: it forgets that in an unwrap. Wrapping may then change the value. */
export function isOfUnknownLength({ keyType, sizeBits }: ObservedObject): boolean {
  return isOfAnyLength(keyType) && sizeBits === 0;
}

/** Whether only the exact way seals the secret without changing it, or may have (ADR 0034). */
export const mayBeExact = (object: ObservedObject): boolean =>
  object.objectClass === 'secret-key' &&
  (isPadded(object) || isOfUnknownLength(object)) &&
  object.sizeBits <= EXACT_BYTES_MAX * 8 &&
  object.attributes.extractable === true &&
  object.attributes.wrapWithTrusted !== true;

/** Whether an entry is recognised by what wrapping or tagging gives, which is another under another domain key. */
export const isKnownByDomainKey = (entry: Entry): boolean =>
  entry.objectClass === 'secret-key' || entry.objectClass === 'data' || isNamedByBlob(entry);

/** Objects that may be one of these entries, which are all known by a domain key. */
export function knowableByDomainKey(
  objects: readonly ObservedObject[],
  byBlob: ReadonlySet<KeyType | 'unsupported'>,
): ObservedObject[] {
  return objects.filter((object) => object.objectClass === 'data' || isWrappedToKnow(object, byBlob));
}

/** The key under which equal values meet; undefined where the object shows nothing to go by. */
export function recognitionKey({ object, blob, valueTag, vectors }: Examined): string | undefined {
  const { objectClass, publicHalf, attributes } = object;
  switch (objectClass) {
    case 'private-key':
    case 'public-key':
      if (publicHalf !== undefined) return `${objectClass}:half:${sha256Hex(publicHalf)}`;
      return blob && `${objectClass}:blob:${sha256Hex(blob)}`;
    case 'secret-key':
      if (valueTag !== undefined) return tagKey(object, valueTag);
      if (blob !== undefined) return secretBlobKey(object, sha256Hex(blob));
      return vectors?.[0] && secretVectorKey(object, vectors[0]);
    case 'certificate':
      return attributes.value && `certificate:${sha256Hex(attributes.value)}`;
    case 'domain-parameters':
      return parametersKey(object);
    case 'data':
      return valueTag && `data:${hex(valueTag)}`;
    case 'other':
      return undefined;
  }
}

function parametersKey({ keyType, attributes }: Pick<ObservedObject, 'keyType' | 'attributes'>): string {
  const parts = [attributes.prime, attributes.subprime, attributes.base].map((part) => hex(part ?? new Uint8Array()));
  return `domain-parameters:${sha256Hex(Buffer.from(`${keyType} ${parts.join(' ')}`))}`;
}

/** Entries by what they are recognised by. */
export class EntriesByValue {
  readonly groups: Map<string, Entry[]>;
  /** Of private keys with a public half: under the blob, too. */
  readonly #named: readonly Entry[];
  #aliases: ReadonlyMap<string, string> | undefined;
  #vectorAliases: ReadonlyMap<string, string> | undefined;

  private constructor(groups: Map<string, Entry[]>, named: readonly Entry[]) {
    this.groups = groups;
    this.#named = named;
  }

  static *of(entries: readonly Entry[]): Generator<void, EntriesByValue> {
    return new EntriesByValue(yield* grouping(entries, entryRecognitionKey), entries);
  }

  /** Under which the object meets entries of its value, where there are any. */
  keyOf(one: Examined): string | undefined {
    const key = this.#byVectors(one) ?? recognitionKey(one);
    if (one.blob === undefined || (key !== undefined && this.groups.has(key))) return key;
    // A secret of unknown length was sealed in the one way or in the other.
    if (one.object.objectClass === 'secret-key') return secretBlobKey(one.object, sha256Hex(one.blob));
    if (one.object.objectClass !== 'private-key') return key;
    const byBlob = blobKey(sha256Hex(one.blob));
    if (this.groups.has(byBlob)) return byBlob;
    this.#aliases ??= this.#aliased();
    return this.#aliases.get(byBlob) ?? key;
  }

  /** Tokens of one kind may differ in a mechanism, so any vector counts. */
  #byVectors({ object, vectors = [] }: Examined): string | undefined {
    if (vectors.length === 0) return undefined;
    this.#vectorAliases ??= new Map(
      this.#named
        .filter((entry) => isNative(entry) && entry.objectClass === 'secret-key')
        .flatMap((entry) =>
          entry.vectors!.map((vector) => [secretVectorKey(entry, vector), entryRecognitionKey(entry)] as const),
        ),
    );
    for (const vector of vectors) {
      const known = this.#vectorAliases.get(secretVectorKey(object, vector));
      if (known !== undefined) return known;
    }
    return undefined;
  }

  /** Seldom needed, since a token that shows one private key without its half mostly shows all so. */
  #aliased(): Map<string, string> {
    const halves = this.#named.filter(
      (entry) => entry.objectClass === 'private-key' && !isNamedByBlob(entry) && !isNative(entry),
    );
    return new Map(halves.map((entry) => [blobKey(entry.blobSha256 ?? ''), entryRecognitionKey(entry)]));
  }
}

const blobKey = (blobSha256: string): string => `private-key:blob:${blobSha256}`;
/** One value can be an AES key and a generic secret. Neither serves for the other. */
type TypedKey = Pick<ObservedObject, 'keyType'>;
const secretBlobKey = ({ keyType }: TypedKey, blobSha256 = ''): string => `secret-key:${keyType}:blob:${blobSha256}`;
const secretVectorKey = ({ keyType }: TypedKey, vector: Vector): string =>
  `secret-key:${keyType}:vector:${vectorKey(vector)}`;
const tagKey = ({ keyType }: TypedKey, valueTag: Uint8Array): string => `secret-key:${keyType}:tag:${hex(valueTag)}`;

/** Whether the object shows the value of the entry. */
export function hasValueOf(one: Examined, entry: Entry): boolean {
  if (recognitionKey(one) === entryRecognitionKey(entry)) return true;
  if (one.object.objectClass === 'secret-key' && isNative(entry) && entry.objectClass === 'secret-key')
    return one.object.keyType === entry.keyType && agree(entry.vectors ?? [], one.vectors ?? []);
  if (one.object.objectClass === 'secret-key' && entry.objectClass === 'secret-key')
    return (
      !isExact(entry) &&
      one.blob !== undefined &&
      secretBlobKey(one.object, sha256Hex(one.blob)) === entryRecognitionKey(entry)
    );
  if (one.object.objectClass !== 'private-key' || entry.objectClass !== 'private-key') return false;
  const isEitherHalfless = one.object.publicHalf === undefined || entry.publicHalf === undefined;
  return isEitherHalfless && one.blob !== undefined && sha256Hex(one.blob) === entry.blobSha256;
}

export function entryRecognitionKey(entry: Entry): string {
  switch (entry.objectClass) {
    case 'private-key':
    case 'public-key':
      return entry.publicHalf === undefined
        ? `${entry.objectClass}:blob:${entry.blobSha256}`
        : `${entry.objectClass}:half:${sha256Hex(entry.publicHalf)}`;
    case 'secret-key':
      if (isNative(entry)) return secretVectorKey(entry, entry.vectors![0]!);
      return isExact(entry) ? tagKey(entry, entry.valueTag!) : secretBlobKey(entry, entry.blobSha256);
    case 'certificate':
      return `certificate:${sha256Hex(entry.attributes.value ?? '')}`;
    case 'domain-parameters':
      return parametersKey(entry);
    case 'data':
      return `data:${hex(entry.valueTag ?? new Uint8Array())}`;
  }
}

/**
 * Pairs objects with entries of equal value: of several, those that are the same in every attribute first, then those
 * with the same ID and label, then the rest in order.
 */
export const pair = (examined: readonly Examined[], entries: readonly Entry[]): Pairs =>
  runToEnd(pairing(examined, entries));

export interface Pairs {
  readonly matched: Map<Handle, Entry>;
  readonly unmatched: Examined[];
  readonly absent: Entry[];
}

/** {@link pair} in slices. */
export function* pairing(examined: readonly Examined[], entries: readonly Entry[]): Generator<void, Pairs> {
  const byValue = yield* EntriesByValue.of([...entries].sort((a, b) => (a.objectId < b.objectId ? -1 : 1)));
  const free = byValue.groups;
  const matched = new Map<Handle, Entry>();
  const take = (one: Examined, fits: (entry: Entry) => boolean): void => {
    const key = byValue.keyOf(one);
    const candidates = key === undefined ? undefined : free.get(key);
    const index = candidates?.findIndex(fits) ?? -1;
    if (candidates === undefined || index === -1) return;
    matched.set(one.object.handle, candidates[index]!);
    candidates.splice(index, 1);
  };
  let looked = 0;
  const isSliceOver = (pairs: number): boolean => {
    looked += pairs;
    if (looked < PAIRS_A_SLICE) return false;
    looked = 0;
    return true;
  };
  for (const [key = '', copies] of yield* grouping(examined, (one) => byValue.keyOf(one))) {
    if (isSliceOver(1)) yield;
    const candidates = free.get(key) ?? [];
    if (candidates.length === 0 || copies.length + candidates.length === 2) continue;
    const alike = Map.groupBy(candidates, allOf);
    const taken = new Set<Entry>();
    for (const { object } of copies) {
      const entry = alike.get(allOf(object))?.shift();
      if (entry === undefined) continue;
      matched.set(object.handle, entry);
      taken.add(entry);
    }
    free.set(
      key,
      candidates.filter((entry) => !taken.has(entry)),
    );
  }
  for (const one of examined) {
    if (!matched.has(one.object.handle)) take(one, (entry) => hasSameNames(one.object.attributes, entry.attributes));
    if (isSliceOver(weightOf(one))) yield;
  }
  for (const one of examined) {
    if (!matched.has(one.object.handle)) take(one, () => true);
    if (isSliceOver(weightOf(one))) yield;
  }
  return {
    matched,
    unmatched: examined.filter(({ object }) => !matched.has(object.handle)),
    absent: [...free.values()].flat(),
  };
}

/** Some milliseconds of work: each takes a hash. */
const PAIRS_A_SLICE = 1_000;

/** A value of this size takes a hash as long as everything else of a pair. */
const BYTES_A_PAIR = 8 * 1024;

/** How much work an object or an entry is, in pairs. */
const weightOf = (item: Examined | Entry): number =>
  1 + Math.floor(('object' in item ? valueLength(item.object) : entryBytes(item) - item.blobSize) / BYTES_A_PAIR);

const valueLength = ({ attributes }: ObservedObject): number => attributes.value?.length ?? 0;

/** As `Map.groupBy`, in slices. */
export function* grouping<T extends Examined | Entry, Key>(
  items: readonly T[],
  keyOf: (item: T) => Key,
): Generator<void, Map<Key, T[]>> {
  const groups = new Map<Key, T[]>();
  let worked = 0;
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
    worked += weightOf(item);
    if (worked < PAIRS_A_SLICE) continue;
    worked = 0;
    yield;
  }
  return groups;
}

/** The digest of an entry by what this partition shows. */
export function observedDigest(entry: Entry, examined: Examined): Uint8Array {
  return digestOf(asObserved(entry, examined));
}

/**
 * An entry as this partition shows it. Only the attributes that the entry names count. An attribute that the partition
 * does not show has its assumed value, so a default that one vendor shows and another omits makes no difference.
 */
export function asObserved(entry: Entry, { object, blob, valueTag, vectors }: Examined): Entry {
  const names = Object.keys(entry.attributes) as (keyof Attributes)[];
  const attributes = Object.fromEntries(
    names.flatMap((name) => {
      const shown = object.attributes[name] ?? ASSUMED[name];
      const value = decides(name, entry.keyType) ? shown : entry.attributes[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const shownHalf =
    object.publicHalf ?? (blob !== undefined && sha256Hex(blob) === entry.blobSha256 ? entry.publicHalf : undefined);
  const publicHalf = isNamedByBlob(entry) ? undefined : shownHalf;
  const isRepeated = vectors !== undefined && agree(entry.vectors ?? [], vectors);
  return {
    objectId: entry.objectId,
    objectClass: entry.objectClass,
    ...(entry.keyType === undefined ? {} : { keyType: entry.keyType }),
    sizeBits: entry.sizeBits,
    attributes: attributes as Attributes,
    blobSize: entry.blobSize,
    ...(publicHalf === undefined ? {} : { publicHalf }),
    ...(blob === undefined ? {} : { blobSha256: sha256Hex(blob) }),
    // The tag tells nothing of a secret that is sealed by its blob.
    ...(valueTag === undefined || (entry.objectClass === 'secret-key' && !isExact(entry)) ? {} : { valueTag }),
    ...(isRepeated ? { vectors: entry.vectors! } : {}),
  };
}

export const handlesOf = (objects: readonly ObservedObject[]): Handle[] => objects.map(({ handle }) => handle);

export const aadOf = (group: string, objectId: ObjectId): Uint8Array =>
  Buffer.from(`antipode data v1\0${group}\0${objectId}`);

/** Binds a native blob to its place. Nothing that is sealed otherwise can take it. */
export const nativeAadOf = (group: string, objectId: ObjectId): Uint8Array =>
  Buffer.from(`antipode native object v1\0${group}\0${objectId}`);

/** Binds a secret that is sealed exactly to its place. No data object can take it. */
export const exactAadOf = (group: string, objectId: ObjectId): Uint8Array =>
  Buffer.from(`antipode exact secret v1\0${group}\0${objectId}`);

/** Everything that is compared of an object, in one string. */
const allOf = ({
  objectClass,
  keyType,
  attributes,
}: Pick<ObservedObject, 'objectClass' | 'keyType' | 'attributes'>): string =>
  objectClass === 'other'
    ? ''
    : [...comparableAttributes({ objectClass, attributes })]
        .filter(([name]) => decides(name, keyType))
        .map(([name, bytes]) => `${name}=${hex(bytes)}`)
        .join(' ');

function hasSameNames(a: Attributes, b: Attributes): boolean {
  const same = (left: Uint8Array | undefined, right: Uint8Array | undefined): boolean =>
    bytesEqual(left ?? new Uint8Array(), right ?? new Uint8Array());
  return same(a.id, b.id) && same(a.label, b.label);
}
