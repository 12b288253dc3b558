/** Waiting with a time limit. */

import { AntipodeError } from '../errors.ts';
import type { Clock } from './clock.ts';

/**
 * Awaits `work` for at most `timeoutMs`. On a time-out the outcome of `work` is unknown, not failed; `signal` is aborted
 * so that `work` may stop early.
 * @throws TIMED_OUT
 */
export async function within<T>(
  { clock, timeoutMs, what }: { clock: Clock; timeoutMs: number; what: string },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const done = new AbortController();
  const limit = clock.sleep(timeoutMs, done.signal).then(() => {
    if (done.signal.aborted) return undefined as never;
    over.abort();
    throw new AntipodeError('TIMED_OUT', `${what} took longer than ${timeoutMs} ms`, { details: { what, timeoutMs } });
  });
  try {
    return await Promise.race([work(over.signal), limit]);
  } finally {
    done.abort();
    limit.catch(() => {});
  }
}
