/**
 * The fifth step of a capture: tells which captured objects are deleted, which are hidden, and which were never
 * restored.
 */
import type { Entry, Uncaptured } from '../model/generation.ts';
import type { ObjectId, ObservedObject } from '../model/object.ts';
import { type CaptureContext, isLive, isUnrestored } from './capture-context.ts';
import { isUnderDomainKey } from './classification.ts';
import type { Matches } from './match.ts';
import type { Scan } from './scan.ts';
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
  /** Reports what lies in the store of the token and does not show, and each entry that may be hidden. */
  readonly hidden: readonly Uncaptured[];
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
  sight: Pick<Matches, 'candidates'> & Pick<Scan, 'hidden'>,
  missing: readonly Entry[],
): Absence {
  const live = missing.filter((entry) => isLive(context, entry));
  const unrestored = live.filter((entry) => isUnrestored(context, entry));
  const hidden = hiddenOf(context, sight, live);
  const kept = new Set([...unrestored.filter((entry) => staysAway(context, entry)), ...hidden]);
  return {
    kept: [...kept],
    gone: missing.filter((entry) => !kept.has(entry) && !isUnrestored(context, entry)),
    unrestored: unrestored.map(unreadable),
    hidden: [
      ...hidden.map(unreadable),
      // An empty file is what a killed process leaves, unless something is missing.
      ...sight.hidden
        .filter(({ hasContent, seenTwice }) => seenTwice && (hasContent || hidden.length > 0))
        .map(({ id }): Uncaptured => ({ objectId: id, objectClass: 'other', reason: 'unreadable' })),
    ],
  };
}

/**
 * Whether the generation keeps the entry of an object that was never restored here. A reseal that keeps one under the
 * former domain key is held (losses.ts), so it drops such an entry only when an operator accepts that.
 */
const staysAway = ({ options, isReseal }: CaptureContext, entry: Entry): boolean =>
  !isReseal || !isUnderDomainKey(entry) || options.accepted?.has(entry.objectId) !== true;

const unreadable = ({ objectId, objectClass, keyType }: Entry): Uncaptured => ({
  objectId,
  objectClass,
  ...(keyType === undefined ? {} : { keyType }),
  reason: 'unreadable',
});

/**
 * Entries whose objects may be in the token and not show: the token shows an object without its class, or its store has
 * one that it does not show. A damaged file is the cause of both, and a deletion takes the file away. Any of the missing
 * entries may be that object, so all of them stay, and are reported. They go when the object does, or when an operator
 * accepts them as gone. Nothing that was there before, with nothing missing, stands for an entry.
 */
function hiddenOf(
  { options, previous, remembered }: CaptureContext,
  { candidates, hidden }: Parameters<typeof explainAbsence>[1],
  live: readonly Entry[],
): Entry[] {
  const nameless = candidates.filter(({ examined }) => isNameless(examined.object)).length;
  if (nameless === 0 && hidden.length === 0) return [];
  const isKnown = (objectId: ObjectId): boolean => remembered?.hidden.has(objectId) === true;
  const uncaptured = previous?.uncaptured ?? [];
  const reported = new Set(uncaptured.map(({ objectId }) => objectId));
  const known = uncaptured.filter(
    ({ objectClass, reason, objectId }) => objectClass === 'other' && reason === 'unreadable' && !isKnown(objectId),
  );
  const isNew = nameless > known.length || hidden.some(({ id }) => !reported.has(id) && !isKnown(id));
  return live.filter(
    (entry) =>
      (isNew || reported.has(entry.objectId)) &&
      options.accepted?.has(entry.objectId) !== true &&
      options.unrestored?.has(entry.objectId) !== true,
  );
}

/** The token shows that there is an object, and not of which class. */
const isNameless = ({ objectClass, isPartlyRead }: ObservedObject): boolean =>
  objectClass === 'other' && isPartlyRead === true;
