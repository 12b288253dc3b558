import { expect, it } from 'vitest';
import { AntipodeError } from '../errors.ts';
import { Log } from '../log.ts';
import { seededPrng } from '../prng.ts';
import { FakeClock, rejection } from '../testing/index.ts';
import { every, type LoopOptions } from './loop.ts';

/** A loop of 100 ms over `work`, with everything one could watch. */
function looping(
  work: (pass: number, stop: AbortController) => Promise<void>,
  intervalMs: LoopOptions['intervalMs'] = 100,
) {
  const clock = new FakeClock();
  const stop = new AbortController();
  const lines: { level: string; message: string; failuresBefore?: number }[] = [];
  const startedMs: number[] = [];
  const log = new Log({
    level: 'debug',
    format: 'json',
    clock,
    write: (line) => lines.push(JSON.parse(line) as (typeof lines)[number]),
  });
  const done = every({
    name: 'test',
    clock,
    prng: seededPrng('loop'),
    log,
    intervalMs,
    backoffIntervalsMax: 10,
    signal: stop.signal,
    work: () => work(startedMs.push(clock.monotonicMs()), stop),
  });
  return { clock, stop, lines, startedMs, done };
}

const unavailable = async (): Promise<never> => {
  throw new AntipodeError('HSM_UNAVAILABLE', 'busy');
};

it('starts at once and then once an interval, until it is stopped', async () => {
  const { clock, stop, startedMs, done } = looping(async () => {});
  await clock.advance(250);
  stop.abort();
  await done;
  await clock.advance(1_000);
  expect(startedMs).toEqual([0, 100, 200]);
});

it('never overlaps itself: the interval starts when the work is done', async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { clock, stop, startedMs, done } = looping((pass) => gates[pass - 1]!.promise);
  await clock.advance(500);
  expect(startedMs).toEqual([0]);
  gates[0]!.resolve();
  await clock.advance(99);
  expect(startedMs).toEqual([0]);
  await clock.advance(1);
  expect(startedMs).toEqual([0, 600]);
  stop.abort();
  gates[1]!.resolve();
  await done;
});

it('waits longer with each failure up to its limit, and an interval again after a success', async () => {
  const { clock, stop, startedMs, done } = looping((pass) => (pass <= 8 ? unavailable() : Promise.resolve()));
  await clock.advance(20_000);
  stop.abort();
  await done;
  const waits = startedMs.slice(1).map((at, index) => at - startedMs[index]!);
  for (const [index, waitMs] of waits.slice(0, 8).entries()) {
    const full = Math.min(1_000, 100 * 2 ** (index + 1));
    expect(waitMs).toBeGreaterThanOrEqual(full / 2);
    expect(waitMs).toBeLessThanOrEqual(full);
  }
  for (const waitMs of waits.slice(8)) expect(waitMs).toBeCloseTo(100, 6);
});

it('asks for its interval before each wait, where it may change', async () => {
  let intervalMs = 100;
  const { clock, stop, startedMs, done } = looping(
    async () => {},
    () => intervalMs,
  );
  await clock.advance(150);
  intervalMs = 400;
  await clock.advance(500);
  stop.abort();
  await done;
  expect(startedMs).toEqual([0, 100, 200, 600]);
});

it('warns once a streak of failures, and says after how many it has recovered', async () => {
  const { clock, stop, lines, done } = looping((pass) => (pass <= 3 ? unavailable() : Promise.resolve()));
  await clock.advance(5_000);
  stop.abort();
  await done;
  expect(lines.map(({ level }) => level)).toEqual(['warn', 'debug', 'debug', 'info']);
  expect(lines.at(-1)?.failuresBefore).toBe(3);
});

it('ends with a defect instead of going on', async () => {
  const { startedMs, done } = looping(async () => {
    throw new TypeError('undefined is not a function');
  });
  expect((await rejection(done)).code).toBe('INVARIANT_BROKEN');
  expect(startedMs).toEqual([0]);
});

it('is silent about work that fails because it was stopped', async () => {
  const { clock, lines, done } = looping(async (_pass, stop) => {
    stop.abort();
    throw new Error('aborted in the middle');
  });
  await clock.advance(1);
  await expect(done).resolves.toBeUndefined();
  expect(lines).toEqual([]);
});
