import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { ProofSummarySchema } from '../gen/antipode/v1/types_pb.ts';
import { FAILED_IDS_MAX, NO_PROOF, proofOf, proofSummary } from './proofs.ts';

it('brings a proof over the wire and back, and names no more failed objects than people read', () => {
  const proof = { proved: 9, failed: 2, failedObjectIds: ['aa', 'bb'], usesNotExercised: 1 };
  expect(proofOf(create(ProofSummarySchema, proofSummary(proof)))).toEqual(proof);
  const failedObjectIds = Array.from({ length: FAILED_IDS_MAX + 1 }, (_, at) => String(at));
  const many = proofSummary({ ...proof, failed: failedObjectIds.length, failedObjectIds });
  expect([many.failed, many.failedObjectIds.length]).toEqual([FAILED_IDS_MAX + 1, FAILED_IDS_MAX]);
});

it('takes an answer without a proof as one that has proved nothing', () => {
  expect(proofOf(undefined)).toEqual(NO_PROOF);
});
