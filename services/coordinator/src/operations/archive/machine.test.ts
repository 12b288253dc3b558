import { NO_PROOF } from '@antipode/protocol';
import type { ErrorCode } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import { type ArchiveTarget, decideArchive, type WorkOutcome } from './machine.ts';

const target = (rest: Partial<ArchiveTarget> = {}): ArchiveTarget => ({
  ...{ work: 'backup', serial: '532018', backup: '', isScheduled: true },
  ...rest,
});
const outcome = (rest: Partial<WorkOutcome> = {}): WorkOutcome => ({
  ...{ verdict: 'complete', why: '', backup: 'antipode-1', epoch: 1n, number: 4n, objects: 5, deleted: [] },
  ...{ safetyBackup: '', proof: NO_PROOF, isClean: true, startedMs: 7, recoveryTimeMs: 420 },
  ...{ evidence: '{}', signature: 'c2ln', signer: 'a2V5' },
  ...rest,
});
const failure = (code: ErrorCode) => ({ type: 'failed', code, disposition: 'operator', message: 'no' }) as const;

describe('work with a vault', () => {
  it.each([
    ['', 'finished', 'backup', {}],
    ['ARCHIVE_INCOMPLETE', 'failed', 'backup', { verdict: 'partial', why: 'short' }],
    ['ARCHIVE_INCOMPLETE', 'failed', 'backup', { verdict: 'refused', why: 'noSpace' }],
    ['CLONING_DOMAIN_OTHER', 'failed', 'backup', { verdict: 'refused', why: 'domainMismatch' }],
    ['LUNA_OUTCOME_UNKNOWN', 'failed', 'restore', { verdict: 'unknown' }],
    ['', 'finished', 'drill', { verdict: 'proved' }],
    ['DRILL_UNCLEAN', 'failed', 'drill', { verdict: 'proved', isClean: false }],
    ['OBJECT_UNPROVEN', 'failed', 'drill', { verdict: 'proved', proof: { ...NO_PROOF, failed: 1 } }],
    ['DOMAIN_KEY_MISSING', 'failed', 'drill', { verdict: 'not proved', why: 'DOMAIN_KEY_MISSING' }],
    ['ARCHIVE_INCOMPLETE', 'failed', 'drill', { verdict: 'not restored', why: 'short' }],
    ['OBJECT_UNPROVEN', 'failed', 'restore', { proof: { ...NO_PROOF, failed: 2 } }],
    ['', 'finished', 'delete', { verdict: 'gone' }],
    ['ARCHIVE_INCOMPLETE', 'failed', 'delete', { verdict: 'still there' }],
  ] as const)('is recorded with code "%s" and is %s: a %s that is %o', (code, phase, work, found) => {
    const of = target({ work });
    const recording = decideArchive({ phase: 'working', target: of }, { type: 'worked', outcome: outcome(found) });
    expect(recording.effect).toEqual({ type: 'record-work', target: of, code, outcome: outcome(found) });
    expect(decideArchive(recording.state, { type: 'recorded' }).state).toMatchObject({ phase, target: of });
  });

  it('has not failed where a scheduled backup finds no vault: it is offline by design', () => {
    const recording = decideArchive(
      { phase: 'working', target: target() },
      { type: 'away', code: 'PARTITION_NOT_FOUND' },
    );
    expect(decideArchive(recording.state, { type: 'recorded' }).state).toEqual({
      phase: 'away',
      target: target(),
      code: 'PARTITION_NOT_FOUND',
    });
  });

  it.each([
    ['PARTITION_NOT_FOUND', false],
    ['PIN_REFUSED', true],
  ] as const)('has failed with %s where scheduled is %s', (code, isScheduled) => {
    const of = target({ isScheduled });
    const recording = decideArchive({ phase: 'working', target: of }, failure(code));
    expect(decideArchive(recording.state, { type: 'recorded' }).state).toMatchObject({ phase: 'failed', code });
  });
});
