/**
 * The first step of a capture: two looks at the partition. The second look covers what is new, changed or missing. The
 * token wraps what the capture will most likely need while the second look waits, so that every wrap lies between two
 * equal reads.
 */
import { Pace } from '@antipode/runtime';
import type { Entry } from '../model/generation.ts';
import { type Handle, isWrapped, type ObjectId, type ObservedObject } from '../model/object.ts';
import { type Examined, examine, handlesOf, typesByBlob } from '../objects/recognise.ts';
import type { HsmProvider, WrapOutcome } from '../provider/provider.ts';
import type { HiddenObject } from '../provider/reader.ts';
import { type CaptureContext, isBroughtBack } from './capture-context.ts';
import { isExcluded } from './filter.ts';
import { reasonOf } from './uncaptured.ts';

/** One look at the partition, without its own keys. */
export interface View {
  readonly number: number;
  readonly handles: ReadonlySet<Handle>;
  readonly objects: readonly ObservedObject[];
  /** See the look of a provider. */
  readonly hidden: readonly HiddenObject[];
  /** The store of the token is older than the newest capture. */
  readonly isOlderCopy: boolean;
}

/** One object, as the two looks saw it. */
export interface Sighting {
  readonly examined: Examined;
  /** Both looks read the same. Otherwise another process may still be making the object. */
  readonly readTwice: boolean;
  /** Only the first look saw the object. */
  readonly hasVanished: boolean;
}

/** An unchanged object. The capture takes its entry over without reading it. */
export interface CarriedObject {
  readonly handle: Handle;
  readonly entry: Entry;
}

export interface Scan {
  readonly first: View;
  readonly carried: readonly CarriedObject[];
  readonly sightings: readonly Sighting[];
  /** Wraps under the domain key of this capture that the token has made so far. */
  readonly wraps: ReadonlyMap<Handle, WrapOutcome>;
  /** By the last look at everything. */
  readonly hidden: readonly HiddenObject[];
}

/** Returns undefined if the first look finds nothing to capture. */
export async function scanPartition(context: CaptureContext): Promise<Scan | undefined> {
  const { first, isRoutine } = await lookFirst(context);
  if (isRoutine && isQuiet(context, first) && !hasExpired(context)) return undefined;
  const carried = isRoutine ? await carriedIn(context, first) : [];
  const examiner = new Examiner(context);
  const examined = [
    ...(await examiner.examine(first.objects)),
    ...(await readUnnamed(context, { first, carried, examiner })),
  ];
  await examiner.wrapAhead(examined);
  const { sightings, hidden } = await lookAgain(context, { first, examined, examiner });
  return { first, carried, sightings, wraps: examiner.wraps, hidden };
}

async function look({ options }: CaptureContext, request: Parameters<HsmProvider['look']>[0]): Promise<View> {
  const own = options.keyring.ownHandles;
  const { number, handles, objects, hidden = [], olderFor = [] } = await options.provider.look(request);
  return {
    number,
    hidden,
    isOlderCopy: olderFor.includes(options.group),
    handles: new Set([...handles].filter((handle) => !own.has(handle))),
    objects: objects.filter(({ handle }) => !own.has(handle)),
  };
}

/** A routine look only has to report what has changed since the previous generation of the same tenure. */
async function lookFirst(context: CaptureContext): Promise<{ first: View; isRoutine: boolean }> {
  const { options, remembered, live, buried } = context;
  // An operator's decisions since the previous capture concern objects that did not change.
  const isAccepted = [...(options.accepted ?? [])].some((objectId) => live.has(objectId));
  const isRestored = [...buried.keys()].some(({ objectId }) => isBroughtBack(context, objectId));
  const isComparable =
    remembered !== undefined &&
    !isAccepted &&
    !isRestored &&
    !options.lost?.size &&
    !context.isReseal &&
    !context.isFirstOfTenure &&
    remembered.filterKey === context.filterKey;
  if (!isComparable) return { first: await look(context, {}), isRoutine: false };
  return { first: await look(context, { since: remembered.look }), isRoutine: true };
}

/**
 * The look reports no object, and the handles are the remembered ones. Another provider's memory has other handles. A
 * token that failed is asked again.
 */
function isQuiet({ remembered, askedAgain }: CaptureContext, { handles, objects, hidden, isOlderCopy }: View): boolean {
  if (askedAgain.size > 0 || isOlderCopy) return false;
  const before = remembered?.hidden;
  const settled = hidden.filter(({ seenTwice }) => seenTwice);
  if (settled.length !== before?.size || !settled.every(({ id }) => before.has(id))) return false;
  const known = remembered?.objectIds;
  return objects.length === 0 && handles.size === known?.size && [...handles].every((handle) => known.has(handle));
}

/** Whether the retention of a deleted object is over. A new generation then says so, even if nothing else changed. */
function hasExpired({ options: { isExpired = () => false }, buried }: CaptureContext): boolean {
  return [...buried.values()].some((tombstone) => isExpired(tombstone));
}

/**
 * Captured objects that the look sees and does not report: they have not changed. An object that the token failed to give
 * is none of them, since the capture asks about it again.
 */
async function carriedIn(
  { options, remembered, askedAgain, live }: CaptureContext,
  first: View,
): Promise<CarriedObject[]> {
  const reported = new Set(handlesOf(first.objects));
  const carried: CarriedObject[] = [];
  const pace = new Pace(options.clock);
  for (const handle of first.handles) {
    if (pace.isDue()) await pace.makeWay();
    const objectId = remembered?.objectIds.get(handle);
    const isAsked = reported.has(handle) || askedAgain.has(handle);
    const entry = objectId === undefined || isAsked ? undefined : live.get(objectId);
    if (entry !== undefined) carried.push({ handle, entry });
  }
  return carried;
}

/**
 * Reads the unchanged objects that have no entry. The name of an uncaptured object depends on all objects like it. An
 * object with the name of a deleted one must be recognised by its value again, or it would pass for new. An object that
 * the token failed to give is asked for again.
 */
async function readUnnamed(
  { options, remembered, askedAgain, buried }: CaptureContext,
  { first, carried, examiner }: { first: View; carried: readonly CarriedObject[]; examiner: Examiner },
): Promise<Examined[]> {
  const named = new Set([...handlesOf(first.objects), ...carried.map(({ handle }) => handle)]);
  const unnamed = [...first.handles].filter((handle) => !named.has(handle));
  const objects = (await options.provider.read(unnamed)).filter((object) => object !== undefined);
  const buriedIds = new Set([...buried.keys()].map(({ objectId }) => objectId));
  const isBuried = ({ handle }: ObservedObject): boolean => buriedIds.has(remembered?.objectIds.get(handle) ?? '');
  const isExamined = (object: ObservedObject): boolean => isBuried(object) || askedAgain.has(object.handle);
  const examined = objects.filter(isExamined);
  const rest = objects.filter((object) => !isExamined(object)).map((object) => ({ object }));
  return examined.length === 0 ? rest : [...(await examiner.examine(examined)), ...rest];
}

/**
 * A new or changed object counts only if two reads at least 250 ms apart are equal: another process may be making it.
 * An object counts as gone only if neither look sees it. Without known handles, the second look has to search for
 * missing objects.
 */
async function lookAgain(
  context: CaptureContext,
  { first, examined, examiner }: { first: View; examined: readonly Examined[]; examiner: Examiner },
): Promise<Pick<Scan, 'sightings' | 'hidden'>> {
  const { remembered, live, description } = context;
  const handles = examined.map(({ object }) => object.handle);
  const missing = [...(remembered?.objectIds.keys() ?? [])].filter((handle) => !first.handles.has(handle));
  const mustSearch = live.size > 0 && remembered === undefined;
  const second = await look(context, {
    since: first.number,
    ...(mustSearch ? {} : { handles: [...handles, ...missing] }),
  });
  const changed = new Map(second.objects.map((object) => [object.handle, object]));
  const again = examined.map((before): Sighting => {
    const { handle, readDigest } = before.object;
    if (!second.handles.has(handle)) return { examined: before, readTwice: false, hasVanished: true };
    const object = changed.get(handle);
    // A device that reuses handles reports an object that shows nothing of its value at every look.
    const isSame = description.reusesHandles === true && object?.readDigest === readDigest;
    return object === undefined || isSame
      ? { examined: before, readTwice: true, hasVanished: false }
      : { examined: { ...before, object }, readTwice: false, hasVanished: false };
  });
  const before = new Set(handles);
  const fresh = second.objects.filter(({ handle }) => !before.has(handle));
  const late = fresh.length === 0 ? [] : await examiner.examine(fresh);
  return {
    sightings: [...again, ...late.map((one): Sighting => ({ examined: one, readTwice: false, hasVanished: false }))],
    hidden: mustSearch ? second.hidden : first.hidden,
  };
}

/** Asks the token for what its looks do not show, and keeps every wrap that sealing can use. */
class Examiner {
  readonly wraps = new Map<Handle, WrapOutcome>();
  readonly #context: CaptureContext;
  readonly #byBlob: ReturnType<typeof typesByBlob>;

  constructor(context: CaptureContext) {
    this.#context = context;
    const { live, buried, options } = context;
    this.#byBlob = typesByBlob([...live.values(), ...buried.keys(), ...(options.adopted ?? [])]);
  }

  /**
   * Wraps and tags what only that recognises, under the domain key of the previous generation. An object with a known
   * handle is examined too: the look reports it because it differs from what was read there before. It may be another
   * object.
   */
  async examine(objects: readonly ObservedObject[]): Promise<Examined[]> {
    const { provider, keyring, clock, group, domainKeyVersion } = this.#context.options;
    const version = this.#context.previous?.domainKeyVersion ?? domainKeyVersion;
    const domainKey = keyring.domainKey(group, version).handle;
    const examined = await examine(provider, { clock, domainKey, objects, byBlob: this.#byBlob });
    if (version === domainKeyVersion)
      for (const { object, blob } of examined)
        if (blob !== undefined) this.wraps.set(object.handle, { handle: object.handle, blob });
    return examined;
  }

  /** Wraps what is most likely new. Without a memory of the previous generation, most objects are not new. */
  async wrapAhead(examined: readonly Examined[]): Promise<void> {
    const { options, previous, remembered, hasTrusted, domainKey } = this.#context;
    if (previous !== undefined && remembered === undefined) return;
    const handles = examined
      .filter(
        ({ object, refusal }) =>
          isWrapped(object.objectClass) &&
          refusal === undefined &&
          !this.wraps.has(object.handle) &&
          remembered?.objectIds.has(object.handle) !== true &&
          !isExcluded(object, options.filter) &&
          reasonOf(object, { isNew: true, hasTrusted }) === undefined,
      )
      .map(({ object }) => object.handle);
    if (handles.length === 0) return;
    for (const outcome of await options.provider.wrap(domainKey().handle, handles))
      this.wraps.set(outcome.handle, outcome);
  }
}

/** Ids of the carried objects. */
export const carriedIds = (carried: readonly CarriedObject[]): Set<ObjectId> =>
  new Set(carried.map(({ entry }) => entry.objectId));
