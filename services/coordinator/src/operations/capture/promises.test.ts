import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { CaptureEffect, CaptureEvent, CaptureState } from './machine.ts';

const number = fc.bigInt({ min: 1n, max: 1_000n });
const held = { epoch: number, number, manifestDigest: fc.constant('dd') };
const captured = fc.record({
  type: fc.constant('captured' as const),
  generation: fc.record(held),
  isNew: fc.boolean(),
  sealedObjects: fc.nat(9),
});

keepsItsPromises<CaptureState, CaptureEvent, CaptureEffect>('capture', KINDS.capture, {
  start: fc.constant({ phase: 'due' }),
  answers: { capture: captured },
});
