import { describe, expect, it } from 'vitest';
import type { Intent } from '../../store/tables/intents.ts';
import { operationMessage } from './operation.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const asIs = (atMs: number): number => atMs;

describe('an operation', () => {
  const intent: Intent = {
    id: 'i',
    kind: 'failover',
    group: 'payments',
    site: '',
    state: { phase: 'aborted', epoch: 4n, lost: [7n, 8n] } as { phase: string },
    status: 'failed',
    attempts: 2,
    performing: 3,
    requestId: 'i.3',
    nextAttemptMs: 0,
    errorCode: 'FAILOVER_REFUSED',
    errorMessage: 'no majority',
    trace: {},
    createdMs: NOW_MS,
    updatedMs: NOW_MS + 1,
  };

  it('comes with the hint for its error, and its state as plain JSON', () => {
    const { hint, result, outcome, phase, updatedMs } = operationMessage(intent, asIs);
    expect(hint).not.toBe('');
    expect({ phase, updatedMs }).toEqual({ phase: 'aborted', updatedMs: BigInt(NOW_MS + 1) });
    expect(JSON.parse(result!)).toEqual({ phase: 'aborted', epoch: 4, lost: [7, 8] });
    expect(outcome?.case).toBe('failover');
  });

  it('says what it found with types, and again as text for commands that do not know them', () => {
    const state = { phase: 'captured', epoch: 2n, number: 9n, manifestDigest: 'ab', isNew: true, sealedObjects: 3 };
    const { outcome, result } = operationMessage({ ...intent, kind: 'capture', state }, asIs);
    expect(outcome).toMatchObject({ case: 'capture', value: { generation: { generation: 9n }, sealedObjects: 3 } });
    expect(JSON.parse(result!)).toMatchObject({ number: 9, sealedObjects: 3 });
    expect(operationMessage({ ...intent, kind: 'rejoin', state: { phase: 'due' } }, asIs)).not.toHaveProperty(
      'outcome',
    );
  });

  it('with a state that this release cannot read is shown without an outcome', () => {
    const state = { phase: 'passed' };
    const { outcome, result } = operationMessage({ ...intent, kind: 'drill', state }, asIs);
    expect([outcome, result]).toEqual([undefined, JSON.stringify(state)]);
  });

  it('comes with the hint of the place that raised it, where that had one for this very error', () => {
    const failure = {
      code: intent.errorCode as 'FAILOVER_REFUSED',
      message: 'what happened',
      site: 'b',
      returnValue: '',
      atMs: NOW_MS,
      requestId: 'r',
      hint: 'Do this.',
    };
    expect(operationMessage({ ...intent, failure }, asIs).hint).toBe('Do this.');
    expect(operationMessage({ ...intent, failure: { ...failure, code: 'HSM_FULL' } }, asIs).hint).not.toBe('Do this.');
  });

  it('has no hint where there is no error, or one that this version does not know', () => {
    expect(operationMessage({ ...intent, errorCode: '' }, asIs).hint).toBe('');
    expect(operationMessage({ ...intent, errorCode: 'toString' }, asIs).hint).toBe('');
  });
});
