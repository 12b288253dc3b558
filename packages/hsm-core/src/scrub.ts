/**
 * Reads a whole partition and uses every key in it, believing nothing that was seen before: finds what has changed behind
 * our back, a value that rotted under an object that still looks the same included. Changes nothing, in the token or in
 * any memory; what a finding means is for the caller to say, since an active partition may change and a replica may not.
 */
import { bytesEqual } from '@antipode/runtime';
import { inBatches } from './batches.ts';
import type { Keyring } from './keyring.ts';
import { type Entry, entryDigest, type SealedGeneration } from './model/generation.ts';
import type { Handle, ObjectId } from './model/object.ts';
import type { HsmProvider, ProofOutcome } from './provider.ts';
import { type ProofSummary, proofItem, summarise } from './read-back.ts';
import { examine, observedDigest, pair } from './recognise.ts';
import { domainKeyOf } from './replica.ts';

export interface ScrubOptions {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly target: SealedGeneration;
  /**
   * Which object was which handle before. The value under a handle never changes by PKCS#11: one that shows another is
   * damaged, where a new handle would be a new object.
   */
  readonly known: ReadonlyMap<Handle, ObjectId>;
}

export interface ScrubReport {
  /** Of every object that is there. One that is not what its handle was before has failed. */
  readonly proof: ProofSummary;
  /** In the generation, and not in the partition. */
  readonly missing: readonly ObjectId[];
  /** There and at work, with other attributes than in the generation. */
  readonly altered: readonly ObjectId[];
}

/** @throws DOMAIN_KEY_MISSING, HSM_UNAVAILABLE, HSM_WORKER_LOST */
export async function scrub({ provider, keyring, target, known }: ScrubOptions): Promise<ScrubReport> {
  const domainKey = domainKeyOf(keyring, target);
  const { entries } = target.generation;
  const objects = (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));
  const examined = await examine(provider, { domainKey, objects });
  const { matched, unmatched, absent } = pair(examined, entries);
  const lost = new Map(absent.map((entry) => [entry.objectId, entry]));
  const found: [Entry, Handle][] = [...matched].map(([handle, entry]) => [entry, handle]);
  for (const { object } of unmatched) {
    const objectId = known.get(object.handle) ?? '';
    const entry = lost.get(objectId);
    if (entry === undefined) continue;
    found.push([entry, object.handle]);
    lost.delete(objectId);
  }
  const altered = examined.flatMap((one) => {
    const entry = matched.get(one.object.handle);
    const isSame = entry === undefined || bytesEqual(observedDigest(entry, one), entryDigest(entry));
    return isSame ? [] : [entry.objectId];
  });
  const judged: { entry: Entry; outcome: ProofOutcome | undefined }[] = [];
  for (const batch of inBatches(found)) {
    const outcomes = await provider.prove(
      domainKey,
      batch.map(([entry, handle]) => proofItem(entry, handle)),
    );
    for (const [index, [entry]] of batch.entries()) judged.push({ entry, outcome: outcomes[index] });
  }
  return { proof: summarise(judged), missing: [...lost.keys()], altered };
}
