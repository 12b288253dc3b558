/** The journal of a member without an agent, and a crash at a given step of it. */
import type { AntipodeError } from '@antipode/runtime';
import type { ObjectId } from '../model/object.ts';
import type { ApplyIntent, ApplyJournal } from '../replica/replica.ts';

/** Its records survive a simulated crash. */
export class MemoryJournal implements ApplyJournal {
  #open: ApplyIntent[] = [];
  readonly #interrupt: () => (step: string) => void;

  constructor(interrupt: () => (step: string) => void = () => () => {}) {
    this.#interrupt = interrupt;
  }

  openIntents(): readonly ApplyIntent[] {
    return this.#open;
  }

  begin(intents: readonly ApplyIntent[]): void {
    this.#interrupt()('begin');
    this.#open = [...this.#open, ...intents];
    this.#interrupt()('begun');
  }

  commit(_digest: string, objectIds: readonly ObjectId[]): void {
    this.#interrupt()('commit');
    this.#open = this.#open.filter(({ objectId }) => !objectIds.includes(objectId));
    this.#interrupt()('committed');
  }
}

/**
 * Throws `failure` at the step with this number, counted from 0, and at every later step. Nothing happens after a
 * crash.
 */
export function crashAt(number: number, failure: Error | AntipodeError): (step: string) => void {
  let steps = 0;
  return () => {
    if (steps++ >= number) throw failure;
  };
}
