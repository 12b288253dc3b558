/**
 * Brings objects that another member has sealed apart into the partition of the active member. Keys are immutable, so
 * the union of two partitions loses nothing. Nothing in the partition is changed or replaced: what would answer to the
 * name of an object that is here stays where it was.
 *
 * The generations that offer the objects come from another site, and are untrusted beyond their signature. Their words
 * about an object count for that object only.
 */
import { bytesEqual, type ErrorCode, hex } from '@antipode/runtime';
import { isExcluded, type ObjectFilter } from '../capture/filter.ts';
import { type Entry, entryDigest, type SealedGeneration } from '../model/generation.ts';
import { type Handle, kindOf, type ObjectId } from '../model/object.ts';
import { asSeen, destroyDoomed, seenAs } from '../objects/doomed.ts';
import {
  entryRecognitionKey,
  examine,
  isKnownByDomainKey,
  knowableByDomainKey,
  pair,
  typesByBlob,
} from '../objects/recognise.ts';
import { namesOf } from './apart.ts';
import { applyGeneration } from './apply.ts';
import { domainKeyOf, hasDomainKeyOf, type Replica, ReplicaMemory } from './replica.ts';
import { lookForNamesakes } from './set-aside.ts';

/**
 * - `merged`: made here by this merge, and proved by use.
 * - `present`: the partition has this key already.
 * - `deleted`: the group has deleted this key. It does not come back this way.
 * - `name-taken`: another object of its class has its label or CKA_ID. The same goes for all objects with that CKA_ID.
 * - `excluded`: a rule of the group's filter keeps such objects at their site.
 * - `unopenable`: the domain key version that it is sealed under is not here.
 * - `refused`: the token did not take it.
 */
export type MergeVerdict = 'merged' | 'present' | 'deleted' | 'name-taken' | 'excluded' | 'unopenable' | 'refused';

export interface MergedObject {
  readonly objectId: ObjectId;
  readonly kind: string;
  readonly verdict: MergeVerdict;
  /** Why the token did not take it. */
  readonly code?: ErrorCode;
}

export interface MergeOptions extends Omit<Replica, 'memory' | 'target' | 'previous'> {
  /** The newest generation of this partition. */
  readonly newest: SealedGeneration;
  /** Generations that other members have sealed apart, verified. Their blobs are here. */
  readonly offers: readonly SealedGeneration[];
  readonly wanted: ReadonlySet<ObjectId>;
  readonly filter: ObjectFilter;
  readonly blobOf: (sha256: string) => Uint8Array;
  /**
   * Called before objects of an offer are made. Durable on return: the next capture must know their entries, or it would
   * take a key whose length the token forgets for another one.
   */
  readonly adopt: (digest: string, objectIds: readonly ObjectId[]) => void;
}

/** Objects that are wanted and that no offer has are not in the answer. @throws the codes of an apply */
export async function mergeObjects(options: MergeOptions): Promise<MergedObject[]> {
  const { newest, offers, wanted } = options;
  const results = new Map<ObjectId, MergedObject>();
  const previous: SealedGeneration[] = [newest];
  for (const offer of offers) {
    const entries = offer.generation.entries.filter(({ objectId }) => wanted.has(objectId) && !results.has(objectId));
    if (entries.length === 0) continue;
    const { target, outcomes } = await mergeOne(options, { offer, entries, previous });
    previous.push(target);
    for (const entry of entries)
      results.set(entry.objectId, { objectId: entry.objectId, kind: kindOf(entry), ...outcomes.get(entry)! });
  }
  return [...results.values()];
}

type Outcome = Pick<MergedObject, 'verdict' | 'code'>;

async function mergeOne(
  options: MergeOptions,
  { offer, entries, previous }: { offer: SealedGeneration; entries: readonly Entry[]; previous: SealedGeneration[] },
): Promise<{ target: SealedGeneration; outcomes: Map<Entry, Outcome> }> {
  const { keyring, blobOf } = options;
  const outcomes = new Map<Entry, Outcome>();
  const without = (some: readonly Entry[]): SealedGeneration => ({
    ...offer,
    generation: { ...offer.generation, entries: some, uncaptured: [], tombstones: [] },
  });
  const open = (): Entry[] => entries.filter((entry) => !outcomes.has(entry));
  if (!hasDomainKeyOf(keyring, offer)) {
    for (const entry of entries) outcomes.set(entry, { verdict: 'unopenable' });
    return { target: without([]), outcomes };
  }
  for (const [entry, verdict] of judge(options, { entries, previous })) outcomes.set(entry, { verdict });
  const replica = { ...options, memory: new ReplicaMemory(), target: without(open()), previous };
  // The partition may hold what its newest generation does not have: a key that was made since.
  const bearers = await lookForNamesakes(replica);
  const taken = new Set(bearers.flatMap(namesOf));
  // An object of a merge that was cut short is not proved yet: it is merged again.
  const begun = new Set(options.journal.openIntents().map(({ objectId }) => objectId));
  const isHere = (entry: Entry): boolean => {
    const known = replica.memory.known.get(entry.objectId);
    return known !== undefined && !begun.has(entry.objectId) && bytesEqual(known.digest, entryDigest(entry));
  };
  for (const entry of open()) {
    if (isHere(entry)) outcomes.set(entry, { verdict: 'present' });
    else if (namesOf(entry).some((name) => taken.has(name))) outcomes.set(entry, { verdict: 'name-taken' });
  }
  holdBackTogether(entries, outcomes);
  const target = without(open());
  if (target.generation.entries.length === 0) return { target, outcomes };
  options.adopt(
    offer.digest,
    target.generation.entries.map(({ objectId }) => objectId),
  );
  const memory = new ReplicaMemory();
  const { refused, applied } = await applyGeneration({
    ...replica,
    memory,
    target,
    proved: undefined,
    doubted: 'everything',
    blobOf,
  });
  const codes = new Map(refused.map(({ objectId, code }) => [objectId, code]));
  const made = new Map(applied.map((objectId) => [memory.known.get(objectId)!.handle, objectId]));
  const deleted = await destroyDeleted(options, { offer: target, made });
  for (const entry of open()) {
    const code = codes.get(entry.objectId);
    if (deleted.has(entry.objectId)) outcomes.set(entry, { verdict: 'deleted' });
    else outcomes.set(entry, code === undefined ? { verdict: 'merged' } : { verdict: 'refused', code });
  }
  return { target, outcomes };
}

/**
 * A secret that the group deleted before its domain key changed shows only here: under the older key its value is another
 * one than in the offer. It leaves the token again, before a capture can take it for a new key.
 */
async function destroyDeleted(
  { provider, keyring, clock, newest, checkFence }: MergeOptions,
  { offer, made }: { offer: SealedGeneration; made: ReadonlyMap<Handle, ObjectId> },
): Promise<Set<ObjectId>> {
  const { tombstones, group } = newest.generation;
  const buried = tombstones.map(({ entry }) => entry).filter(isKnownByDomainKey);
  if (buried.length === 0 || made.size === 0) return new Set();
  const domainKey = domainKeyOf(keyring, offer);
  const byBlob = typesByBlob(buried);
  const objects = (await provider.read([...made.keys()])).filter((object) => object !== undefined);
  const found = new Set<Handle>();
  for (const { handle: older } of keyring.domainKeys(group)) {
    if (older === domainKey) continue;
    const knowable = knowableByDomainKey(objects, byBlob);
    const examined = await examine(provider, { clock, domainKey: older, objects: knowable, byBlob });
    for (const handle of pair(examined, buried).matched.keys()) found.add(handle);
  }
  const doomed = await examine(provider, {
    clock,
    domainKey,
    objects: objects.filter(({ handle }) => found.has(handle)),
  });
  await destroyDoomed(provider, {
    clock,
    domainKey,
    doomed: doomed.map((one) => asSeen({ handle: one.object.handle, seen: seenAs(one) })),
    checkFence,
  });
  return new Set([...found].map((handle) => made.get(handle)!));
}

/** Verdicts by the generations alone, before the token is asked. */
function judge(
  { newest, filter }: MergeOptions,
  { entries, previous }: { entries: readonly Entry[]; previous: readonly SealedGeneration[] },
): Map<Entry, MergeVerdict> {
  const live = previous.flatMap(({ generation }) => generation.entries);
  const buried = newest.generation.tombstones.map(({ entry }) => entry);
  const values = new Set(live.map(entryRecognitionKey));
  const deletedValues = new Set(buried.map(entryRecognitionKey));
  const deletedIds = new Set(buried.map(({ objectId }) => objectId));
  const names = new Set(live.flatMap(namesOf));
  const byName = Map.groupBy(
    entries.flatMap((entry) => namesOf(entry).map((name) => ({ name, entry }))),
    ({ name }) => name,
  );
  const verdictOf = (entry: Entry): MergeVerdict | undefined => {
    const value = entryRecognitionKey(entry);
    if (values.has(value)) return 'present';
    if (deletedIds.has(entry.objectId) || deletedValues.has(value)) return 'deleted';
    if (isExcluded(entry, filter)) return 'excluded';
    // Of two that bear one name, only an operator can tell which one is meant.
    const isTaken = (name: string): boolean => names.has(name) || byName.get(name)!.length > 1;
    return namesOf(entry).some(isTaken) ? 'name-taken' : undefined;
  };
  return new Map(
    entries.flatMap((entry) => {
      const verdict = verdictOf(entry);
      return verdict === undefined ? [] : [[entry, verdict] as const];
    }),
  );
}

/** The halves of a pair and its certificate have one CKA_ID. None of them comes alone beside those of another pair. */
function holdBackTogether(entries: readonly Entry[], outcomes: Map<Entry, Outcome>): void {
  const idOf = ({ attributes: { id } }: Entry): string => hex(id ?? new Uint8Array());
  const held = new Set(entries.filter((entry) => outcomes.get(entry)?.verdict === 'name-taken').map(idOf));
  held.delete('');
  for (const entry of entries)
    if (!outcomes.has(entry) && held.has(idOf(entry))) outcomes.set(entry, { verdict: 'name-taken' });
}
