import { expect, it } from 'vitest';
import { type DivergenceEvent, type DivergenceState, decideDivergence } from './machine.ts';

const OBJECT = { objectId: '01', kind: 'secret-key/aes' };
const DUE: DivergenceState = { phase: 'due', action: 'merge', objectIds: ['01'], operator: 'alice' };
const OFFERED = {
  type: 'offered',
  divergent: [{ ...OBJECT, state: 'divergent', reason: '' }],
  digests: ['aa'],
} as const;
const merged = (epoch: bigint) =>
  ({ type: 'merged', epoch, settled: [{ ...OBJECT, verdict: 'merged', code: '' }] }) as const;
const captured = (epoch: bigint) =>
  ({ type: 'captured', generation: { epoch, number: 7n, manifestDigest: 'cc' } }) as const;
const after = (...events: readonly DivergenceEvent[]) =>
  events.reduce((step, event) => decideDivergence(step.state, event), decideDivergence(DUE, { type: 'resume' }));

it('records a merge with the generation of the tenure that merged', () => {
  expect(after(OFFERED, merged(2n), captured(2n)).state).toMatchObject({
    phase: 'recording',
    settled: [{ objectId: '01', verdict: 'merged' }],
    generation: { epoch: 2n, number: 7n },
  });
});

it('gives up where the active role moves again and again', () => {
  const moves = [2n, 3n, 4n, 5n].flatMap((epoch) => [merged(epoch), captured(epoch + 1n)]);
  expect(after(OFFERED, ...moves).state).toMatchObject({ phase: 'abandoned', code: 'GROUP_BUSY' });
});

it('merges again where another member was active by the time of the capture', () => {
  const { state, effect } = after(OFFERED, merged(2n), captured(3n));
  expect(state.phase).toBe('merging');
  expect(effect).toEqual({ type: 'merge', digests: ['aa'], objectIds: ['01'] });
  expect(after(OFFERED, merged(2n), captured(3n), merged(3n), captured(3n)).state).toMatchObject({
    phase: 'recording',
    generation: { epoch: 3n },
  });
});
