/**
 * Time, injected everywhere, so that a multi-site system can run in one process under a virtual clock.
 * Nothing that decides about safety reads the wall clock: it is for people (manifests, logs) only.
 */
import { uptime } from 'node:os';
import { setTimeout as timeout, setImmediate as turn } from 'node:timers/promises';
import { AntipodeError } from '../errors.ts';
import { MachineSleep } from './machine-sleep.ts';

export interface Clock {
  /** Whole milliseconds since the Unix epoch; may jump. For display and records only. */
  wallMs(): number;
  /**
   * Milliseconds since an arbitrary origin of this process; never goes back. It stands still while the machine sleeps
   * (CLOCK_MONOTONIC). For time-outs, and for waits that must not be too short.
   */
  monotonicMs(): number;
  /** How long the machine has slept since this clock began; never goes back. Absent from a clock that never stands still. */
  sleptMs?(): number;
  /**
   * Resolves after `ms`, however long that is, or at once when `signal` aborts. It never rejects: callers look at the
   * signal.
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Whether a long calculation that has run since then has held the event loop long enough, and must make way. */
  isSliceOver(sinceMs: number): boolean;
  /** Resolves when everything else that is due has had its turn. Takes no time of this clock. */
  makeWay(): Promise<void>;
}

/**
 * Monotonic time in which the machine's sleep counts (CLOCK_BOOTTIME). For rights that end by themselves, such as a lease:
 * for the rest of the world the time has passed.
 */
export const elapsedMs = (clock: Clock): number => clock.monotonicMs() + (clock.sleptMs?.() ?? 0);

/** The longest time that a long calculation holds the event loop before it makes way. */
const SLICE_MS = 10;

/** The longest delay that a timer of Node can hold: 32 bits, some 25 days. A longer one would end at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

const machineSleep = new MachineSleep({ monotonicMs: () => performance.now(), uptimeMs: () => uptime() * 1_000 });

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleptMs: () => machineSleep.read(),
  sleep: async (ms, signal) => {
    if (Number.isNaN(ms)) throw new AntipodeError('INVARIANT_BROKEN', 'the length of a sleep is not a number');
    const options = signal === undefined ? {} : { signal };
    try {
      let leftMs = ms;
      for (; leftMs > TIMER_MS_MAX; leftMs -= TIMER_MS_MAX) await timeout(TIMER_MS_MAX, undefined, options);
      await timeout(leftMs, undefined, options);
    } catch {
      // Aborted: the caller looks at its signal.
    }
  },
  isSliceOver: (sinceMs) => performance.now() - sinceMs >= SLICE_MS,
  makeWay: () => turn(),
};
