/** The tombstones of a new generation: those that it keeps, and one for each object that is deleted now. */
import { blobsOfTombstone, type Entry, type Tombstone } from '../model/generation.ts';
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
      const dataKey = previous?.dataKeys.find(({ id }) => id === entry.dataKeyId);
      return {
        entry,
        epoch,
        generation: number,
        deletedMs,
        domainKeyVersion: previous!.domainKeyVersion,
        ...(dataKey === undefined ? {} : { dataKey }),
        retentionMs,
      };
    });
  return [...kept, ...added].map((tombstone) => withoutLost(context, tombstone));
}

/** A tombstone names no blob that every store has lost: no member could be whole with it. */
function withoutLost({ options: { lost } }: CaptureContext, tombstone: Tombstone): Tombstone {
  if (!lost?.size || ![...blobsOfTombstone(tombstone)].some((blob) => lost.has(blob))) return tombstone;
  const { domainKeyVersion: _version, dataKey: _dataKey, ...rest } = tombstone;
  return rest;
}
