import { describe, expect, it } from 'vitest';
import { decideScrub, type ScrubOutcome } from './machine.ts';

const outcome = (change: Partial<ScrubOutcome> & { failed?: number } = {}): ScrubOutcome => ({
  startedMs: 1_000,
  isReplica: true,
  epoch: 1n,
  number: 4n,
  proof: { proved: 6, failed: change.failed ?? 0, failedObjectIds: [], usesNotExercised: 0 },
  missing: 0,
  altered: 0,
  mendedBlobs: 0,
  ...change,
});

describe('a scrub', () => {
  it.each<[string, Parameters<typeof outcome>[0], string]>([
    ['finds nothing', {}, ''],
    ['only mended the store', { mendedBlobs: 3 }, ''],
    ['finds a key that does not work', { failed: 1, missing: 1 }, 'OBJECT_UNPROVEN'],
    ['misses an object of a replica', { missing: 1 }, 'DIGEST_MISMATCH'],
    ['sees other attributes in a replica', { altered: 1 }, 'DIGEST_MISMATCH'],
    ['sees what applications have deleted and changed', { isReplica: false, missing: 2, altered: 3 }, ''],
    ['finds a key of the active member that does not work', { isReplica: false, failed: 1 }, 'OBJECT_UNPROVEN'],
  ])('that %s: %o, is recorded with code "%s"', (_what, change, code) => {
    const found = outcome(change);
    const recording = decideScrub({ phase: 'scrubbing' }, { type: 'scrubbed', outcome: found });
    expect(recording.effect).toEqual({ type: 'record-scrub', code, outcome: found });
    expect(decideScrub(recording.state, { type: 'recorded' }).state).toEqual(
      code === '' ? { phase: 'passed', outcome: found } : { phase: 'failed', code, outcome: found },
    );
  });

  it('that could not look is recorded as failed, with the reason', () => {
    const failure = { type: 'failed', code: 'PIN_REFUSED', disposition: 'operator', message: 'no' } as const;
    const recording = decideScrub({ phase: 'scrubbing' }, failure);
    expect(recording.effect).toEqual({ type: 'record-scrub', code: 'PIN_REFUSED', outcome: undefined });
    expect(decideScrub(recording.state, { type: 'recorded' }).state).toMatchObject({
      phase: 'failed',
      code: 'PIN_REFUSED',
    });
  });

  it('that could not be recorded has failed', () => {
    const failure = { type: 'failed', code: 'ALREADY_EXISTS', disposition: 'operator', message: 'no' } as const;
    const recording = { phase: 'recording', code: '', outcome: outcome() } as const;
    expect(decideScrub(recording, failure).state).toMatchObject({ phase: 'failed', code: 'ALREADY_EXISTS' });
  });
});
