/**
 * The fifth step of a capture: tells which captured objects are deleted, which are hidden, and which were never
 * restored.
 */
import type { Entry, Uncaptured } from '../model/generation.ts';
import type { ObservedObject } from '../model/object.ts';
import { type CaptureContext, isLive, isUnrestored } from './capture-context.ts';
import type { Candidate, Matches } from './match.ts';
import type { DoubtfulObject } from './sealing.ts';
import type { UncapturedObject } from './uncaptured.ts';

export interface Absence {
  /**
   * Entries that the generation keeps although no object matches them: the object is hidden, or was never restored
   * here.
   */
  readonly kept: readonly Entry[];
  /** Deleted objects. */
  readonly gone: readonly Entry[];
  /** Reports each object that was never restored here: this partition cannot serve it. */
  readonly unrestored: readonly Uncaptured[];
}

/** Reads doubtful objects again. Those that are gone were deleted during the reseal. */
export async function resolveDoubtful(
  { options }: CaptureContext,
  doubtful: readonly DoubtfulObject[],
): Promise<{ deleted: Entry[]; uncaptured: UncapturedObject[] }> {
  const handles = doubtful.map(({ object }) => object.handle);
  const again = handles.length === 0 ? [] : await options.provider.read(handles);
  return {
    deleted: doubtful.flatMap(({ before }, index) => (again[index] === undefined ? [before] : [])),
    uncaptured: doubtful.flatMap(({ object, before }, index): UncapturedObject[] =>
      again[index] === undefined ? [] : [{ object, reason: 'unreadable', objectId: before.objectId }],
    ),
  };
}

/** `missing` are the entries, live and buried, of which this capture has found no object. */
export function explainAbsence(
  context: CaptureContext,
  { candidates }: Pick<Matches, 'candidates'>,
  missing: readonly Entry[],
): Absence {
  const live = missing.filter((entry) => isLive(context, entry));
  const unrestored = live.filter((entry) => isUnrestored(context, entry));
  const kept = new Set(keptOf(context, { candidates, live, unrestored }));
  return {
    kept: [...kept],
    gone: missing.filter((entry) => !kept.has(entry) && !isUnrestored(context, entry)),
    unrestored: unrestored.map(({ objectId, objectClass, keyType }) => ({
      objectId,
      objectClass,
      ...(keyType === undefined ? {} : { keyType }),
      reason: 'unreadable',
    })),
  };
}

/** A reseal keeps no entry that it cannot seal again, except those whose object may be hidden. */
function keptOf(
  context: CaptureContext,
  { candidates, live, unrestored }: { candidates: readonly Candidate[]; live: Entry[]; unrestored: Entry[] },
): Entry[] {
  const { options, isReseal } = context;
  if (!mayHide(context, candidates)) return isReseal ? [] : unrestored;
  if (!isReseal) return live;
  // An object that an operator accepts as gone is not hidden.
  return live.filter((entry) => options.accepted?.has(entry.objectId) !== true && !isUnrestored(context, entry));
}

/** Whether the token shows a new object without its class. Any of the missing objects may be that one. */
function mayHide({ previous }: CaptureContext, candidates: readonly Candidate[]): boolean {
  const isNameless = ({ objectClass, isPartlyRead }: ObservedObject): boolean =>
    objectClass === 'other' && isPartlyRead === true;
  const nameless = candidates.filter(({ examined }) => isNameless(examined.object)).length;
  const known = previous?.uncaptured.filter(
    ({ objectClass, reason }) => objectClass === 'other' && reason === 'unreadable',
  );
  return nameless > (known?.length ?? 0);
}
