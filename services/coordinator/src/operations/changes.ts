/** Wakes whoever waits for news of an operation in this process. A missed call costs a moment, never correctness. */
import type { Clock } from '@antipode/runtime';

export class Changes {
  readonly #waiting = new Map<string, Set<() => void>>();

  announce(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
  }

  /** Resolves at the next announcement, or after `timeoutMs`, or when `signal` aborts. */
  async next(
    id: string,
    { clock, timeoutMs, signal }: { clock: Clock; timeoutMs: number; signal?: AbortSignal },
  ): Promise<void> {
    const over = new AbortController();
    const wake = (): void => over.abort();
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting.add(wake));
    signal?.addEventListener('abort', wake);
    await clock.sleep(timeoutMs, over.signal);
    signal?.removeEventListener('abort', wake);
    waiting.delete(wake);
    if (waiting.size === 0) this.#waiting.delete(id);
  }
}
