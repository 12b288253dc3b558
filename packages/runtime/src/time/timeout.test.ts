import { expect, it } from 'vitest';
import { AntipodeError } from '../errors.ts';
import { FakeClock, rejection } from '../testing/index.ts';
import { within } from './timeout.ts';

it('returns what the work returns, and leaves no timer behind', async () => {
  const clock = new FakeClock();
  await expect(within({ clock, timeoutMs: 100, what: 'work' }, async () => 7)).resolves.toBe(7);
  expect(clock.sleeperCount).toBe(0);
});

it('throws TIMED_OUT at the limit, not before, and tells the work to stop', async () => {
  const clock = new FakeClock();
  let signal: AbortSignal | undefined;
  const late = rejection(
    within({ clock, timeoutMs: 100, what: 'apply' }, (given) => {
      signal = given;
      return new Promise(() => {});
    }),
  );
  await clock.advance(99);
  expect(signal?.aborted).toBe(false);
  await clock.advance(1);
  expect(await late).toMatchObject({ code: 'TIMED_OUT', details: { what: 'apply', timeoutMs: 100 } });
  expect(signal?.aborted).toBe(true);
});

it('passes a failure of the work on, and leaves no timer behind', async () => {
  const clock = new FakeClock();
  const failure = new AntipodeError('HSM_FULL', 'full');
  await expect(
    within({ clock, timeoutMs: 100, what: 'work' }, async () => {
      throw failure;
    }),
  ).rejects.toBe(failure);
  expect(clock.sleeperCount).toBe(0);
});
