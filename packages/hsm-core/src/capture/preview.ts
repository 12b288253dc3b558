/**
 * Shows what a capture would make of a partition, object by object. It runs the very steps of a capture and stops before
 * the manifest: nothing is signed, stored or remembered, and nothing in the token changes.
 */
import type { Entry } from '../model/generation.ts';
import type { Handle, ObjectId, ObservedObject, UncapturedReason } from '../model/object.ts';
import { type CaptureContext, contextOf, isLive, type LookingOptions } from './capture-context.ts';
import { CaptureMemory } from './capture-memory.ts';
import { gather } from './gathering.ts';
import { matchSightings } from './match.ts';
import { scanPartition } from './scan.ts';
import { nameUncaptured, type UncapturedObject } from './uncaptured.ts';

export type PreviewOptions = Omit<LookingOptions, 'memory'>;

export interface PreviewedObject {
  readonly object: ObservedObject;
  /** Its entry in the previous generation. */
  readonly before: Entry | undefined;
  /** The name that a manifest has for it, or would have. Absent if its first capture is still to come. */
  readonly objectId: ObjectId | undefined;
  /** The reason why the capture would not take it as it is now. */
  readonly reason: UncapturedReason | undefined;
}

export interface CapturePreview {
  readonly objects: readonly PreviewedObject[];
  /** Live entries of the previous generation whose object is not in the partition any more. */
  readonly gone: readonly Entry[];
  /** Live entries that a capture would keep, although the partition shows no object for them. */
  readonly kept: readonly Entry[];
}

/** @throws DOMAIN_KEY_MISSING, HSM_WORKER_LOST, HSM_UNAVAILABLE, HSM_REFUSED */
export async function previewCapture(options: PreviewOptions): Promise<CapturePreview> {
  const context = await contextFor(options);
  const scan = await scanPartition(context);
  // A scan without a memory is never a routine one, so it always has something to report.
  if (scan === undefined) return { objects: [], gone: [], kept: [] };
  const { candidates, captured, uncaptured, absence } = await gather(context, scan);
  const before = new Map(candidates.map((candidate) => [candidate.examined.object.handle, candidate.before]));
  const names = await namesOf(context, uncaptured);
  const refused = new Set(uncaptured.map(({ object }) => object.handle));
  const taken = captured.filter(({ object }) => !refused.has(object.handle));
  return {
    objects: [
      ...taken.map(({ object }) => {
        const entry = before.get(object.handle);
        return { object, before: entry, objectId: entry?.objectId, reason: undefined };
      }),
      ...uncaptured.map(({ object, reason }) => ({
        object,
        before: before.get(object.handle),
        objectId: names.get(object.handle),
        reason,
      })),
    ],
    gone: absence.gone.filter((entry) => isLive(context, entry)),
    kept: absence.kept,
  };
}

/**
 * Finds out which entry of a generation each object of the partition is, and goes no further. Objects that no entry
 * explains get the name that a capture would report them by.
 */
export async function recogniseObjects(options: PreviewOptions): Promise<CapturePreview> {
  const context = await contextFor(options);
  const scan = await scanPartition(context);
  if (scan === undefined) return { objects: [], gone: [], kept: [] };
  const { candidates, absent } = await matchSightings(context, scan);
  const seen = candidates.filter(({ hasVanished }) => !hasVanished);
  const unexplained = seen
    .filter(({ before }) => before === undefined)
    .map(({ examined }): UncapturedObject => ({ object: examined.object, reason: 'unreadable', objectId: undefined }));
  const names = await namesOf(context, unexplained);
  return {
    objects: seen.map(({ examined: { object }, before, isChanged }) => ({
      object,
      before,
      objectId: before?.objectId ?? names.get(object.handle),
      reason: isChanged ? 'value-changed' : undefined,
    })),
    gone: absent.filter((entry) => isLive(context, entry)),
    kept: [],
  };
}

async function contextFor(options: PreviewOptions): Promise<CaptureContext> {
  return contextOf({ ...options, memory: new CaptureMemory() }, await options.provider.describe());
}

async function namesOf(
  { options: { provider }, domainKey }: CaptureContext,
  uncaptured: readonly UncapturedObject[],
): Promise<Map<Handle, ObjectId>> {
  const named = await nameUncaptured(uncaptured, (values) => provider.tagBytes(domainKey().handle, values));
  return new Map(uncaptured.map(({ object }, index) => [object.handle, named[index]!.objectId]));
}
