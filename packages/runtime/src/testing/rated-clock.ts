/** The clock of a machine that runs too fast or too slow, over another clock. Its speed can be changed as it goes. */
import type { Clock } from '../time/clock.ts';

export class RatedClock implements Clock {
  readonly #clock: Clock;
  readonly #originMs: number;
  #rate = 1;
  /** This clock and the other one when the speed was changed last. */
  #since: { readonly ownMs: number; readonly otherMs: number };

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#originMs = clock.wallMs() - clock.monotonicMs();
    this.#since = { ownMs: clock.monotonicMs(), otherMs: clock.monotonicMs() };
  }

  /** Milliseconds of this clock in one of the other. Sleepers of before wake by the speed that they fell asleep with. */
  set rate(rate: number) {
    this.#since = { ownMs: this.monotonicMs(), otherMs: this.#clock.monotonicMs() };
    this.#rate = rate;
  }

  wallMs(): number {
    return Math.floor(this.#originMs + this.monotonicMs());
  }

  monotonicMs(): number {
    const { ownMs, otherMs } = this.#since;
    return ownMs + (this.#clock.monotonicMs() - otherMs) * this.#rate;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms / this.#rate, signal);
  }

  isSliceOver(sinceMs: number): boolean {
    return this.#clock.isSliceOver(sinceMs);
  }

  makeWay(): Promise<void> {
    return this.#clock.makeWay();
  }
}
