/** A generation of this site as it is named on the wire. */
import { kindNameOf, type SealedGeneration } from '@antipode/hsm-core';
import { factsRef } from '@antipode/protocol';
import { type BriefSummary, summaryOf } from '../storage/generation-store.ts';

/** Without what it does not protect: small however many objects it has, for what is sent every second. */
export const briefRefOf = (summary: BriefSummary) =>
  factsRef({ ...summary, manifestDigest: summary.digest, uncaptured: [] }, summary.captureStartedMs);

/** The whole of it, for the answer to a capture. */
export function refOf(sealed: SealedGeneration) {
  const { entries, uncaptured } = sealed.generation;
  const reported = new Set(uncaptured.map(({ objectId }) => objectId));
  const kept = new Set(entries.flatMap(({ objectId }) => (reported.has(objectId) ? objectId : [])));
  return {
    ...briefRefOf(summaryOf(sealed)),
    uncaptured: uncaptured.map((object) => ({
      objectId: object.objectId,
      kind: kindNameOf(object),
      reason: object.reason,
      isKept: kept.has(object.objectId),
    })),
  };
}
