import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { ReplicationEffect, ReplicationEvent, ReplicationState } from './machine.ts';

const number = fc.bigInt({ min: 1n, max: 1_000n });
const target = fc.record({ epoch: number, number, contentDigest: fc.constantFrom('aa', 'bb') });
const proof = fc.record({
  proved: fc.nat(9),
  failed: fc.constantFrom(0, 0, 1),
  failedObjectIds: fc.constant([]),
  usesNotExercised: fc.nat(2),
});
const applied = fc.record({
  type: fc.constant('applied' as const),
  appliedObjects: fc.nat(9),
  pulledBlobs: fc.nat(9),
});
const verified = fc.record({
  type: fc.constant('verified' as const),
  contentDigest: fc.constantFrom('aa', 'bb'),
  proof,
});
const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

keepsItsPromises<ReplicationState, ReplicationEvent, ReplicationEffect>('replication', KINDS.replication, {
  start: target.map((one) => ({ phase: 'due', ...one })),
  answers: { apply: applied, verify: verified, acknowledge: plain('acknowledged'), withdraw: plain('withdrawn') },
});
