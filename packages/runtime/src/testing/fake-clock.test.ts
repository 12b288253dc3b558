import { expect, it } from 'vitest';
import { FakeClock } from './fake-clock.ts';
import { RatedClock } from './rated-clock.ts';

it('stands still until a test moves it, and then moves both sides by the same', async () => {
  const clock = new FakeClock({ originMs: 1_000 });
  expect([clock.wallMs(), clock.monotonicMs()]).toEqual([1_000, 0]);
  await clock.advance(250);
  expect([clock.wallMs(), clock.monotonicMs()]).toEqual([1_250, 250]);
});

it('has whole milliseconds on the wall, as a real clock, whatever its speed', async () => {
  const clock = new FakeClock({ originMs: 1_000 });
  const fast = new RatedClock(clock);
  fast.rate = 1.5;
  await clock.advance(1.5);
  expect([clock.wallMs(), clock.monotonicMs()]).toEqual([1_001, 1.5]);
  expect([fast.wallMs(), fast.monotonicMs()]).toEqual([1_002, 2.25]);
});

it('wakes sleepers in the order of their time, then of their call, each at its own time', async () => {
  const clock = new FakeClock();
  const woken: string[] = [];
  const sleep = async (name: string, ms: number): Promise<void> => {
    await clock.sleep(ms);
    woken.push(`${name} at ${clock.monotonicMs()}`);
  };
  for (const [name, ms] of [
    ['c', 30],
    ['a', 10],
    ['b', 10],
    ['late', 31],
  ] as const)
    void sleep(name, ms);
  await clock.advance(30);
  expect(woken).toEqual(['a at 10', 'b at 10', 'c at 30']);
  expect(clock.sleeperCount).toBe(1);
});

it('wakes those who went to sleep again while it moves', async () => {
  const clock = new FakeClock();
  const woken: number[] = [];
  void (async () => {
    for (;;) {
      await clock.sleep(10);
      woken.push(clock.monotonicMs());
    }
  })();
  await clock.advance(35);
  expect(woken).toEqual([10, 20, 30]);
});

it('lets an aborted sleeper go at once', async () => {
  const clock = new FakeClock();
  const stop = new AbortController();
  const sleeping = clock.sleep(1_000, stop.signal);
  stop.abort();
  await sleeping;
  await clock.sleep(1_000, stop.signal);
  expect([clock.sleeperCount, clock.monotonicMs()]).toEqual([0, 0]);
});
