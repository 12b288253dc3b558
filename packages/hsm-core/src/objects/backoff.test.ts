import { expect, it } from 'vitest';
import { Backoff } from './backoff.ts';

it('tries ever more seldom while it fails, and never gives up', () => {
  const backoff = new Backoff();
  const tried = Array.from({ length: 300 }, (_, index) => index + 1).filter(() => {
    const isDue = backoff.isDue();
    if (isDue) backoff.failed();
    return isDue;
  });
  expect(tried).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 192, 256]);
});

it('begins again with the shortest gap after a reset', () => {
  const backoff = new Backoff();
  for (let failure = 0; failure < 5; failure += 1) backoff.failed();
  backoff.reset();
  backoff.failed();
  expect(backoff.isDue()).toBe(true);
});
