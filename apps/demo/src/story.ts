/** Tells the demonstration as it goes: numbered steps with their time, and what was seen. */

import { systemClock } from '@antipode/runtime';

export class Story {
  readonly #write: (text: string) => void;
  readonly #startedMs = systemClock.monotonicMs();
  #step = '';
  #count = 0;

  constructor({ write }: { write: (text: string) => void }) {
    this.#write = write;
  }

  /** The step that is under way: named when something fails. */
  get step(): string {
    return this.#step;
  }

  get elapsedMs(): number {
    return Math.round(systemClock.monotonicMs() - this.#startedMs);
  }

  say(text: string): void {
    this.#write(text);
  }

  detail(text: string): void {
    for (const line of text.split('\n')) this.#write(`      ${line}`);
  }

  async chapter<T>(title: string, work: () => Promise<T>): Promise<T> {
    this.#step = title;
    this.#count += 1;
    const startedMs = systemClock.monotonicMs();
    this.#write(`\n${String(this.#count).padStart(3)}.  ${title}`);
    const result = await work();
    this.#write(`      (${((systemClock.monotonicMs() - startedMs) / 1_000).toFixed(1)} s)`);
    return result;
  }
}
