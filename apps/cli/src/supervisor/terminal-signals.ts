/**
 * Tells a signal of a terminal, which everybody in the process group has received, from one that was sent to a single
 * process. The kernel does not say who sent a signal. But this process is in the same group, and nobody else signals it.
 */
import type { Clock } from '@antipode/runtime';
import { PASSED_ON } from './passed-on.ts';

/** Both processes receive a signal of the terminal at once. The message of the other can come before the signal. */
const LATE_MS = 100;
/** Signals that come close together reach a busy process as one. So one that was seen explains all within this time. */
const KEPT_MS = 500;

export class TerminalSignals {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly #seenAtMs = new Map<string, number>();

  /** From now on the signals that are passed on do not end this process. */
  constructor({ clock }: { clock: Pick<Clock, 'monotonicMs' | 'sleep'> }) {
    this.#clock = clock;
    for (const signal of PASSED_ON) process.on(signal, () => this.#seenAtMs.set(signal, clock.monotonicMs()));
  }

  /** Whether this process receives the signal too. */
  async wasSeen(signal: string): Promise<boolean> {
    if (this.#isFresh(signal)) return true;
    await this.#clock.sleep(LATE_MS);
    return this.#isFresh(signal);
  }

  #isFresh(signal: string): boolean {
    const atMs = this.#seenAtMs.get(signal);
    return atMs !== undefined && this.#clock.monotonicMs() - atMs <= KEPT_MS;
  }
}
