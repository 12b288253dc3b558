import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decideReplication, type ReplicationEvent, type ReplicationState } from './machine.ts';

const TARGET = { epoch: 2n, number: 7n, contentDigest: 'aa' };
const VERIFYING: ReplicationState = { phase: 'verifying', appliedObjects: 3, pulledBlobs: 2, ...TARGET };
const proof = (failed: number) => ({ proved: 5, failed, failedObjectIds: [], usesNotExercised: 0 });

describe('a generation', () => {
  it('is applied, verified and acknowledged, in this order', () => {
    const effects: (string | undefined)[] = [];
    let state: ReplicationState = { phase: 'due', ...TARGET };
    for (const event of [
      { type: 'resume' },
      { type: 'applied', appliedObjects: 3, pulledBlobs: 2 },
      { type: 'verified', contentDigest: 'aa', proof: proof(0) },
      { type: 'acknowledged' },
    ] satisfies ReplicationEvent[]) {
      const step = decideReplication(state, event);
      effects.push(step.effect?.type);
      state = step.state;
    }
    expect(effects).toEqual(['apply', 'verify', 'acknowledge', undefined]);
    expect(state).toEqual({ phase: 'acknowledged', appliedObjects: 3, pulledBlobs: 2, proved: 5, ...TARGET });
  });

  it.each([
    ['DIGEST_MISMATCH', 'bb', proof(0)],
    ['OBJECT_UNPROVEN', 'aa', proof(1)],
    ['OBJECT_UNPROVEN', 'bb', proof(1)],
  ])(
    'is abandoned with %s when digest %s was read back, and what was acknowledged is taken back',
    (code, contentDigest, proof) => {
      const withdrawing = decideReplication(VERIFYING, { type: 'verified', contentDigest, proof });
      expect(withdrawing).toEqual({
        state: { phase: 'withdrawing', code, ...TARGET },
        effect: { type: 'withdraw', code, ...TARGET },
      });
      expect(decideReplication(withdrawing.state, { type: 'withdrawn' })).toEqual({
        state: { phase: 'abandoned', code, ...TARGET },
      });
    },
  );

  it('is acknowledged only after it was read back with its own digest and every key was proved', () => {
    const event = fc.oneof(
      fc.constant({ type: 'resume' } as const),
      fc.constant({ type: 'acknowledged' } as const),
      fc.constant({ type: 'applied', appliedObjects: 1, pulledBlobs: 1 } as const),
      fc.record({
        type: fc.constant('verified' as const),
        contentDigest: fc.constantFrom('aa', 'bb'),
        proof: fc.constantFrom(0, 1).map(proof),
      }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 8 }), (events) => {
        let state: ReplicationState = { phase: 'due', ...TARGET };
        let isVerified = false;
        for (const event of events) {
          const isAsked = state.phase === 'verifying';
          const step = decideReplication(state, event);
          isVerified ||=
            isAsked && event.type === 'verified' && event.contentDigest === 'aa' && event.proof.failed === 0;
          if (step.effect?.type === 'acknowledge' || step.state.phase === 'acknowledged') expect(isVerified).toBe(true);
          state = step.state;
        }
      }),
      { numRuns: 500 },
    );
  });
});
