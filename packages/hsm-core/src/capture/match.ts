/**
 * The second step of a capture: finds for each sighting the entry of the previous generation that it is. The order is:
 * by a known handle and the value, by the value alone, by the value under an older domain key, by names.
 *
 * The last step keeps an entry whose object is present and does not answer, so that the generation does not lose it.
 */
import { Pace, runInSlices } from '@antipode/runtime';
import type { Entry } from '../model/generation.ts';
import type { Handle } from '../model/object.ts';
import {
  type Examined,
  examine,
  hasValueOf,
  isKnownByDomainKey,
  knowableByDomainKey,
  pairing,
  typesByBlob,
} from '../objects/recognise.ts';
import { type CaptureContext, isLive } from './capture-context.ts';
import { pairNamesakes, type Verdict } from './namesakes.ts';
import { carriedIds, type Scan, type Sighting } from './scan.ts';

/** A sighting, with the entry that captured it before. */
export interface Candidate extends Sighting {
  readonly before: Entry | undefined;
  /** The object has the names of the captured one, and another value. */
  readonly isChanged: boolean;
}

export interface Matches {
  readonly candidates: readonly Candidate[];
  /** Entries, live and buried, that no sighting matches. */
  readonly absent: readonly Entry[];
}

export async function matchSightings(context: CaptureContext, scan: Scan): Promise<Matches> {
  const seen = scan.sightings.map(({ examined }) => examined);
  const { byHandle, rest } = await matchByHandle(context, scan);
  const byValue = await runInSlices(
    pairing(
      seen.filter(({ object }) => !byHandle.has(object.handle)),
      rest,
    ),
    context.options.clock,
  );
  const buried = await matchBuried(context, {
    unmatched: byValue.unmatched,
    buried: byValue.absent.filter((entry) => !isLive(context, entry)),
  });
  const namesakes = matchNamesakes(context, {
    unmatched: byValue.unmatched.filter(({ object }) => !buried.has(object.handle)),
    absent: byValue.absent.filter((entry) => isLive(context, entry)),
    present: scan.first.handles,
  });
  const byName = new Map([...namesakes].map(([handle, { entry }]) => [handle, entry]));
  const matched = new Map([...byHandle, ...byValue.matched, ...buried, ...byName]);
  const found = new Set([...buried.values(), ...byName.values()]);
  return {
    candidates: scan.sightings.map((sighting): Candidate => {
      const { handle } = sighting.examined.object;
      return { ...sighting, before: matched.get(handle), isChanged: namesakes.get(handle)?.verdict === 'changed' };
    }),
    absent: byValue.absent.filter((entry) => !found.has(entry)),
  };
}

/** The value counts as well: the object under a known handle may be another one by now. */
async function matchByHandle(
  { options, live, buried, remembered }: CaptureContext,
  { sightings, carried }: Scan,
): Promise<{ byHandle: Map<Handle, Entry>; rest: Entry[] }> {
  const entries = [...(options.adopted ?? []), ...live.values(), ...buried.keys()];
  const byId = new Map(entries.map((entry) => [entry.objectId, entry]));
  for (const objectId of carriedIds(carried)) byId.delete(objectId);
  const byHandle = new Map<Handle, Entry>();
  const pace = new Pace(options.clock);
  for (const { examined } of sightings) {
    if (pace.isDue()) await pace.makeWay();
    const { handle } = examined.object;
    const objectId = remembered?.objectIds.get(handle);
    const entry = objectId === undefined ? undefined : byId.get(objectId);
    if (entry === undefined || !hasValueOf(examined, entry)) continue;
    byHandle.set(handle, entry);
    byId.delete(entry.objectId);
  }
  return { byHandle, rest: [...byId.values()] };
}

/**
 * An object that was deleted before the domain key changed is recognised by its blob under the key of that time. No
 * capture has sealed its tombstone again. Unrecognised, it would pass for new and come back to life at every member.
 */
async function matchBuried(
  { options, previous }: CaptureContext,
  { unmatched, buried }: { unmatched: readonly Examined[]; buried: readonly Entry[] },
): Promise<Map<Handle, Entry>> {
  const { provider, keyring, clock, group } = options;
  const matched = new Map<Handle, Entry>();
  let entries = buried.filter((entry) => isKnownByDomainKey(entry));
  const byBlob = typesByBlob(entries);
  let objects = knowableByDomainKey(
    unmatched.map(({ object }) => object),
    byBlob,
  );
  for (const { handle: domainKey, version } of keyring.domainKeys(group)) {
    if (version === previous?.domainKeyVersion) continue;
    if (entries.length === 0 || objects.length === 0) break;
    const examined = await examine(provider, { clock, domainKey, objects, byBlob });
    const found = await runInSlices(pairing(examined, entries), clock);
    for (const [handle, entry] of found.matched) matched.set(handle, entry);
    entries = found.absent;
    objects = found.unmatched.map(({ object }) => object);
  }
  return matched;
}

/** Objects that still are the captured ones, or may be. An operator may have said that one is another object. */
function matchNamesakes(
  { options, remembered, description }: CaptureContext,
  {
    unmatched,
    absent,
    present,
  }: { unmatched: readonly Examined[]; absent: readonly Entry[]; present: ReadonlySet<Handle> },
): Map<Handle, { readonly entry: Entry; readonly verdict: Exclude<Verdict, 'replaced'> }> {
  const { accepted, hasRestored = false } = options;
  return pairNamesakes(
    unmatched,
    absent.filter(({ objectId }) => accepted?.has(objectId) !== true),
    {
      handles: remembered?.objectIds,
      present,
      reusesHandles: description.reusesHandles === true,
      hasRestored,
    },
  );
}
