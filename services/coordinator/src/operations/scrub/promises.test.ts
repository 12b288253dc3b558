import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { ScrubEffect, ScrubEvent, ScrubState } from './machine.ts';

const number = fc.bigInt({ min: 1n, max: 1_000n });
const proof = fc.record({
  proved: fc.nat(9),
  failed: fc.constantFrom(0, 0, 1),
  failedObjectIds: fc.constant([]),
  usesNotExercised: fc.nat(2),
});
const _outcome = fc.record({
  proof,
  isClean: fc.boolean(),
  startedMs: fc.nat(),
  recoveryTimeMs: fc.nat(),
  evidence: fc.constant('{}'),
  signature: fc.constant('c2ln'),
  signer: fc.constant('a2V5'),
});
const scrubbed = fc.record({
  type: fc.constant('scrubbed' as const),
  outcome: fc.record({
    startedMs: fc.nat(),
    isReplica: fc.boolean(),
    epoch: number,
    number,
    proof,
    missing: fc.nat(1),
    altered: fc.nat(1),
    mendedBlobs: fc.nat(3),
  }),
});
const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

keepsItsPromises<ScrubState, ScrubEvent, ScrubEffect>('scrub', KINDS.scrub, {
  start: fc.constant({ phase: 'due' }),
  answers: { scrub: scrubbed, 'record-scrub': plain('recorded') },
});
