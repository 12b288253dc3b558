/**
 * Reads a whole partition and uses every key in it, without any trust in what was seen before. It finds changes that
 * nobody reported, including a damaged value under an object that looks the same.
 *
 * It changes neither the token nor any memory. The caller decides what a finding means: an active partition may change,
 * and a replica must not.
 */
import { bytesEqual, type Clock, Pace, runInSlices } from '@antipode/runtime';
import { pairNamesakes } from '../capture/namesakes.ts';
import type { Keyring } from '../domain-key/keyring.ts';
import { type Entry, entryDigest, type SealedGeneration } from '../model/generation.ts';
import type { Handle, ObjectId } from '../model/object.ts';
import { entryBytes, inBatches } from '../objects/batches.ts';
import { EntriesByValue, type Examined, examine, observedDigest, pairing, typesByBlob } from '../objects/recognise.ts';
import type { HsmProvider, ProofOutcome } from '../provider/provider.ts';
import { namesOf } from './apart.ts';
import { type ProofSummary, proofItem, summarise } from './read-back.ts';
import { domainKeyOf } from './replica.ts';

export interface ScrubOptions {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly target: SealedGeneration;
  /**
   * The handle that each object had before. By PKCS#11 the value under a handle never changes. So another value under
   * the same handle and names is damage. A new handle or other names would be a new object.
   */
  readonly known: ReadonlyMap<Handle, ObjectId>;
  /** Objects that the last apply could not restore here. They do not count as missing. */
  readonly refused?: ReadonlySet<ObjectId>;
}

export interface ScrubReport {
  /** Covers every object that is present. An object fails if it is not what its handle was before. */
  readonly proof: ProofSummary;
  /** Objects of the generation that are not in the partition. */
  readonly missing: readonly ObjectId[];
  /** Objects that work and have other attributes than in the generation. */
  readonly altered: readonly ObjectId[];
  /** How many objects outside the generation have the label or CKA_ID of an object of their class in it. */
  readonly namesakes: number;
}

/** @throws DOMAIN_KEY_MISSING, HSM_UNAVAILABLE, HSM_WORKER_LOST */
export async function scrub({
  provider,
  keyring,
  clock,
  target,
  known,
  refused = new Set(),
}: ScrubOptions): Promise<ScrubReport> {
  const domainKey = domainKeyOf(keyring, target);
  const entries = target.generation.entries.filter(({ objectId }) => !refused.has(objectId));
  const objects = (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));
  const examined = await examine(provider, { clock, domainKey, objects, byBlob: typesByBlob(entries) });
  const exact = await pairExactly(examined, entries, clock);
  const taken = new Set(exact.values());
  const { matched, unmatched, absent } = await runInSlices(
    pairing(
      examined.filter(({ object }) => !exact.has(object.handle)),
      entries.filter((entry) => !taken.has(entry)),
    ),
    clock,
  );
  const lost = new Map(absent.map((entry) => [entry.objectId, entry]));
  const found: [Entry, Handle][] = [...exact, ...matched].map(([handle, entry]) => [entry, handle]);
  const { reusesHandles = false } = await provider.describe();
  const present = new Set(objects.map(({ handle }) => handle));
  const namesakes = pairNamesakes(unmatched, absent, { handles: known, present, reusesHandles, hasRestored: true });
  for (const [handle, { entry, verdict }] of namesakes) {
    // An object that only does not answer counts as damaged if its handle says that it is the captured one.
    if (verdict === 'same' && known.get(handle) !== entry.objectId) continue;
    found.push([entry, handle]);
    lost.delete(entry.objectId);
  }
  const judged: { entry: Entry; outcome: ProofOutcome | undefined }[] = [];
  for (const batch of inBatches(found, ([entry]) => entryBytes(entry))) {
    const outcomes = await provider.prove(
      domainKey,
      batch.map(([entry, handle]) => proofItem(entry, handle)),
    );
    for (const [index, [entry]] of batch.entries()) judged.push({ entry, outcome: outcomes[index] });
  }
  return {
    proof: summarise(judged),
    missing: [...lost.keys()],
    altered: [...matched.values()].map(({ objectId }) => objectId),
    namesakes: countNamesakes(unmatched, { found: new Set(found.map(([, handle]) => handle)), entries }),
  };
}

function countNamesakes(
  unmatched: readonly Examined[],
  { found, entries }: { found: ReadonlySet<Handle>; entries: readonly Entry[] },
): number {
  const others = unmatched.filter(({ object }) => !found.has(object.handle));
  if (others.length === 0) return 0;
  const taken = new Set(entries.flatMap(namesOf));
  return others.filter(({ object }) => namesOf(object).some((name) => taken.has(name))).length;
}

/** Pairs objects that equal their entry in everything. Further copies of the same value may be beside them. */
async function pairExactly(
  examined: readonly Examined[],
  entries: readonly Entry[],
  clock: Clock,
): Promise<Map<Handle, Entry>> {
  const byValue = await runInSlices(EntriesByValue.of(entries), clock);
  const exact = new Map<Handle, Entry>();
  const pace = new Pace(clock);
  for (const one of examined) {
    if (pace.isDue()) await pace.makeWay();
    const candidates = byValue.groups.get(byValue.keyOf(one) ?? '') ?? [];
    const index = candidates.findIndex((entry) => bytesEqual(observedDigest(entry, one), entryDigest(entry)));
    if (index !== -1) exact.set(one.object.handle, candidates.splice(index, 1)[0]!);
  }
  return exact;
}
