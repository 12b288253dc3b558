import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { DivergenceEffect, DivergenceEvent, DivergenceState } from './machine.ts';

const ids = fc.uniqueArray(fc.constantFrom('01', '02', '03'), { maxLength: 3 });
const word = fc.constantFrom('divergent', 'kept', 'merged', '');

keepsItsPromises<DivergenceState, DivergenceEvent, DivergenceEffect>('divergence', KINDS.divergence, {
  start: fc.record({
    phase: fc.constant('due' as const),
    action: fc.constantFrom('show' as const, 'merge' as const, 'keep' as const),
    objectIds: ids,
    operator: fc.constant('alice'),
  }),
  answers: {
    offer: fc.record({
      type: fc.constant('offered' as const),
      divergent: fc.array(fc.record({ objectId: fc.constantFrom('01', '02'), kind: word, state: word, reason: word })),
      digests: fc.array(fc.constant('aa')),
    }),
    merge: fc.record({
      type: fc.constant('merged' as const),
      epoch: fc.bigInt(1n, 9n),
      settled: fc.array(fc.record({ objectId: fc.constantFrom('01', '02'), kind: word, verdict: word, code: word })),
    }),
    capture: fc.record({
      type: fc.constant('captured' as const),
      generation: fc.record({ epoch: fc.bigInt(1n, 9n), number: fc.bigInt(1n, 9n), manifestDigest: fc.constant('aa') }),
    }),
    record: fc.constant({ type: 'recorded' }),
  },
});
