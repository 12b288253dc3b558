/**
 * Which other members have acknowledged an object as this site has it now, by the last word of the coordinator. A member
 * has it if it has acknowledged a generation that has the same entry, and did not refuse the object. A generation whose
 * manifest is not here any more proves nothing (I13).
 */
import { type Entry, entryDigest, type SealedGeneration } from '@antipode/hsm-core';
import type { Clock } from '@antipode/runtime';
import type { GenerationStore } from '../storage/generation-store.ts';
import type { AcknowledgedThere } from '../storage/journal/acknowledgements.ts';
import type { Journal } from '../storage/journal/journal.ts';

/** While everything runs, the coordinator is heard each second, and the journal is written to each minute. */
const OLD_MS = 5 * 60_000;

/** The last word of the coordinator on one other member. */
export interface Replica {
  readonly site: string;
  /** The newest generation that it has acknowledged and can serve, if there is one. */
  readonly epoch?: bigint;
  readonly generation?: bigint;
  /** At most so long ago. Absent where the wall clock of this site has gone back since. */
  readonly ageMs?: number;
  /** Whether much can have changed since. */
  readonly isOld: boolean;
}

export interface Replicas {
  readonly members: readonly Replica[];
  /** The sites that have acknowledged an object as the newest generation here has it. */
  holdersOf(objectId: string): string[];
}

export async function replicasOf(
  { journal, store, clock }: { journal: Pick<Journal, 'acknowledgements'>; store: GenerationStore; clock: Clock },
  group: string,
  newest: SealedGeneration | undefined,
): Promise<Replicas> {
  const said = journal.acknowledgements.of(group);
  const own = newest === undefined ? new Map<string, Entry>() : byId(newest);
  const opened = new Map([[newest?.digest ?? '', own]]);
  for (const { epoch, digest } of said)
    if (epoch > 0n && !opened.has(digest) && (await store.isSound(digest)))
      opened.set(digest, byId(await store.open(digest)));
  return {
    members: said.map((one) => replicaOf(one, clock.wallMs())),
    holdersOf: (objectId) => {
      const entry = own.get(objectId);
      if (entry === undefined) return [];
      return said.flatMap(({ site, digest, epoch, refused }) => {
        const there = epoch > 0n ? opened.get(digest)?.get(objectId) : undefined;
        if (there === undefined || refused.includes(objectId)) return [];
        return Buffer.from(entryDigest(there)).equals(entryDigest(entry)) ? [site] : [];
      });
    },
  };
}

const byId = ({ generation }: SealedGeneration): ReadonlyMap<string, Entry> =>
  new Map(generation.entries.map((entry) => [entry.objectId, entry]));

function replicaOf({ site, epoch, number, heardMs }: AcknowledgedThere, nowMs: number): Replica {
  const ageMs = nowMs - heardMs;
  const isSure = ageMs >= 0;
  return {
    site,
    ...(epoch > 0n ? { epoch, generation: number } : {}),
    ...(isSure ? { ageMs } : {}),
    isOld: !isSure || ageMs > OLD_MS,
  };
}
