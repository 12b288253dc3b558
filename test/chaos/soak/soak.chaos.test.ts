/** A two-minute share of `npm run chaos:soak`. */
import { expect, it } from 'vitest';
import { soak } from './soak.ts';

it('loses no acknowledged key, and settles, under two minutes of random faults', { timeout: 600_000 }, async () => {
  const outcome = await soak({ minutes: 2, seed: '1', isKept: false, tell: () => {} });
  expect(outcome.violations).toEqual([]);
  expect(outcome).toMatchObject({ lost: 0, deletedAnswers: 0, twoActives: 0, unsettled: 0 });
  expect(outcome.acknowledged).toBeGreaterThan(5);
});
