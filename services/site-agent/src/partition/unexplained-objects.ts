/**
 * Objects that stay in a standby's partition beside the generation that it applies. `divergent` objects were captured
 * or restored here under a tenure that the line did not take up. `unaccounted` objects are in no generation. Both are
 * counted, listed in the journal and never deleted. They count until they are really gone (I11, I13).
 */
import { type Generation, recognitionOf, type SealedGeneration } from '@antipode/hsm-core';
import { previousOf, type Site } from '../site.ts';
import type { DivergentObject } from '../storage/journal/findings.ts';
import type { PartitionOf } from '../storage/journal/line.ts';
import type { OpenPartition } from './partition.ts';

/** Looks before an apply and after it, both times in the turn of that apply. */
export class UnexplainedObjects {
  /** Generations that explain the objects here: the newest of this partition, then entries of divergent objects. */
  readonly previous: readonly SealedGeneration[];
  readonly #site: Site;
  readonly #open: OpenPartition;
  readonly #seat: PartitionOf;
  /** Objects that may stay, each with the generation that has its entry. */
  readonly #candidates: readonly DivergentObject[];

  private constructor(options: {
    site: Site;
    open: OpenPartition;
    seat: PartitionOf;
    previous: readonly SealedGeneration[];
    candidates: readonly DivergentObject[];
  }) {
    this.#site = options.site;
    this.#open = options.open;
    this.#seat = options.seat;
    this.previous = options.previous;
    this.#candidates = options.candidates;
  }

  static async before(site: Site, open: OpenPartition, seat: PartitionOf): Promise<UnexplainedObjects> {
    const whole = await previousOf(site, seat);
    const candidates = new Map<string, DivergentObject>();
    for (const { generation, digest } of whole)
      for (const { objectId } of generation.entries)
        if (!candidates.has(objectId)) candidates.set(objectId, { objectId, digest });
    const others = site.journal.findings.divergent(seat).filter(({ objectId }) => !candidates.has(objectId));
    for (const one of others) candidates.set(one.objectId, one);
    const previous = [...whole];
    for (const one of others) previous.push(...(await onlyEntryOf(site, one)));
    // If the partition was read without one of these, the memory of it does not have their objects. They would count as
    // gone or as unaccounted, so the partition is read again.
    const { replica } = open;
    const known = previous.flatMap(({ generation }) => generation.entries);
    if (known.some(({ objectId }) => !replica.known.has(objectId))) replica.forget();
    return new UnexplainedObjects({ site, open, seat, previous, candidates: [...candidates.values()] });
  }

  /** Counts what the generation applied leaves, without what an operator keeps, and remembers it. */
  async after({ generation }: SealedGeneration): Promise<{ divergent: number; unaccounted: number }> {
    const { provider, replica } = this.#open;
    const accounted = new Set([
      ...generation.entries.map(({ objectId }) => objectId),
      ...generation.tombstones.map(({ entry }) => entry.objectId),
    ]);
    const here = this.#candidates.flatMap((one) => {
      const handle = accounted.has(one.objectId) ? undefined : replica.known.get(one.objectId)?.handle;
      return handle === undefined ? [] : [{ one, handle }];
    });
    const read = await provider.read(here.map(({ handle }) => handle));
    const divergent = here.filter((_, index) => read[index] !== undefined).map(({ one }) => one);
    await this.#keepSealed(generation, new Set(divergent.map(({ objectId }) => objectId)));
    const foreign = await provider.read(replica.unaccounted);
    const unaccounted = foreign.filter((object) => object !== undefined).length;
    const { findings } = this.#site.journal;
    findings.setUnexplained(this.#seat, { divergent, unaccounted });
    const kept = findings.kept(this.#seat);
    return { divergent: divergent.filter(({ objectId }) => !kept.has(objectId)).length, unaccounted };
  }

  /**
   * An object that an operator keeps stays sealed when it is not in the token any more, unless the group has it by now.
   */
  async #keepSealed(generation: Generation, here: ReadonlySet<string>): Promise<void> {
    const { journal, store } = this.#site;
    const kept = journal.findings.kept(this.#seat);
    const gone = journal.findings
      .divergent(this.#seat)
      .filter((one) => kept.has(one.objectId) && !here.has(one.objectId));
    if (gone.length === 0) return;
    const ids = new Set(generation.entries.map((entry) => entry.objectId));
    const values = new Set(generation.entries.map(recognitionOf));
    for (const { objectId, digest } of gone) {
      if (!(await store.isSound(digest))) continue;
      const { generation: of } = await store.open(digest);
      const entry = of.entries.find((one) => one.objectId === objectId);
      if (entry !== undefined && !ids.has(objectId) && !values.has(recognitionOf(entry)))
        journal.decisions.addAside(this.#seat.group, digest);
    }
  }
}

/** The generation that has the entry, without everything else. */
async function onlyEntryOf({ store }: Site, { objectId, digest }: DivergentObject): Promise<SealedGeneration[]> {
  if (!(await store.isSound(digest))) return [];
  const sealed = await store.open(digest);
  const entries = sealed.generation.entries.filter((entry) => entry.objectId === objectId);
  return [{ ...sealed, generation: { ...sealed.generation, entries, tombstones: [] } }];
}
