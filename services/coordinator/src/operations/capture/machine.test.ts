import { expect, it } from 'vitest';
import { decideCapture } from './machine.ts';

it('remembers which generation was captured, and whether it is new', () => {
  const { state, effect } = decideCapture(
    { phase: 'capturing' },
    { type: 'captured', generation: { epoch: 3n, number: 12n, manifestDigest: 'dd' }, isNew: false, sealedObjects: 0 },
  );
  expect(effect).toBeUndefined();
  expect(state).toEqual({
    phase: 'captured',
    epoch: 3n,
    number: 12n,
    manifestDigest: 'dd',
    isNew: false,
    sealedObjects: 0,
  });
});

it('is abandoned under the code of what went wrong', () => {
  const failure = { type: 'failed', code: 'HSM_FULL', disposition: 'operator', message: 'full' } as const;
  expect(decideCapture({ phase: 'capturing' }, failure).state).toEqual({ phase: 'abandoned', code: 'HSM_FULL' });
});
