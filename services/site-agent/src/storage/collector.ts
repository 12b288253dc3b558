/**
 * Erases sealed objects that nothing needs any more: those of deleted keys whose retention has passed, and of
 * generations that nobody may ask for. It marks from verified manifests, and sweeps objects that stayed unmarked for a
 * grace time. When in doubt, it keeps. The whole sweep stops if a manifest cannot be read or verified, if there is a
 * quarantine, or if the coordinator has not been heard yet.
 *
 * A sealed object stays while one of these names it:
 *   - a manifest in this store, of whatever group: captured, applied, staged, acknowledged by a member, set aside, or
 *     with the entry of a divergent object; retention.ts decides which manifests go
 *   - a generation in use: being fetched or stored, waiting to be applied, rehearsed, or served to another site
 *     (in-use.ts)
 *   - a deletion whose retention has not passed in this agent's own running time, whatever the active member says
 *     (deletions.ts)
 *   - an object that is held, accepted, restored or being restored by a person (journal.ts)
 *
 * Upholds I3, I4 and I11. Never looks at a token.
 */
import { blobsNamed, blobsOfTombstone, type Generation } from '@antipode/hsm-core';
import { AntipodeError, type Clock, type Log, Pace } from '@antipode/runtime';
import type { Deletions } from './deletions.ts';
import type { GenerationStore } from './generation-store.ts';
import { burialKey, type KeptBurial } from './journal/collection.ts';
import type { Journal } from './journal/journal.ts';
import type { Retention } from './retention.ts';

/** Objects in one transaction, which takes some milliseconds: a longer one would hold up the heartbeats. */
const ERASED_A_SLICE = 500;
const MARKED_A_SLICE = 2_000;
/** A store that kept everything for a year is swept in parts: the journal must not grow by all of it at once. */
const MARKS_MAX = 100_000;
/** As many ids as a line of the log and the journal name. */
const IDS_TOLD_MAX = 100;

export const GRACE_MS = 86_400_000;

export interface CollectorPorts {
  readonly journal: Journal;
  readonly store: GenerationStore;
  readonly deletions: Deletions;
  readonly retention: Retention;
  readonly clock: Clock;
  readonly log: Log;
  /** For how long something must have been needed by nothing. */
  readonly graceMs?: number;
}

/** The result of looking through the store. */
interface Survey {
  /** Grew since: then what was found is out of date. */
  readonly changes: number;
  readonly nowMs: number;
  /** Sealed objects that nothing names. */
  readonly free: readonly string[];
  /** Manifests that name expired objects, and that only their place among the newest keeps. */
  readonly lingering: ReadonlyMap<string, { readonly group: string }>;
  /** Sealed objects of deletions that have expired, with the ids of the objects. */
  readonly expired: ReadonlyMap<string, readonly string[]>;
  readonly over: readonly { readonly group: string; readonly burials: readonly KeptBurial[] }[];
}

export class Collector {
  readonly #ports: CollectorPorts;
  readonly #graceMs: number;
  /** Why the last pass stopped before it could tell what is needed. */
  stopped: AntipodeError | undefined;

  constructor(ports: CollectorPorts) {
    this.#ports = ports;
    this.#graceMs = ports.graceMs ?? GRACE_MS;
  }

  /** Safe to repeat, and to be cut short anywhere. @throws FILE_UNWRITABLE, FILE_BUSY; then nothing more goes in this pass */
  async pass(signal?: AbortSignal): Promise<void> {
    if (!this.#mayCollect()) return;
    let survey: Survey | undefined;
    try {
      survey = await this.#survey(signal);
    } catch (thrown) {
      this.#stop(AntipodeError.from(thrown));
      return;
    }
    this.stopped = undefined;
    if (survey === undefined) return;
    await this.#mark(survey);
    this.#retireLingering(survey);
    await this.#erase(survey, signal);
    const { collection } = this.#ports.journal;
    for (const { group, burials } of survey.over) collection.forgetBuried(group, burials);
  }

  /** Not before the coordinator has said what others may still ask for, and not from a journal that may be an older copy. */
  #mayCollect(): boolean {
    const { journal, retention } = this.#ports;
    return (
      journal.tenure.quarantined().length === 0 && journal.tenure.seats().every(({ group }) => retention.knows(group))
    );
  }

  /** Once for each reason: a person has to look, or a member to give the generation again (mending.ts). */
  #stop(error: AntipodeError): void {
    if (this.stopped?.message !== error.message)
      this.#ports.log.warn('nothing is erased: the needed objects cannot be determined', { error });
    this.stopped = error;
  }

  /** @throws MANIFEST_INVALID, GENERATION_UNKNOWN, FILE_DAMAGED */
  async #survey(signal?: AbortSignal): Promise<Survey | undefined> {
    const { store, journal, deletions, retention, clock } = this.#ports;
    const { changes } = store;
    const manifests = store.manifests();
    const groups = new Map(
      [...new Set(manifests.map(({ group }) => group))].map((group) => [group, store.list(group)]),
    );
    const named = new Set<string>();
    const deleted = new Set<string>();
    const weak: typeof manifests = [];
    for (const one of manifests) {
      if (signal?.aborted === true) return undefined;
      const { generation } = await store.verified(one.digest);
      deletions.note(one.group, generation.tombstones);
      for (const { entry, epoch, generation: number } of generation.tombstones)
        deleted.add(`${one.group} ${burialKey({ objectId: entry.objectId, epoch, generation: number })}`);
      // Its own objects count in any case; what a weak one names is kept apart only where something is expired.
      await addAll(named, generation, clock);
      if (!retention.isKept(one.group, { stored: groups.get(one.group) ?? [], digest: one.digest })) weak.push(one);
    }
    for (const { generation } of store.inUse.held) await addAll(named, generation, clock);

    const nowMs = deletions.runningTime.nowMs();
    const expired = new Map<string, string[]>();
    const over: { group: string; burials: KeptBurial[] }[] = [];
    const kept = new Set<string>();
    for (const group of journal.collection.buriedGroups()) {
      const isHeld = this.#held(group);
      const ended: KeptBurial[] = [];
      for (const burial of journal.collection.buried(group)) {
        const isOver = deletions.isExpired(burial, nowMs) && !isHeld(burial.objectId);
        for (const blob of burial.blobs)
          if (isOver) expired.set(blob, [...(expired.get(blob) ?? []), burial.objectId]);
          else kept.add(blob);
        const isListed = deleted.has(`${group} ${burialKey(burial)}`);
        if (isOver && !isListed && !burial.blobs.some((blob) => store.hasBlob(blob))) ended.push(burial);
      }
      over.push({ group, burials: ended });
    }
    for (const blob of kept) {
      named.add(blob);
      expired.delete(blob);
    }
    const lingering = await this.#lingering({ weak, manifests, expired, kept, signal });
    return { changes, nowMs, free: await store.blobsBeside(named), lingering, expired, over };
  }

  /** Old manifests that keep what should be gone. Seldom any: then every manifest is read once more. */
  async #lingering({
    weak,
    manifests,
    expired,
    kept,
    signal,
  }: {
    weak: readonly { group: string; digest: string }[];
    manifests: readonly { group: string; digest: string }[];
    expired: ReadonlyMap<string, unknown>;
    kept: ReadonlySet<string>;
    signal: AbortSignal | undefined;
  }): Promise<ReadonlyMap<string, { group: string }>> {
    const lingering = new Map<string, { group: string }>();
    const { store, clock } = this.#ports;
    if (weak.length === 0 || ![...expired.keys()].some((blob) => store.hasBlob(blob))) return lingering;
    const strong = new Set(kept);
    const isWeak = new Set(weak.map(({ digest }) => digest));
    for (const { digest } of manifests)
      if (!isWeak.has(digest)) await addAll(strong, (await store.verified(digest)).generation, clock);
    const due = new Set([...expired.keys()].filter((blob) => !strong.has(blob)));
    for (const { group, digest } of due.size === 0 ? [] : weak) {
      if (signal?.aborted === true) break;
      const { generation } = await store.verified(digest);
      if (namesAny(generation, due)) lingering.set(digest, { group });
    }
    return lingering;
  }

  /** Objects about which a person has to decide, has decided, or which are on their way back into a token. */
  #held(group: string): (objectId: string) => boolean {
    const held = this.#ports.journal.decisions.wanted(group);
    return (objectId) => held.has(objectId);
  }

  /**
   * Notes since when each object has not been needed, from the first pass that says so. An object that is needed again
   * is forgotten.
   */
  async #mark({ free, lingering, nowMs }: Survey): Promise<void> {
    const { clock, journal } = this.#ports;
    const { collection } = journal;
    const marked = collection.unneeded();
    const wanted = new Set([...lingering.keys(), ...free]);
    const removed = [...marked.keys()].filter((digest) => !wanted.has(digest));
    const room = MARKS_MAX - (marked.size - removed.length);
    const added = [...wanted].filter((digest) => !marked.has(digest)).slice(0, Math.max(0, room));
    const pace = new Pace(clock);
    for (let from = 0; from < Math.max(removed.length, added.length); from += MARKED_A_SLICE) {
      const slice = <T>(all: readonly T[]): T[] => all.slice(from, from + MARKED_A_SLICE);
      collection.mark({ added: slice(added), removed: slice(removed), nowMs });
      if (pace.isDue()) await pace.makeWay();
    }
  }

  #retireLingering({ lingering, nowMs }: Survey): void {
    const { journal, store, retention, log } = this.#ports;
    const marked = journal.collection.unneeded();
    const retired = [...lingering].filter(
      ([digest, { group }]) =>
        nowMs - (marked.get(digest) ?? nowMs) >= this.#graceMs &&
        retention.retire(group, { stored: store.list(group), digest }),
    );
    if (retired.length > 0)
      log.info('removed old generations that name objects to erase', {
        retired: retired.length,
      });
  }

  async #erase({ changes, free, expired, nowMs }: Survey, signal?: AbortSignal): Promise<void> {
    const { journal, store, deletions, clock, log } = this.#ports;
    const marked = journal.collection.unneeded();
    // An object that left the generations without a tombstone is kept for as long as if it had one (I11).
    const longMs = Math.max(this.#graceMs, deletions.retentionMsMin);
    const ripe = free.filter(
      (digest) => nowMs - (marked.get(digest) ?? nowMs) >= (expired.has(digest) ? this.#graceMs : longMs),
    );
    let erased = { blobs: 0, bytes: 0 };
    const objectIds = new Set<string>();
    const pace = new Pace(clock);
    for (let from = 0; from < ripe.length; from += ERASED_A_SLICE) {
      // Nothing may come between what was found and what is done: then the next pass looks again.
      if (signal?.aborted === true || store.changes !== changes) break;
      const digests = this.#notWantedBack(ripe.slice(from, from + ERASED_A_SLICE));
      const size = store.sizeOf(digests);
      const ids = [...new Set(digests.flatMap((digest) => expired.get(digest) ?? []))];
      const seq = journal.collection.beginErasure({
        atMs: clock.wallMs(),
        ...size,
        objectIds: ids.slice(0, IDS_TOLD_MAX),
      });
      store.eraseBlobs(digests);
      journal.collection.endErasure(seq, digests);
      erased = { blobs: erased.blobs + size.blobs, bytes: erased.bytes + size.bytes };
      for (const id of ids) objectIds.add(id);
      if (pace.isDue()) await pace.makeWay();
    }
    if (erased.blobs === 0) return;
    store.truncateLog();
    log.info('erased sealed objects that nothing needs', {
      sealedObjects: erased.blobs,
      bytes: erased.bytes,
      deletedObjects: objectIds.size,
      objectIds: [...objectIds].slice(0, IDS_TOLD_MAX).join(','),
    });
  }

  /**
   * Leaves out objects that a command at the site asked for a moment ago: it writes to the journal, not to this
   * process.
   */
  #notWantedBack(digests: readonly string[]): string[] {
    const { journal } = this.#ports;
    const wanted = new Set<string>();
    for (const group of journal.collection.buriedGroups()) {
      const isHeld = this.#held(group);
      for (const { objectId, blobs } of journal.collection.buried(group))
        if (isHeld(objectId)) for (const blob of blobs) wanted.add(blob);
    }
    return digests.filter((digest) => !wanted.has(digest));
  }
}

/** The blobs that a generation needs, including those of tombstones of format 1, which do not say what opens them. */
function* blobsNeeded(generation: Generation): Iterable<string> {
  yield* blobsNamed(generation);
  for (const tombstone of generation.tombstones) yield* blobsOfTombstone(tombstone);
}

async function addAll(named: Set<string>, generation: Generation, clock: Clock): Promise<void> {
  const pace = new Pace(clock);
  let count = 0;
  for (const blob of blobsNeeded(generation)) {
    named.add(blob);
    count += 1;
    if (count % MARKED_A_SLICE === 0 && pace.isDue()) await pace.makeWay();
  }
}

function namesAny(generation: Generation, wanted: ReadonlySet<string>): boolean {
  for (const blob of blobsNeeded(generation)) if (wanted.has(blob)) return true;
  return false;
}
