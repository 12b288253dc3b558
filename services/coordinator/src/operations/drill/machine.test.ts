import { describe, expect, it } from 'vitest';
import { type DrillOutcome, decideDrill } from './machine.ts';

const TARGET = { epoch: 1n, number: 4n, serial: 's1' };
const outcome = (failed: number, isClean: boolean): DrillOutcome => ({
  proof: { proved: 6, failed, failedObjectIds: [], usesNotExercised: 0 },
  isClean,
  startedMs: 1_000,
  recoveryTimeMs: 420,
  evidence: '{}',
  signature: 'c2ln',
  signer: 'a2V5',
});

describe('a drill', () => {
  it.each([
    ['', 0, true, 'passed'],
    ['OBJECT_UNPROVEN', 1, true, 'failed'],
    ['DRILL_UNCLEAN', 0, false, 'failed'],
    ['OBJECT_UNPROVEN', 1, false, 'failed'],
  ])('is recorded with code "%s" when %i proofs failed and clean is %s', (code, failed, isClean, phase) => {
    const rehearsal = outcome(failed, isClean);
    const recording = decideDrill({ phase: 'restoring', ...TARGET }, { type: 'rehearsed', outcome: rehearsal });
    expect(recording.effect).toEqual({ type: 'record-drill', code, outcome: rehearsal, ...TARGET });
    expect(decideDrill(recording.state, { type: 'recorded' }).state).toMatchObject({ phase, ...TARGET });
  });

  it('that did not run is recorded as failed, not forgotten', () => {
    const failure = { type: 'failed', code: 'SCRATCH_REFUSED', disposition: 'operator', message: 'no' } as const;
    const recording = decideDrill({ phase: 'restoring', ...TARGET }, failure);
    expect(recording.effect).toEqual({ type: 'record-drill', code: 'SCRATCH_REFUSED', outcome: undefined, ...TARGET });
    expect(decideDrill(recording.state, { type: 'recorded' })).toEqual({
      state: { phase: 'failed', code: 'SCRATCH_REFUSED', ...TARGET },
    });
  });

  it('that could not be recorded has failed, whatever it proved', () => {
    const failure = { type: 'failed', code: 'ALREADY_EXISTS', disposition: 'operator', message: 'no' } as const;
    const recording = { phase: 'recording', code: '', outcome: outcome(0, true), ...TARGET } as const;
    expect(decideDrill(recording, failure)).toEqual({ state: { phase: 'failed', code: 'ALREADY_EXISTS', ...TARGET } });
  });

  it('that passed tells how many objects it proved and how long it took', () => {
    const recording = { phase: 'recording', code: '', outcome: outcome(0, true), ...TARGET } as const;
    expect(decideDrill(recording, { type: 'recorded' }).state).toEqual({
      phase: 'passed',
      proved: 6,
      recoveryTimeMs: 420,
      ...TARGET,
    });
  });
});
