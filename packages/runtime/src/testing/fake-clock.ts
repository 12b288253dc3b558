/** A clock that stands still until it is told to move. Sleepers wake in the order of their time, then of their call. */
import type { Clock } from '../clock.ts';

interface Sleeper {
  readonly wakeAtMs: number;
  readonly wake: () => void;
}

export class FakeClock implements Clock {
  #nowMs = 0;
  #originMs: number;
  #sleepers: Sleeper[] = [];

  constructor({ originMs = Date.UTC(2026, 0, 1) }: { originMs?: number } = {}) {
    this.#originMs = originMs;
  }

  wallMs(): number {
    return this.#originMs + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  /** Somebody sets the clock on the wall, ahead or back. No sleeper notices. */
  stepWall(byMs: number): void {
    this.#originMs += byMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const abort = (): void => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        resolve();
      };
      const wake = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      const sleeper: Sleeper = { wakeAtMs: this.#nowMs + ms, wake };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  get sleeperCount(): number {
    return this.#sleepers.length;
  }

  /** Moves time by `ms`, waking everybody whose time has come, each with all microtasks settled before the next. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await settle();
      const next = this.#sleepers.filter((one) => one.wakeAtMs <= endMs).sort((a, b) => a.wakeAtMs - b.wakeAtMs)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((one) => one !== next);
      this.#nowMs = Math.max(this.#nowMs, next.wakeAtMs);
      next.wake();
    }
    this.#nowMs = endMs;
    await settle();
  }
}

/** A macrotask turn: every promise that can settle has settled after it. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
