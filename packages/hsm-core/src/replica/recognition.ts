/**
 * Reads a whole partition and finds out which object is which. The order is: what is already as the target wants it,
 * what a former generation names, what was deleted under an older domain key. Every object is recognised once per
 * provider and domain key.
 */
import { bytesEqual, hasCode, hex, Pace, runInSlices } from '@antipode/runtime';
import { looksOf } from '../capture/namesakes.ts';
import { attributesDigest, type Entry, entryDigest, type SealedGeneration } from '../model/generation.ts';
import type { Handle, ObjectId } from '../model/object.ts';
import { type Seen, seenAs } from '../objects/doomed.ts';
import {
  asObserved,
  EntriesByValue,
  type Examined,
  entryRecognitionKey,
  examine,
  grouping,
  isKnownByDomainKey,
  knowableByDomainKey,
  observedDigest,
  pairing,
  typesByBlob,
} from '../objects/recognise.ts';
import { HalfMadeKeys } from './half-made-keys.ts';
import { type ApplyIntent, domainKeyOf, type Known, type Replica, type ReplicaMemory } from './replica.ts';

/** Reads the whole partition, unless the memory has it under the domain key of the target. Returns that key. */
export async function recogniseReplica(replica: Replica): Promise<Handle> {
  const { keyring, memory, target } = replica;
  const domainKey = domainKeyOf(keyring, target);
  if (memory.domainKey !== domainKey) await new Recognition(replica, domainKey).run();
  return domainKey;
}

/**
 * The same for an apply, which trusts no memory. Somebody may have changed the partition since: an application may
 * still use a former active member. One look tells whether the partition has to be read again.
 */
export async function recogniseAgain(replica: Replica): Promise<Handle> {
  const { keyring, memory, target } = replica;
  const isReused = memory.domainKey === domainKeyOf(keyring, target);
  if (isReused && (!(await isAsKnown(replica)) || (await hasReturned(replica)))) memory.forget();
  return recogniseReplica(replica);
}

async function isAsKnown({ provider, keyring, memory }: Replica): Promise<boolean> {
  const look = await provider.look(memory.look === undefined ? {} : { since: memory.look });
  const { number, handles, objects, olderFor = [] } = look;
  const here = new Set([...handles].filter((handle) => !keyring.ownHandles.has(handle)));
  const known = [...memory.known.values()];
  const expected = new Set([...known.map(({ handle }) => handle), ...memory.unaccounted]);
  if (here.size !== expected.size || ![...expected].every((handle) => here.has(handle))) return false;
  const readDigests = new Map(objects.map(({ handle, readDigest }) => [handle, readDigest]));
  const isSame = ({ handle, seen }: Known): boolean => {
    const reported = readDigests.get(handle);
    return reported === undefined || reported === seen?.readDigest;
  };
  if (!known.every(isSame)) return false;
  memory.look = number;
  memory.olderFor = olderFor;
  return true;
}

/**
 * Whether an object that the target does not explain has the class, type and names of an entry that is new here. An
 * object that left the group by a rule of the filter comes back under a new id, and its copy may still be here.
 */
async function hasReturned({ provider, memory, target }: Replica): Promise<boolean> {
  const { entries } = target.generation;
  const added = new Set(entries.filter(({ objectId }) => !memory.known.has(objectId)).map(looksOf));
  if (added.size === 0) return false;
  const explained = new Set(entries.map(({ objectId }) => objectId));
  const others = [...memory.known].flatMap(([objectId, { handle }]) => (explained.has(objectId) ? [] : handle));
  const handles = [...others, ...memory.unaccounted];
  if (handles.length === 0) return false;
  return (await provider.read(handles)).some((object) => object !== undefined && added.has(looksOf(object)));
}

class Recognition {
  readonly #replica: Replica;
  readonly #domainKey: Handle;
  readonly #intents: readonly ApplyIntent[];
  readonly #pace: Pace;
  /** Objects that nothing accounts for yet. */
  readonly #free = new Map<Handle, Examined>();
  readonly #known: ReplicaMemory['known'] = new Map();
  readonly #superseded: { readonly handle: Handle; readonly seen: Seen }[] = [];

  constructor(replica: Replica, domainKey: Handle) {
    this.#replica = replica;
    this.#domainKey = domainKey;
    this.#pace = new Pace(replica.clock);
    this.#intents = replica.journal.openIntents();
  }

  async run(): Promise<void> {
    const { provider, keyring, clock, memory } = this.#replica;
    const look = await provider.look({});
    const objects = look.objects.filter(({ handle }) => !keyring.ownHandles.has(handle));
    const examined = await examine(provider, {
      clock,
      domainKey: this.#domainKey,
      objects,
      byBlob: typesByBlob(this.#named()),
    });
    for (const one of examined) this.#free.set(one.object.handle, one);
    await this.#claimWanted();
    await this.#claimFormer();
    await this.#claimBuried();
    const halfMade = new HalfMadeKeys(this.#replica, { domainKey: this.#domainKey, intents: this.#intents });
    for (const handle of await halfMade.destroyAmong([...this.#free.values()])) this.#free.delete(handle);
    memory.forget();
    for (const [objectId, known] of this.#known) memory.known.set(objectId, known);
    memory.superseded = this.#superseded;
    memory.unaccounted = [...this.#free.keys()];
    memory.domainKey = this.#domainKey;
    memory.look = look.number;
    memory.olderFor = look.olderFor ?? [];
  }

  /** Every entry that may explain an object here. */
  *#named(): Generator<Entry> {
    const { target, previous } = this.#replica;
    for (const { generation } of [target, ...previous]) {
      yield* generation.entries;
      for (const { entry } of generation.tombstones) yield entry;
    }
  }

  /** Claims what is already as the target wants it, whoever made it. Then claims what an interrupted apply had made. */
  async #claimWanted(): Promise<void> {
    const { clock, target } = this.#replica;
    const wantedByValue = await runInSlices(EntriesByValue.of(target.generation.entries), clock);
    const byValue = await runInSlices(
      grouping([...this.#free.values()], (one) => wantedByValue.keyOf(one)),
      clock,
    );
    const alike = (entry: Entry): Examined[] =>
      (byValue.get(entryRecognitionKey(entry)) ?? []).filter(({ object }) => this.#free.has(object.handle));
    for (const entry of target.generation.entries) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      const wanted = entryDigest(entry);
      const same = alike(entry).find((one) => bytesEqual(observedDigest(entry, one), wanted));
      if (same !== undefined) this.#claim(entry.objectId, same, { digest: wanted, isOurs: true });
    }
    const begun = Map.groupBy(this.#intents, ({ objectId }) => objectId);
    for (const entry of target.generation.entries) {
      if (this.#pace.isDue()) await this.#pace.makeWay();
      // The interrupted apply made at most one object for each form that it had begun. A second one is somebody's copy.
      const forms = new Set(begun.get(entry.objectId)?.map((intent) => hex(intent.attributesDigest)));
      for (const one of forms.size === 0 ? [] : alike(entry)) {
        if (forms.delete(hex(attributesDigest(asObserved(entry, one)))))
          this.#claim(entry.objectId, one, { digest: observedDigest(entry, one), isOurs: true });
      }
    }
  }

  /**
   * Claims what former generations name. An object that the target names too is ours only if it is exactly as it was
   * then.
   */
  async #claimFormer(): Promise<void> {
    const { provider, clock, target } = this.#replica;
    const wanted = new Map(target.generation.entries.map((entry) => [entry.objectId, entry]));
    for (const { domainKey, entries } of this.#former()) {
      const free = [...this.#free.values()];
      const objects = free.map(({ object }) => object);
      const examined =
        domainKey === this.#domainKey
          ? free
          : await examine(provider, { clock, domainKey, objects, byBlob: typesByBlob(entries) });
      const { matched } = await runInSlices(pairing(examined, entries), clock);
      for (const [index, one] of examined.entries()) {
        if (this.#pace.isDue()) await this.#pace.makeWay();
        const former = matched.get(one.object.handle);
        if (former === undefined) continue;
        const now = wanted.get(former.objectId);
        const isOurs = this.#isOurs(former, one);
        if (now !== undefined && !isOurs) continue;
        const seen = free[index]!;
        const digest = now === undefined ? new Uint8Array() : observedDigest(now, seen);
        this.#claim(former.objectId, seen, { digest, isOurs });
      }
    }
  }

  /** Claims objects that were deleted before the domain key changed. Their blobs under the older key recognise them. */
  async #claimBuried(): Promise<void> {
    const { provider, keyring, clock, target, previous } = this.#replica;
    const buried = new Map(
      [target, ...previous].flatMap(({ generation }) =>
        generation.tombstones.map(({ entry }) => [entry.objectId, entry] as const),
      ),
    );
    let entries = [...buried.values()].filter((entry) => isKnownByDomainKey(entry) && !this.#known.has(entry.objectId));
    for (const { handle: domainKey } of keyring.domainKeys(target.generation.group)) {
      const byBlob = typesByBlob(entries);
      const objects = knowableByDomainKey(
        [...this.#free.values()].map(({ object }) => object),
        byBlob,
      );
      const free = objects.map(({ handle }) => this.#free.get(handle)!);
      if (entries.length === 0 || free.length === 0) return;
      if (domainKey === this.#domainKey) continue;
      const examined = await examine(provider, { clock, domainKey, objects, byBlob });
      const { matched, absent } = await runInSlices(pairing(examined, entries), clock);
      for (const [index, one] of free.entries()) {
        const entry = matched.get(one.object.handle);
        if (entry === undefined) continue;
        this.#claim(entry.objectId, one, { digest: new Uint8Array(), isOurs: this.#isOurs(entry, examined[index]!) });
      }
      entries = absent;
    }
  }

  /**
   * Entries that explain objects, each as the newest former generation has it, with the domain key of that generation.
   * The target adds only its tombstones: what was deleted since.
   */
  #former(): { domainKey: Handle; entries: Entry[] }[] {
    const { keyring, target, previous } = this.#replica;
    const seen = new Set<ObjectId>();
    const entriesOf = ({ generation }: SealedGeneration): Entry[] => [
      ...(generation === target.generation ? [] : generation.entries),
      ...generation.tombstones.map(({ entry }) => entry),
    ];
    return [...previous, target].flatMap((sealed) => {
      const entries = entriesOf(sealed).filter(({ objectId }) => !seen.has(objectId));
      for (const { objectId } of entries) seen.add(objectId);
      try {
        return { domainKey: domainKeyOf(keyring, sealed), entries };
      } catch (thrown) {
        // Without its domain key, a former generation explains nothing. Its objects are counted, and they stay.
        if (hasCode(thrown, 'DOMAIN_KEY_MISSING')) return [];
        throw thrown;
      }
    });
  }

  /** Exactly as a generation has it, or as an apply began to make it. */
  #isOurs(former: Entry, one: Examined): boolean {
    if (bytesEqual(observedDigest(former, one), entryDigest(former))) return true;
    const shown = attributesDigest(asObserved(former, one));
    return this.#intents.some(
      (intent) => intent.objectId === former.objectId && bytesEqual(intent.attributesDigest, shown),
    );
  }

  #claim(objectId: ObjectId, one: Examined, { digest, isOurs }: { digest: Uint8Array; isOurs: boolean }): void {
    const { handle } = one.object;
    const seen = seenAs(one);
    const known = this.#known.get(objectId);
    // A second object that is equal in everything replaces nothing. It is somebody's copy.
    if (known !== undefined && bytesEqual(known.digest, digest)) return;
    this.#free.delete(handle);
    if (known === undefined) this.#known.set(objectId, { handle, digest, isOurs, seen });
    else this.#superseded.push({ handle, seen });
  }
}
