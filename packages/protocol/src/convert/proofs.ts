/** The result of a proof, in numbers and ids. Only the site knows which keys those are. */
import type { ProofSummary } from '../gen/antipode/v1/types_pb.ts';

export interface Proof {
  /** Objects that were proved: keys by use, public objects by reading back. */
  readonly proved: number;
  readonly failed: number;
  readonly failedObjectIds: readonly string[];
  /** Uses of keys that no mechanism of the token could exercise. */
  readonly usesNotExercised: number;
}

export const NO_PROOF: Proof = { proved: 0, failed: 0, failedObjectIds: [], usesNotExercised: 0 };

/** Of an answer; one without a proof has proved nothing, and what it does not say counts as nothing. */
export const proofOf = (summary: Partial<ProofSummary> | undefined): Proof => ({
  proved: summary?.proved ?? 0,
  failed: summary?.failed ?? 0,
  failedObjectIds: [...(summary?.failedObjectIds ?? [])],
  usesNotExercised: summary?.usesNotExercised ?? 0,
});

/** A list for people; the count beside it is whole. */
export const FAILED_IDS_MAX = 100;

export const proofSummary = ({ proved, failed, failedObjectIds, usesNotExercised }: Proof) => ({
  proved,
  failed,
  failedObjectIds: failedObjectIds.slice(0, FAILED_IDS_MAX),
  usesNotExercised,
});
