import { expect, it } from 'vitest';
import { AntipodeError } from '../errors.ts';
import { silentLog } from '../log.ts';
import { seededPrng } from '../prng.ts';
import { FakeClock } from '../testing/index.ts';
import { every } from './loop.ts';
import { LoopWatch } from './loop-watch.ts';

const INTERVAL_MS = 1_000;

function watched(work: () => Promise<void>) {
  const clock = new FakeClock();
  const watch = new LoopWatch({ clock, passMsMax: 10_000 });
  const stop = new AbortController();
  const common = { clock, prng: seededPrng('1'), log: silentLog, signal: stop.signal, watch, work };
  const running = every({ ...common, name: 'heartbeat', intervalMs: INTERVAL_MS });
  return { clock, watch, stop, running };
}

it('finds nothing in a loop that goes on, even if all its passes fail', async () => {
  let passes = 0;
  const { clock, watch, stop, running } = watched(async () => {
    passes += 1;
    if (passes > 3) throw new AntipodeError('TIMED_OUT', 'no answer');
  });
  for (let second = 0; second < 120; second += 1) {
    await clock.advance(INTERVAL_MS);
    expect(watch.stuck).toEqual([]);
  }
  expect(passes).toBeGreaterThan(3);
  stop.abort();
  await clock.advance(60_000);
  await running;
});

it('names a loop whose pass does not end, and only while it does not', async () => {
  let end = (): void => {};
  const { clock, watch, stop, running } = watched(() => new Promise((resolve) => (end = resolve)));
  await clock.advance(10_000);
  expect(watch.stuck).toEqual([]);
  await clock.advance(1);
  expect(watch.stuck).toEqual(['heartbeat']);
  end();
  await clock.advance(1);
  expect(watch.stuck).toEqual([]);
  stop.abort();
  end();
  await clock.advance(INTERVAL_MS);
  end();
  await running;
});

it('forgets a loop that has been stopped', async () => {
  const { clock, watch, stop, running } = watched(async () => {});
  stop.abort();
  await clock.advance(INTERVAL_MS);
  await running;
  await clock.advance(100_000);
  expect(watch.stuck).toEqual([]);
});
