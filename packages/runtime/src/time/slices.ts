/**
 * Long calculations that let everything else go on. One is written once, as a generator that yields after each piece of at
 * most some ten milliseconds; its caller says whether it runs through or makes way.
 */
import type { Clock } from './clock.ts';

/**
 * For a long loop in an asynchronous function: `if (pace.isDue()) await pace.makeWay()` between two items. It goes by
 * time, not by the number of items, since the same items take longer on a busy machine.
 */
export class Pace {
  readonly #clock: Clock;
  #sinceMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.monotonicMs();
  }

  isDue(): boolean {
    return this.#clock.isSliceOver(this.#sinceMs);
  }

  async makeWay(): Promise<void> {
    await this.#clock.makeWay();
    this.#sinceMs = this.#clock.monotonicMs();
  }
}

/** Runs it through: for small inputs, and where nobody waits. */
export function runToEnd<Result>(work: Generator<void, Result>): Result {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Makes way after each piece, so that leases, heartbeats and keep-alives are not held up. */
export async function runInSlices<Result>(work: Generator<void, Result>, clock: Clock): Promise<Result> {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    await clock.makeWay();
  }
}
