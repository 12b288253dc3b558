/**
 * Objects that gave way to others with their names, and that only this site has. They are sealed in its store, in no token
 * and in no generation of the group, until an operator has decided about them. Read from journal and store; no HSM is
 * asked.
 */
import { type Entry, type Generation, recognitionOf, type SealedGeneration } from '@antipode/hsm-core';
import { isNewer } from '@antipode/protocol';
import type { GenerationStore } from '../storage/generation-store.ts';
import type { Journal } from '../storage/journal/journal.ts';
import type { PartitionOf } from '../storage/journal/line.ts';

interface Records {
  readonly journal: Pick<Journal, 'decisions'>;
  readonly store: GenerationStore;
}

export interface SetAsideObject {
  readonly entry: Entry;
  /** The generation of this member alone that has it. */
  readonly aside: SealedGeneration;
  /** An operator leaves it as it is. */
  readonly isKept: boolean;
}

/** Generations of objects that were set aside at this site. */
export async function asidesOf({ journal, store }: Records, group: string): Promise<SealedGeneration[]> {
  const asides: SealedGeneration[] = [];
  for (const digest of journal.decisions.asides(group))
    if (await store.isSound(digest)) asides.push(await store.open(digest));
  return asides;
}

/**
 * Those of these asides that the generation of the group does not have: neither live nor deleted, and by no other id.
 * @param options.inToken objects that are in the partition as well
 */
export function setAsideAmong(
  asides: readonly SealedGeneration[],
  {
    group,
    inToken,
    newest,
    journal: { decisions },
  }: { group: string; inToken: Iterable<string>; newest: Generation | undefined; journal: Pick<Journal, 'decisions'> },
): SetAsideObject[] {
  const settled = decisions.settledAsides(group);
  const isKnown = knownBy(newest);
  const others = new Set(inToken);
  const found = new Map<string, SetAsideObject>();
  for (const aside of asides)
    for (const entry of aside.generation.entries) {
      const { objectId } = entry;
      if (others.has(objectId) || settled.get(objectId) === 'taken' || isKnown(entry)) continue;
      // One that was kept first and gave way later is sealed twice.
      const value = recognitionOf(entry);
      if (!found.has(value)) found.set(value, { entry, aside, isKept: settled.has(objectId) });
    }
  return [...found.values()];
}

function knownBy(newest: Generation | undefined): (entry: Entry) => boolean {
  const known = [...(newest?.entries ?? []), ...(newest?.tombstones ?? []).map(({ entry }) => entry)];
  const ids = new Set(known.map(({ objectId }) => objectId));
  const values = new Set(known.map(recognitionOf));
  return (entry) => ids.has(entry.objectId) || values.has(recognitionOf(entry));
}

/** Records which asides the generation has by now. Later it can delete and forget them: they do not wait here again. */
export async function settleTaken(records: Records, { group }: PartitionOf, newest: Generation): Promise<void> {
  const { decisions } = records.journal;
  const asides = await asidesOf(records, group);
  if (asides.length === 0) return;
  const settled = decisions.settledAsides(group);
  const isKnown = knownBy(newest);
  const taken = asides
    .flatMap(({ generation }) => generation.entries)
    .filter((entry) => settled.get(entry.objectId) !== 'taken' && isKnown(entry));
  if (taken.length > 0)
    decisions.settleAsides(
      group,
      taken.map(({ objectId }) => objectId),
      'taken',
    );
}

export interface SetAsideCount {
  /** Nobody has decided about them. */
  readonly waiting: number;
  readonly kept: number;
}

interface CountedRecords extends Records {
  readonly journal: Pick<Journal, 'decisions' | 'findings' | 'heads' | 'tenure'>;
}

/** For heartbeats: counted again only when journal or store have changed. */
export class SetAsideCounts {
  readonly #records: CountedRecords;
  readonly #counts = new Map<string, SetAsideCount & { readonly mark: string }>();

  constructor(records: CountedRecords) {
    this.#records = records;
  }

  of(group: string): SetAsideCount {
    return this.#counts.get(group) ?? { waiting: 0, kept: 0 };
  }

  /** Whether the counts are those of the journal at this moment. */
  isCurrent(): boolean {
    const { journal } = this.#records;
    const digests = journal.decisions.asidesByGroup();
    return journal.tenure.seats().every((seat) => {
      const mine = digests.get(seat.group);
      const known = this.#counts.get(seat.group)?.mark;
      return known === (mine === undefined ? undefined : this.#standing(seat, mine).mark);
    });
  }

  async refresh(): Promise<void> {
    const { journal } = this.#records;
    const digests = journal.decisions.asidesByGroup();
    for (const group of this.#counts.keys()) if (!digests.has(group)) this.#counts.delete(group);
    for (const seat of journal.tenure.seats()) {
      const { group } = seat;
      const mine = digests.get(group);
      if (mine === undefined) continue;
      const { mark, inToken } = this.#standing(seat, mine);
      if (this.#counts.get(group)?.mark === mark) continue;
      const asides = await asidesOf(this.#records, group);
      const newest = await newestSound(this.#records, seat);
      const objects = setAsideAmong(asides, { group, inToken, newest, journal });
      const kept = objects.filter(({ isKept }) => isKept).length;
      this.#counts.set(group, { mark, waiting: objects.length - kept, kept });
    }
  }

  /** The records that the count depends on, in one string. */
  #standing(
    seat: PartitionOf,
    mine: readonly string[],
  ): { readonly mark: string; readonly inToken: readonly string[] } {
    const { journal } = this.#records;
    const heads = (['captured', 'applied'] as const).map((kind) => journal.heads.of(seat, kind));
    const inToken = journal.findings.divergent(seat).map(({ objectId }) => objectId);
    const settled = [...journal.decisions.settledAsides(seat.group)];
    return { mark: JSON.stringify([mine, heads, inToken, settled]), inToken };
  }
}

/** A manifest that is damaged on disk explains nothing, and stops no heartbeat. */
async function newestSound({ journal, store }: CountedRecords, seat: PartitionOf): Promise<Generation | undefined> {
  const sound: Generation[] = [];
  for (const kind of ['captured', 'applied'] as const) {
    const digest = journal.heads.of(seat, kind);
    if (digest !== undefined && (await store.isSound(digest))) sound.push((await store.open(digest)).generation);
  }
  return sound.sort((one, other) => (isNewer(one, other) ? -1 : 1))[0];
}
