import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { ReseatEffect, ReseatEvent, ReseatState } from './machine.ts';

const number = fc.bigInt({ min: 1n, max: 1_000n });

keepsItsPromises<ReseatState, ReseatEvent, ReseatEffect>('reseat', KINDS.reseat, {
  start: fc.record({ phase: fc.constant('due' as const), active: fc.constantFrom('', 'b') }),
  answers: {
    reseat: fc.record({
      type: fc.constant('reseated' as const),
      epoch: number,
      activeSite: fc.constantFrom('', 'b'),
      seated: fc.constant(['a', 'b']),
      leftAside: fc.constant([{ site: 'c', code: 'SITE_UNREACHABLE' }]),
    }),
  },
});
