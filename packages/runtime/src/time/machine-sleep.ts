/**
 * How long this machine has slept, by two clocks of the system: Node's monotonic clock stands still in a suspended machine
 * (CLOCK_MONOTONIC), and the uptime goes on (CLOCK_BOOTTIME).
 */

/** The system gives the uptime in steps of 10 ms, and the two clocks are not read at once. A shorter sleep is not seen. */
const NOISE_MS = 100;

export interface SleepClocks {
  readonly monotonicMs: () => number;
  /** @throws where the system does not say */
  readonly uptimeMs: () => number;
}

export class MachineSleep {
  readonly #clocks: SleepClocks;
  readonly #aheadMs: number | undefined;
  #sleptMs = 0;

  constructor(clocks: SleepClocks) {
    this.#clocks = clocks;
    this.#aheadMs = this.#ahead();
  }

  /** Never goes back: an uptime that stands still or is set back gives nobody more time. 0 where the system does not say. */
  read(): number {
    const aheadMs = this.#ahead();
    if (aheadMs === undefined || this.#aheadMs === undefined) return this.#sleptMs;
    const sleptMs = aheadMs - this.#aheadMs;
    if (sleptMs > this.#sleptMs + NOISE_MS) this.#sleptMs = sleptMs;
    return this.#sleptMs;
  }

  #ahead(): number | undefined {
    try {
      // The monotonic clock first: time between the two readings counts as sleep, and ends a lease early.
      const monotonicMs = this.#clocks.monotonicMs();
      return this.#clocks.uptimeMs() - monotonicMs;
    } catch {
      return undefined;
    }
  }
}
