import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { ArchiveEffect, ArchiveEvent, ArchiveState } from './machine.ts';

const proof = fc.record({
  proved: fc.nat(9),
  failed: fc.constantFrom(0, 0, 1),
  failedObjectIds: fc.constant([]),
  usesNotExercised: fc.nat(2),
});
const outcome = fc.record({
  verdict: fc.constantFrom('complete', 'partial', 'unknown', 'proved', 'not proved', 'gone'),
  why: fc.constantFrom('', 'noSpace', 'OBJECT_UNPROVEN'),
  backup: fc.constantFrom('', 'antipode-1'),
  epoch: fc.bigInt({ min: 0n, max: 9n }),
  number: fc.bigInt({ min: 0n, max: 99n }),
  objects: fc.nat(9),
  deleted: fc.constant([]),
  safetyBackup: fc.constant(''),
  proof,
  isClean: fc.boolean(),
  startedMs: fc.nat(),
  recoveryTimeMs: fc.nat(),
  evidence: fc.constant('{}'),
  signature: fc.constant('c2ln'),
  signer: fc.constant('a2V5'),
});
const target = fc.record({
  work: fc.constantFrom('backup' as const, 'drill' as const, 'restore' as const, 'delete' as const),
  serial: fc.constant('532018'),
  backup: fc.constantFrom('', 'antipode-1'),
  isScheduled: fc.boolean(),
});

keepsItsPromises<ArchiveState, ArchiveEvent, ArchiveEffect>('archive', KINDS.archive, {
  start: target.map((one) => ({ phase: 'due', target: one })),
  answers: {
    work: fc.oneof(
      fc.record({ type: fc.constant('worked' as const), outcome }),
      fc.record({ type: fc.constant('away' as const), code: fc.constant('PARTITION_NOT_FOUND') }),
    ),
    'record-work': fc.constant({ type: 'recorded' }),
  },
});
