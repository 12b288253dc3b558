import { expect, it } from 'vitest';
import { FakeClock } from '../testing/fake-clock.ts';
import { systemClock } from './clock.ts';
import { Pace, runInSlices, runToEnd } from './slices.ts';

function* sumTo(last: number): Generator<void, number> {
  let sum = 0;
  for (let number = 1; number <= last; number += 1) {
    sum += number;
    yield;
  }
  return sum;
}

it('gives the same result at once and in slices', async () => {
  expect(runToEnd(sumTo(4))).toBe(10);
  expect(await runInSlices(sumTo(4), systemClock)).toBe(10);
});

it('lets everything else go on between slices', async () => {
  let turns = 0;
  let isWorking = true;
  const work = runInSlices(sumTo(5), systemClock).finally(() => {
    isWorking = false;
  });
  while (isWorking) {
    await new Promise((resolve) => setImmediate(resolve));
    turns += 1;
  }
  expect(await work).toBe(15);
  expect(turns).toBeGreaterThanOrEqual(5);
});

it('passes on what the work throws', async () => {
  function* failing(): Generator<void, never> {
    yield;
    throw new RangeError('no');
  }
  expect(() => runToEnd(failing())).toThrow(RangeError);
  await expect(runInSlices(failing(), systemClock)).rejects.toBeInstanceOf(RangeError);
});

it('a pace is due after the same number of pieces on a clock that stands still', async () => {
  const dueAfter = (): number[] => {
    const pace = new Pace(new FakeClock());
    return Array.from({ length: 10 }, (_, piece) => piece).filter(() => pace.isDue());
  };
  expect(dueAfter()).toHaveLength(3);
  expect(dueAfter()).toEqual(dueAfter());
});

it('a pace is due when its slice of time is over, and lets everything else go on then', async () => {
  const pace = new Pace(systemClock);
  expect(pace.isDue()).toBe(false);
  const untilMs = systemClock.monotonicMs() + 20;
  while (systemClock.monotonicMs() < untilMs);
  expect(pace.isDue()).toBe(true);
  let isTurn = false;
  setImmediate(() => {
    isTurn = true;
  });
  await pace.makeWay();
  expect([isTurn, pace.isDue()]).toEqual([true, false]);
});
