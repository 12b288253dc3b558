/** The tombstones of a new generation: those that it keeps, and one for each object that is deleted now. */
import { blobsOfTombstone } from '../model/blobs.ts';
import { type Entry, type Tombstone, withoutClone } from '../model/generation.ts';
import { type CaptureContext, isLive } from './capture-context.ts';
import type { UncapturedObject } from './uncaptured.ts';

/** The default retention: a month, in which somebody should have missed a key. */
export const RETENTION_MS = 30 * 86_400_000;

export function tombstonesOf(
  context: CaptureContext,
  {
    entries,
    gone,
    uncaptured,
    number,
    deletedMs,
  }: {
    entries: readonly Entry[];
    gone: readonly Entry[];
    uncaptured: readonly UncapturedObject[];
    /** Of the new generation. */
    number: bigint;
    deletedMs: number;
  },
): Tombstone[] {
  const { options, previous, buried } = context;
  const { epoch, retentionMs = RETENTION_MS, isExpired = () => false } = options;
  const captured = new Set(entries.map(({ objectId }) => objectId));
  // The tombstone of an object that is still in this token stays. Without it the object would pass for new, and come
  // back.
  const present = new Set(uncaptured.flatMap(({ objectId, reason }) => (reason === 'deleted' ? objectId : [])));
  const kept = [...buried.values()].filter(
    (tombstone) =>
      !captured.has(tombstone.entry.objectId) && (present.has(tombstone.entry.objectId) || !isExpired(tombstone)),
  );
  const added = gone
    .filter((entry) => isLive(context, entry))
    .map((entry): Tombstone => {
      const dataKeyOf = (wanted: string | undefined) => previous?.dataKeys.find(({ id }) => id === wanted);
      const [dataKey, cloneDataKey] = [entry.dataKeyId, entry.clone?.dataKeyId].map(dataKeyOf);
      return {
        entry,
        epoch,
        generation: number,
        deletedMs,
        domainKeyVersion: previous!.domainKeyVersion,
        ...(dataKey === undefined ? {} : { dataKey }),
        ...(cloneDataKey === undefined ? {} : { cloneDataKey }),
        retentionMs,
      };
    });
  return [...kept, ...added].map((tombstone) => withoutLost(context, tombstone));
}

/** A tombstone names no blob that every store has lost: no member could be whole with it. */
function withoutLost({ options: { lost } }: CaptureContext, tombstone: Tombstone): Tombstone {
  const isLost = (one: Tombstone): boolean => [...blobsOfTombstone(one)].some((blob) => lost?.has(blob));
  if (!lost?.size || !isLost(tombstone)) return tombstone;
  const { cloneDataKey: _cloneDataKey, ...sealed } = { ...tombstone, entry: withoutClone(tombstone.entry) };
  if (!isLost(sealed)) return sealed;
  const { domainKeyVersion: _version, dataKey: _dataKey, ...rest } = sealed;
  return rest;
}
