/**
 * Everything that happened in a run, one line each: time, step, who, what. The same seed gives the same lines on every
 * machine. Signatures and what is made from them are in no line: ECDSA draws chance of its own.
 */
import { createHash } from 'node:crypto';
import type { WorldClock } from './clock.ts';

export type LogKind =
  | 'fault'
  | 'operator'
  | 'application'
  | 'message'
  | 'database'
  | 'disk'
  | 'token'
  | 'told'
  | 'violation';

export class EventLog {
  readonly #clock: WorldClock;
  readonly #lines: string[] = [];

  constructor(clock: WorldClock) {
    this.#clock = clock;
  }

  add(kind: LogKind, who: string, what: string): void {
    this.#lines.push(`${this.#clock.nowMs.toFixed(3).padStart(11)} ${this.#clock.steps} ${kind} ${who}: ${what}`);
  }

  /** The lines that processes have logged. */
  get said(): readonly string[] {
    return this.#lines.filter((line) => line.includes(' told '));
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Of all lines: two runs are compared by it. */
  get sha256(): string {
    const hash = createHash('sha256');
    for (const line of this.#lines) hash.update(`${line}\n`);
    return hash.digest('hex');
  }
}
