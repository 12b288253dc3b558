import { beforeEach, expect, it } from 'vitest';
import { FakeClock } from '../testing/fake-clock.ts';
import { elapsedMs, systemClock } from './clock.ts';
import { MachineSleep } from './machine-sleep.ts';

let nowMs: { monotonic: number; uptime: number };
let sleep: MachineSleep;
beforeEach(() => {
  nowMs = { monotonic: 5_000, uptime: 90_000 };
  sleep = new MachineSleep({ monotonicMs: () => nowMs.monotonic, uptimeMs: () => nowMs.uptime });
});
const pass = (monotonic: number, uptime: number): number => {
  nowMs = { monotonic: nowMs.monotonic + monotonic, uptime: nowMs.uptime + uptime };
  return sleep.read();
};

it('counts the time in which the monotonic clock stood still, and adds up', () => {
  expect([pass(1_000, 1_000), pass(0, 30_000), pass(500, 500), pass(10, 5_010)]).toEqual([0, 30_000, 30_000, 35_000]);
});

it('takes the steps of the uptime for no sleep, however many there are', () => {
  for (let round = 0; round < 1_000; round += 1) expect(pass(7, round % 2 === 0 ? 0 : 14)).toBe(0);
});

it('never goes back: an uptime that is set back or stands still gives nobody more time', () => {
  expect([pass(0, 30_000), pass(0, -90_000), pass(60_000, 0)]).toEqual([30_000, 30_000, 30_000]);
});

it('counts no sleep where the system does not tell its uptime', () => {
  const mute = new MachineSleep({
    monotonicMs: () => 1,
    uptimeMs: () => {
      throw new Error('no such file');
    },
  });
  expect(mute.read()).toBe(0);
});

it('the clock of this machine has an uptime to read', () => {
  expect(systemClock.sleptMs?.()).toBeTypeOf('number');
});

it('elapsed time includes the sleep of the machine', async () => {
  const clock = new FakeClock();
  await clock.advance(100);
  clock.sleepMachine(5_000);
  expect([clock.monotonicMs(), elapsedMs(clock)]).toEqual([100, 5_100]);
});
