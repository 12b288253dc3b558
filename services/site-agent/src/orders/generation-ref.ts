/** A generation of this site as it is named on the wire. */
import { kindNameOf, type SealedGeneration } from '@antipode/hsm-core';
import { factsRef } from '@antipode/protocol';
import { type BriefSummary, summaryOf } from '../storage/generation-store.ts';

/** Without what it does not protect: small however many objects it has, for what is sent every second. */
export const briefRefOf = (summary: BriefSummary) =>
  factsRef({ ...summary, manifestDigest: summary.digest, uncaptured: [] }, summary.captureStartedMs);

/** The whole of it, for the answer to a capture. */
export function refOf(sealed: SealedGeneration) {
  return {
    ...briefRefOf(summaryOf(sealed)),
    uncaptured: sealed.generation.uncaptured.map((object) => ({
      objectId: object.objectId,
      kind: kindNameOf(object),
      reason: object.reason,
    })),
  };
}
