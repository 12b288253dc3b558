/** Which blobs, data keys and domain keys restore the objects of a generation, in each form that they have. */
import { type Entry, type Generation, hasClone, type Tombstone } from './generation.ts';

/**
 * Every blob that a member needs to restore these entries and the deleted objects, hexadecimal. A blob that several
 * objects share repeats.
 */
export function* blobsNamed({
  dataKeys,
  entries,
  tombstones = [],
}: Pick<Generation, 'dataKeys' | 'entries'> & Partial<Pick<Generation, 'tombstones'>>): Iterable<string> {
  for (const { blobSha256 } of dataKeys) yield blobSha256;
  for (const entry of entries) yield* blobsOfEntry(entry);
  for (const tombstone of tombstones) if (tombstone.domainKeyVersion !== undefined) yield* blobsOfTombstone(tombstone);
}

/** The blobs that restore one deleted object. */
export function* blobsOfTombstone({ entry, dataKey, cloneDataKey }: Tombstone): Iterable<string> {
  if (dataKey !== undefined) yield dataKey.blobSha256;
  if (cloneDataKey !== undefined) yield cloneDataKey.blobSha256;
  yield* blobsOfEntry(entry);
}

/** The blobs of one entry, in both forms. */
export function* blobsOfEntry(entry: Entry): Iterable<string> {
  const { blobSha256 } = entry;
  if (blobSha256 !== undefined) yield blobSha256;
  if (hasClone(entry)) yield entry.clone!.blobSha256;
}

/** The domain key versions that a generation needs: its own, and those that open its deleted objects. */
export function versionsNeeded({ domainKeyVersion, tombstones }: Generation): ReadonlySet<number> {
  return new Set([domainKeyVersion, ...tombstones.flatMap((one) => one.domainKeyVersion ?? [])]);
}

/** Whether any tombstone does not say which version opens its blob (format 1). It may be any version. */
export function hasUnknownVersions({ tombstones }: Pick<Generation, 'tombstones'>): boolean {
  return tombstones.some(({ entry, domainKeyVersion }) => domainKeyVersion === undefined && isSealed(entry));
}

const isSealed = ({ blobSha256 }: Entry): boolean => blobSha256 !== undefined;

/** {@link blobsNamed} without repeats. */
export const blobDigests = (generation: Pick<Generation, 'dataKeys' | 'entries'>): string[] => [
  ...new Set(blobsNamed(generation)),
];

/** The data keys that restore these entries, whichever form a member takes. */
export const dataKeyIdsOf = (entries: Iterable<Entry>): ReadonlySet<string> =>
  new Set([...entries].flatMap(({ dataKeyId, clone }) => [dataKeyId ?? [], clone?.dataKeyId ?? []].flat()));
