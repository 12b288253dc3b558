/**
 * How long this agent has been running, over all of its runs: retention and grace are counted by this time. It grows by
 * the monotonic clock only, and only while the agent runs and could be asked. So a wall clock that is set ahead erases
 * nothing early (ADR 0014), and neither does a coordinator.
 */
import type { Clock } from '@antipode/runtime';
import type { Journal } from './journal/journal.ts';

/** A kill loses at most so much of it: then something is kept for a minute longer. */
const RECORD_MS = 60_000;

export class RunningTime {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #beginMs: number;
  readonly #beforeMs: number;
  #recordedMs: number;

  constructor({ journal, clock }: { journal: Journal; clock: Clock }) {
    this.#journal = journal;
    this.#clock = clock;
    this.#beginMs = clock.monotonicMs();
    this.#beforeMs = journal.collection.runningMs;
    this.#recordedMs = this.#beforeMs;
  }

  /** @throws FILE_BUSY, FILE_UNWRITABLE */
  nowMs(): number {
    const nowMs = Math.floor(this.#beforeMs + this.#clock.monotonicMs() - this.#beginMs);
    if (nowMs - this.#recordedMs >= RECORD_MS) {
      this.#journal.collection.setRunningMs(nowMs);
      this.#recordedMs = nowMs;
    }
    return nowMs;
  }
}
