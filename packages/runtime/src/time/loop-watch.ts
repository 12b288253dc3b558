/**
 * Knows which loops of a process make progress. An event loop that turns says nothing of a pass that waits for ever: a
 * service that has one looks alive, and does nothing.
 */
import type { Clock } from './clock.ts';

export class LoopWatch {
  readonly #clock: Clock;
  readonly #passMsMax: number;
  /** By when the next sign of each loop is due. */
  readonly #due = new Map<string, number>();

  /** `passMsMax`: the longest that a pass of a watched loop may take. */
  constructor({ clock, passMsMax }: { clock: Clock; passMsMax: number }) {
    this.#clock = clock;
    this.#passMsMax = passMsMax;
  }

  /** A pass begins. */
  began(loop: string): void {
    this.#due.set(loop, this.#clock.monotonicMs() + this.#passMsMax);
  }

  /** A pass has ended, and the next one begins after a pause. */
  ended(loop: string, pauseMs: number): void {
    this.#due.set(loop, this.#clock.monotonicMs() + pauseMs + this.#passMsMax);
  }

  /** The loop has been stopped. */
  left(loop: string): void {
    this.#due.delete(loop);
  }

  /** The loops whose next sign is overdue. */
  get stuck(): string[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#due].filter(([, dueMs]) => nowMs > dueMs).map(([loop]) => loop);
  }
}
