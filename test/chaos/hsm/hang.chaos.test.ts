/** When a life of `npm run chaos:hsm` counts as one that hangs. */
import type { Clock } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { isTooLate } from './standby/process-group.ts';

const LIMIT_MS = 60_000;

it('reports a hang when the limit has passed', async () => {
  const clock = new FakeClock();
  const late = isTooLate(LIMIT_MS, new AbortController().signal, clock);
  await clock.advance(LIMIT_MS);
  expect(await late).toBe(true);
});

it('does not report a hang of a life that has ended', async () => {
  const clock = new FakeClock();
  const done = new AbortController();
  const late = isTooLate(LIMIT_MS, done.signal, clock);
  await clock.advance(LIMIT_MS / 2);
  done.abort();
  await clock.advance(LIMIT_MS);
  expect(await late).toBe(false);
});

it('does not count the time in which the campaign was stopped', async () => {
  // Every sleep is over by then, and the end of the life is heard in the same turn.
  const done = new AbortController();
  let nowMs = 0;
  let sleeps = 0;
  const stopped: Pick<Clock, 'sleep' | 'makeWay' | 'monotonicMs'> = {
    monotonicMs: () => nowMs,
    sleep: async () => {
      sleeps += 1;
      nowMs += 10 * LIMIT_MS;
      if (sleeps === 2) done.abort();
    },
    makeWay: async () => {},
  };
  expect(await isTooLate(LIMIT_MS, done.signal, stopped as Clock)).toBe(false);
  expect(sleeps).toBe(2);
});
