import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Prng } from '../prng.ts';
import { backoffMs } from './retry.ts';

const fixed = (fraction: number): Prng => ({ bytes: (length) => new Uint8Array(length), fraction: () => fraction });
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const failures = fc.nat({ max: 10_000 });

it('lies between half of the doubled delay and all of it, and never above the cap', () => {
  fc.assert(
    fc.property(
      failures,
      fc.integer({ min: 1, max: 60_000 }),
      fc.nat({ max: 600_000 }),
      fraction,
      (count, baseMs, over, chance) => {
        const capMs = baseMs + over;
        const full = Math.min(capMs, baseMs * 2 ** count);
        const waitMs = backoffMs(count, { baseMs, capMs }, fixed(chance));
        expect(waitMs).toBeGreaterThanOrEqual(full / 2);
        expect(waitMs).toBeLessThanOrEqual(full);
      },
    ),
  );
});

it('does not shrink as failures go on, for the same chance', () => {
  fc.assert(
    fc.property(failures, fraction, (count, chance) => {
      const wait = (after: number): number => backoffMs(after, { baseMs: 10, capMs: 5_000 }, fixed(chance));
      expect(wait(count + 1)).toBeGreaterThanOrEqual(wait(count));
    }),
  );
});

it('spreads those who failed together over half of the delay', () => {
  const wait = (chance: number): number => backoffMs(1, { baseMs: 100, capMs: 1_000 }, fixed(chance));
  expect([wait(0), wait(0.5)]).toEqual([100, 150]);
});
