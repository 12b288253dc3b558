/**
 * Time, injected everywhere, so that a multi-site system can run in one process under a virtual clock.
 * Nothing that decides about safety reads the wall clock: it is for people (manifests, logs) only.
 */
import { setTimeout as timeout } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since the Unix epoch; may jump. For display and records only. */
  wallMs(): number;
  /** Milliseconds since an arbitrary origin of this process; never goes back. For leases and time-outs. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once when `signal` aborts (it never rejects: callers look at the signal). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await timeout(ms, undefined, signal === undefined ? {} : { signal });
    } catch {
      // Aborted: the caller looks at its signal.
    }
  },
};
