/** How long to wait before the next attempt. Only runners and loops retry; nothing else knows that retries exist. */
import type { Prng } from '../prng.ts';

export interface Backoff {
  readonly baseMs: number;
  /** Keeps one peer that is away for hours from stretching every later wait. */
  readonly capMs: number;
}

/** Doubling delay with half of it jittered, so that sites which failed together do not come back together. */
export function backoffMs(failures: number, { baseMs, capMs }: Backoff, prng: Prng): number {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(failures, 30));
  return full / 2 + (full / 2) * prng.fraction();
}
