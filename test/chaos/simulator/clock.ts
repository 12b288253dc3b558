/**
 * Time of a simulation. One queue of events for the whole world, ordered by time, and by chance where two are due at the
 * same moment. Nothing waits for the machine: when the queue has its next event, time jumps to it.
 */
import type { Clock } from '@antipode/runtime';
import type { Chance } from './chance.ts';

interface Due {
  readonly atMs: number;
  readonly tie: number;
  readonly wake: () => void;
  isCancelled: boolean;
}

const isBefore = (one: Due, other: Due): boolean =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.tie < other.tie);

export class WorldClock {
  nowMs: number;
  /** How many events there have been. */
  steps = 0;
  readonly #chance: Chance;
  readonly #heap: Due[] = [];

  constructor(chance: Chance, { nowMs = 0 }: { nowMs?: number } = {}) {
    this.#chance = chance;
    this.nowMs = nowMs;
  }

  /** @returns what cancels it */
  at(atMs: number, wake: () => void): () => void {
    const due = { atMs: Math.max(atMs, this.nowMs), tie: this.#chance.fraction(), wake, isCancelled: false };
    this.#push(due);
    return () => {
      due.isCancelled = true;
    };
  }

  after(ms: number, wake: () => void): () => void {
    return this.at(this.nowMs + ms, wake);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Lets everything happen that is due until then. `look` is called after each event, and ends the run with `true`. */
  runUntil(endMs: number, look: () => boolean): Promise<void> {
    return inTurns(() => {
      if (look()) return true;
      let next = this.#heap[0];
      for (; next?.isCancelled === true && next.atMs <= endMs; next = this.#heap[0]) this.#pop();
      if (next === undefined || next.atMs > endMs) {
        this.nowMs = Math.max(this.nowMs, endMs);
        return true;
      }
      this.#pop();
      this.nowMs = next.atMs;
      this.steps += 1;
      next.wake();
      return false;
    });
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !isBefore(due, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && isBefore(right, left)) child += 1;
      const least = heap[child];
      if (least === undefined || !isBefore(least, last)) break;
      heap[at] = least;
      at = child;
    }
    heap[at] = last;
  }
}

/** So many steps are put into one turn of the event loop, which costs more than most steps. */
const STEPS_PER_TURN = 16;

/** Takes steps until one returns true. Every promise that can settle has settled before the next one. */
function inTurns(step: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    const take = (): void => {
      if (isOver) return;
      try {
        isOver = step();
        if (isOver) resolve();
      } catch (thrown) {
        isOver = true;
        reject(thrown);
      }
    };
    const turn = (): void => {
      if (isOver) return;
      take();
      // Node settles promises after each of them.
      for (let count = 1; count < STEPS_PER_TURN; count += 1) setImmediate(take);
      setImmediate(turn);
    };
    setImmediate(turn);
  });
}

const PASSED = Promise.resolve();

/**
 * A process. It runs, is paused (nothing of it goes on until it is resumed), or has ended (nothing of it ever goes on).
 * Everything that it waits for outside of its own memory passes its gate.
 */
export class SimulatedProcess {
  readonly name: string;
  readonly #world: WorldClock;
  #state: 'running' | 'paused' | 'ended' = 'running';
  #waiting: (() => void)[] = [];

  constructor(name: string, world: WorldClock) {
    this.name = name;
    this.#world = world;
  }

  get state(): 'running' | 'paused' | 'ended' {
    return this.#state;
  }

  get hasEnded(): boolean {
    return this.#state === 'ended';
  }

  /** One turn of the promises while it runs, which is nearly always: that costs no promise of its own. */
  gate(): Promise<void> {
    return this.#state === 'running' ? PASSED : this.#stand();
  }

  async #stand(): Promise<void> {
    while (this.#state === 'paused') await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#state === 'ended') await new Promise<never>(() => {});
  }

  pause(): void {
    if (this.#state === 'running') this.#state = 'paused';
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'running';
    // Each in its own event: what was missed comes one after another, in any order.
    for (const wake of this.#waiting.splice(0)) this.#world.after(0, wake);
  }

  end(): void {
    this.#state = 'ended';
    this.#waiting = [];
  }
}

/** Time stands still in a calculation. A slice of it is over by the number of questions. */
const QUESTIONS_PER_SLICE = 50;
const ORIGIN_MS = Date.UTC(2026, 0, 1);

/** The clocks of one machine, which go on when a process of it ends: its rate, and how its wall clock was set. */
export class MachineClock {
  readonly #world: WorldClock;
  #rate: number;
  #sinceMs = 0;
  #countedMs = 0;
  wallOffsetMs = 0;

  constructor(world: WorldClock, { rate = 1 }: { rate?: number } = {}) {
    this.#world = world;
    this.#rate = rate;
  }

  get rate(): number {
    return this.#rate;
  }

  set rate(rate: number) {
    this.#countedMs = this.monotonicMs();
    this.#sinceMs = this.#world.nowMs;
    this.#rate = rate;
  }

  monotonicMs(): number {
    return this.#countedMs + (this.#world.nowMs - this.#sinceMs) * this.#rate;
  }

  wallMs(): number {
    return Math.floor(ORIGIN_MS + this.wallOffsetMs + this.monotonicMs());
  }
}

/** The clock as one process sees it. */
export class ProcessClock implements Clock {
  readonly #world: WorldClock;
  readonly #machine: MachineClock;
  readonly #process: SimulatedProcess;
  #questions = 0;

  constructor(world: WorldClock, machine: MachineClock, process: SimulatedProcess) {
    this.#world = world;
    this.#machine = machine;
    this.#process = process;
  }

  wallMs(): number {
    return this.#machine.wallMs();
  }

  monotonicMs(): number {
    return this.#machine.monotonicMs();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return;
    if (signal === undefined) await this.#world.sleep(Math.max(0, ms) / this.#machine.rate);
    else await this.#sleepUntil(ms, signal);
    await this.#process.gate();
  }

  /** It is over, or the signal aborts. */
  #sleepUntil(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve) => {
      const abort = (): void => {
        cancel();
        resolve();
      };
      const cancel = this.#world.after(Math.max(0, ms) / this.#machine.rate, () => {
        signal.removeEventListener('abort', abort);
        resolve();
      });
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  isSliceOver(): boolean {
    this.#questions += 1;
    return this.#questions % QUESTIONS_PER_SLICE === 0;
  }

  async makeWay(): Promise<void> {
    await new Promise<void>((resolve) => this.#world.after(0, resolve));
    await this.#process.gate();
  }
}
