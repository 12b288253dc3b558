/**
 * The one shape of a background loop: never overlaps itself, backs off on failure, says when it has recovered. A pass has
 * no span of its own: most find nothing to do, and would fill a trace store; what a pass does then opens its own.
 */

import { AntipodeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Prng } from '../prng.ts';
import type { Clock } from './clock.ts';
import type { LoopWatch } from './loop-watch.ts';
import { backoffMs } from './retry.ts';

export interface LoopOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  /** A function where the interval may change between passes. */
  readonly intervalMs: number | (() => number);
  /** The longest pause between attempts while the work fails, in intervals. Default 30. */
  readonly backoffIntervalsMax?: number;
  readonly signal: AbortSignal;
  /** Only for a loop whose passes are short, and without which the process is of no use. */
  readonly watch?: LoopWatch | undefined;
  /** One pass. An error makes it a failed pass; a defect ends the loop. */
  readonly work: (signal: AbortSignal) => Promise<void>;
}

/**
 * Runs `work`, then waits `intervalMs`, until `signal` aborts; the first pass starts at once. Failures are logged once per
 * streak at `warn` and then at `debug`; a defect ends the loop and rejects.
 */
export async function every(options: LoopOptions): Promise<void> {
  try {
    await turn(options);
  } finally {
    options.watch?.left(options.name);
  }
}

async function turn(options: LoopOptions): Promise<void> {
  const { name, clock, prng, log, intervalMs, backoffIntervalsMax = 30, signal, watch, work } = options;
  let failures = 0;
  while (!signal.aborted) {
    watch?.began(name);
    try {
      await work(signal);
      if (failures > 0) log.info('loop recovered', { loop: name, failuresBefore: failures });
      failures = 0;
    } catch (thrown) {
      if (signal.aborted) return;
      const error = AntipodeError.from(thrown);
      if (error.disposition === 'defect') throw error;
      log.at(failures === 0 ? 'warn' : 'debug', 'loop pass failed', { loop: name, error });
      failures += 1;
    }
    const baseMs = typeof intervalMs === 'function' ? intervalMs() : intervalMs;
    const backoff = { baseMs, capMs: baseMs * backoffIntervalsMax };
    const pauseMs = failures === 0 ? baseMs : backoffMs(failures, backoff, prng);
    watch?.ended(name, pauseMs);
    await clock.sleep(pauseMs, signal);
  }
}
