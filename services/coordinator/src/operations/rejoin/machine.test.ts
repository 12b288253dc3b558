import { expect, it } from 'vitest';
import { decideRejoin } from './machine.ts';

it('asks for the rejoin, and is done when it was made', () => {
  const asked = decideRejoin({ phase: 'due' }, { type: 'resume' });
  expect(asked).toEqual({ state: { phase: 'rejoining' }, effect: { type: 'rejoin' } });
  expect(decideRejoin(asked.state, { type: 'rejoined' })).toEqual({ state: { phase: 'rejoined' } });
});

it('is abandoned where the agent knows of a higher epoch', () => {
  const failure = { type: 'failed', code: 'EPOCH_STALE', disposition: 'stand-down', message: 'stale' } as const;
  expect(decideRejoin({ phase: 'rejoining' }, failure)).toEqual({ state: { phase: 'abandoned', code: 'EPOCH_STALE' } });
});
