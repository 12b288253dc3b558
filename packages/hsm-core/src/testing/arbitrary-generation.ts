/**
 * Arbitrary generations for property tests: every class, every attribute, every kind of value, including empty ones.
 */
import { hex } from '@antipode/runtime';
import fc from 'fast-check';
import { KEY_KINDS } from '../key-kinds/kinds.ts';
import { ATTRIBUTES, type Attributes, attributesOf, setAttribute } from '../model/attributes.ts';
import type { Entry, Generation } from '../model/generation.ts';
import { encodeNested } from '../model/nested-template.ts';
import { hasKeyType, isInManifest, isWrapped, OBJECT_CLASSES, type ObjectClass } from '../model/object.ts';
import { sortedVectors, VECTOR_USES } from '../model/vector.ts';

const hexadecimal = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes }).map(hex);
const someBytes = fc.uint8Array({ minLength: 1, maxLength: 20 });
const digits = fc.integer({ min: 0, max: 99_999_999 }).map((number) => String(number).padStart(8, '0'));

const VALUES = {
  boolean: fc.boolean(),
  number: fc.maxSafeNat(),
  bytes: fc.uint8Array({ maxLength: 20 }),
  date: digits,
  template: fc
    .uniqueArray(fc.constantFrom(ATTRIBUTES.sensitive, ATTRIBUTES.extractable, ATTRIBUTES.sign), { maxLength: 3 })
    .map((rules) => new Uint8Array(encodeNested(rules.map(({ type }) => ({ type, value: Uint8Array.of(1) }))))),
  mechanisms: fc.uniqueArray(fc.nat(), { maxLength: 3 }).map((list) => list.sort((a, b) => a - b)),
};

const attributes = (objectClass: ObjectClass): fc.Arbitrary<Attributes> =>
  fc
    .tuple(
      ...attributesOf(objectClass).map((name) =>
        fc.option(fc.tuple(fc.constant(name), VALUES[ATTRIBUTES[name].kind]), { nil: undefined }),
      ),
    )
    .map((chosen) => {
      const set: Attributes = {};
      for (const one of chosen) if (one !== undefined) setAttribute(set, ...one);
      return set;
    });

const exactly = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes });
const vectors = fc
  .uniqueArray(
    fc.record({
      use: fc.constantFrom(...VECTOR_USES),
      mechanism: fc.nat({ max: 3 }),
      nonce: exactly(16),
      result: exactly(32),
    }),
    { selector: ({ use, mechanism }) => `${use} ${mechanism}`, minLength: 1, maxLength: 3 },
  )
  .map(sortedVectors);

const entry: fc.Arbitrary<Entry> = fc.constantFrom(...OBJECT_CLASSES).chain((objectClass) =>
  fc
    .record({
      objectId: hexadecimal(16),
      sizeBits: fc.nat({ max: 16_384 }),
      attributes: attributes(objectClass),
      keyType: fc.constantFrom(...KEY_KINDS.map(({ type }) => type)),
      publicHalf: someBytes,
      blobSha256: hexadecimal(32),
      blobSize: fc.nat(),
      dataKeyId: hexadecimal(16),
      valueTag: someBytes,
      isExact: fc.boolean(),
      isNative: fc.boolean(),
      isMovedByDevice: fc.boolean(),
      cloningDomain: hexadecimal(32),
      vectors,
      isBoth: fc.boolean(),
      clone: fc.record({
        cloningDomain: hexadecimal(32),
        blobSha256: hexadecimal(32),
        blobSize: fc.nat(),
        dataKeyId: hexadecimal(16),
      }),
    })
    .map(
      ({
        keyType,
        publicHalf,
        blobSha256,
        blobSize,
        dataKeyId,
        valueTag,
        isExact,
        isNative,
        isMovedByDevice,
        cloningDomain,
        ...more
      }) => {
        const { vectors: shown, isBoth, clone, ...rest } = more;
        const isCloned = isNative && isWrapped(objectClass);
        const byDevice = isCloned && isMovedByDevice;
        return {
          ...rest,
          objectClass,
          ...(hasKeyType(objectClass) ? { keyType } : {}),
          ...(objectClass === 'private-key' || objectClass === 'public-key' ? { publicHalf } : {}),
          ...(isInManifest(objectClass) || byDevice ? { blobSize: 0 } : { blobSha256, blobSize }),
          ...(objectClass === 'data' || (objectClass === 'secret-key' && isExact && !isCloned)
            ? { dataKeyId, valueTag }
            : {}),
          ...(isCloned && !byDevice ? { dataKeyId } : {}),
          ...(isCloned ? { cloningDomain } : {}),
          ...(byDevice ? { byDevice: true as const } : {}),
          ...(isCloned && objectClass === 'secret-key' ? { vectors: shown } : {}),
          ...(isBoth && !isCloned && isWrapped(objectClass) ? { clone } : {}),
        };
      },
    ),
);

const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const byId = <T>(idOf: (item: T) => string) => ({
  selector: idOf,
  maxLength: 4,
});

/** Generations of one group and source, with their lists in any order. */
export const arbitraryGeneration = ({
  group,
  identitySha256,
}: {
  group: string;
  identitySha256: string;
}): fc.Arbitrary<Generation> =>
  fc.record({
    group: fc.constant(group),
    domainKeyVersion: fc.nat(),
    domainKeyCheckTag: someBytes,
    epoch: uint64,
    number: uint64,
    previousDigest: fc.oneof(fc.constant(''), hexadecimal(32)),
    captureStartedMs: fc.maxSafeNat(),
    source: fc.record({
      serial: fc.string(),
      manufacturer: fc.string({ unit: 'grapheme' }),
      model: fc.string(),
      firmware: fc.string(),
      identitySha256: fc.constant(identitySha256),
    }),
    dataKeys: fc.uniqueArray(
      fc.record({ id: hexadecimal(16), blobSha256: hexadecimal(32), blobSize: fc.nat() }),
      byId(({ id }) => id),
    ),
    entries: fc.uniqueArray(
      entry,
      byId(({ objectId }) => objectId),
    ),
    uncaptured: fc.uniqueArray(
      fc.record({
        objectId: hexadecimal(16),
        objectClass: fc.constantFrom('secret-key', 'private-key', 'other' as const),
        reason: fc.constantFrom('unextractable', 'settling', 'length-unknown' as const),
      }),
      byId(({ objectId }) => objectId),
    ),
    tombstones: fc.uniqueArray(
      fc
        .record({
          entry,
          epoch: uint64,
          generation: uint64,
          deletedMs: fc.maxSafeNat(),
          domainKeyVersion: fc.nat({ max: 3 }),
          dataKey: fc.record({ blobSha256: hexadecimal(32), blobSize: fc.nat() }),
          cloneDataKey: fc.record({ blobSha256: hexadecimal(32), blobSize: fc.nat() }),
          retentionMs: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
        })
        .map(({ dataKey, cloneDataKey, domainKeyVersion, ...rest }) => ({
          ...rest,
          ...(domainKeyVersion === 0 ? {} : { domainKeyVersion }),
          ...(domainKeyVersion === 0 || rest.entry.dataKeyId === undefined
            ? {}
            : { dataKey: { id: rest.entry.dataKeyId, ...dataKey } }),
          ...(domainKeyVersion === 0 || rest.entry.clone === undefined
            ? {}
            : { cloneDataKey: { id: rest.entry.clone.dataKeyId, ...cloneDataKey } }),
        })),
      byId(({ entry: { objectId } }) => objectId),
    ),
  });

/** The same generation with its lists in the order in which a manifest has them. */
export function sorted(given: Generation): Generation {
  const order = <T>(list: readonly T[], idOf: (item: T) => string): T[] =>
    [...list].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  return {
    ...given,
    dataKeys: order(given.dataKeys, ({ id }) => id),
    entries: order(given.entries, ({ objectId }) => objectId),
    uncaptured: order(given.uncaptured, ({ objectId }) => objectId),
    tombstones: order(given.tombstones, ({ entry: { objectId } }) => objectId),
  };
}
