import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { DrillEffect, DrillEvent, DrillState } from './machine.ts';

const number = fc.bigInt({ min: 1n, max: 1_000n });
const target = fc.record({ epoch: number, number, contentDigest: fc.constantFrom('aa', 'bb') });
const proof = fc.record({
  proved: fc.nat(9),
  failed: fc.constantFrom(0, 0, 1),
  failedObjectIds: fc.constant([]),
  usesNotExercised: fc.nat(2),
});
const outcome = fc.record({
  proof,
  isClean: fc.boolean(),
  startedMs: fc.nat(),
  recoveryTimeMs: fc.nat(),
  evidence: fc.constant('{}'),
  signature: fc.constant('c2ln'),
  signer: fc.constant('a2V5'),
});
const rehearsed = fc.record({ type: fc.constant('rehearsed' as const), outcome });
const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

keepsItsPromises<DrillState, DrillEvent, DrillEffect>('drill', KINDS.drill, {
  start: target.map(({ epoch, number }) => ({ phase: 'planned', epoch, number, serial: 's' })),
  answers: { drill: rehearsed, 'record-drill': plain('recorded') },
});
