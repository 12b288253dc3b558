/**
 * A clock that stands still until a test moves it. Sleepers wake in the order of their due times, then of their calls.
 */
import type { Clock } from '../time/clock.ts';

/** Time stands still in a calculation, so that a slice of it is over by the number of questions. */
const QUESTIONS_PER_SLICE = 3;

interface Sleeper {
  readonly wakeAtMs: number;
  readonly wake: () => void;
}

export class FakeClock implements Clock {
  #nowMs = 0;
  #sleptMs = 0;
  #originMs: number;
  #sleepers: Sleeper[] = [];
  /** How many make way now: each goes on after a turn of the event loop, which is the only time that it takes. */
  #makingWay = 0;
  #questions = 0;
  readonly #turnsToSettle: number;

  /**
   * @param options `turnsToSettle` is the number of turns of the event loop that all due work gets before time goes on. Work
   * that waits for the machine, and not for this clock, takes another course when this number changes.
   */
  constructor({
    originMs = Date.UTC(2026, 0, 1),
    turnsToSettle = 1,
  }: { originMs?: number; turnsToSettle?: number } = {}) {
    this.#originMs = originMs;
    this.#turnsToSettle = turnsToSettle;
  }

  wallMs(): number {
    return Math.floor(this.#originMs + this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleptMs(): number {
    return this.#sleptMs;
  }

  /** The machine is suspended: time passes, and the monotonic clock stands still. No sleeper notices. */
  sleepMachine(ms: number): void {
    this.#sleptMs += ms;
    this.#originMs += ms;
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

  isSliceOver(): boolean {
    this.#questions += 1;
    return this.#questions % QUESTIONS_PER_SLICE === 0;
  }

  async makeWay(): Promise<void> {
    this.#makingWay += 1;
    await turn();
    this.#makingWay -= 1;
  }

  get sleeperCount(): number {
    return this.#sleepers.length;
  }

  /** Moves time by `ms`, waking everybody whose time has come, each with all microtasks settled before the next. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await this.#settle();
      const next = this.#sleepers.filter((one) => one.wakeAtMs <= endMs).sort((a, b) => a.wakeAtMs - b.wakeAtMs)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((one) => one !== next);
      this.#nowMs = Math.max(this.#nowMs, next.wakeAtMs);
      next.wake();
    }
    this.#nowMs = endMs;
    await this.#settle();
  }

  /** Until nobody can go on without time: every promise that can settle has settled, and nobody makes way. */
  async #settle(): Promise<void> {
    for (let turns = 0; turns < this.#turnsToSettle || this.#makingWay > 0; turns += 1) await turn();
  }
}

/** A turn of the event loop: every promise that can settle has settled after it. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
