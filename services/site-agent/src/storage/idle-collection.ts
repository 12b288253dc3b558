/**
 * Gives memory back when work is done. An order that goes through a generation leaves garbage, and V8 keeps it until it
 * needs the room. Between two captures that is minutes, in which the agent would hold twice what it uses.
 */
import type { Clock, Closeable } from '@antipode/runtime';

/** Long enough for the order that follows the one before (verify after apply), and for its answer to have left. */
const IDLE_MS = 2_000;

export class IdleCollection implements Closeable {
  readonly #clock: Clock;
  readonly #collect: () => unknown;
  #running = 0;
  #waiting: AbortController | undefined;
  #isClosed = false;

  /** @param options.collect a whole collection: nothing else happens meanwhile, 90 ms of processor time at 10,000 objects */
  constructor({ clock, collect }: { clock: Clock; collect: () => unknown }) {
    this.#clock = clock;
    this.#collect = collect;
  }

  /** Runs an order; when none has run for a while, collects. */
  async after<T>(order: () => Promise<T>): Promise<T> {
    this.#begin();
    try {
      return await order();
    } finally {
      this.#end();
    }
  }

  /** The same for one whose answer is a stream. */
  async *afterAll<T>(stream: AsyncIterable<T>): AsyncGenerator<T> {
    this.#begin();
    try {
      yield* stream;
    } finally {
      this.#end();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting?.abort();
  }

  #begin(): void {
    this.#running += 1;
    this.#waiting?.abort();
  }

  #end(): void {
    this.#running -= 1;
    if (this.#running === 0 && !this.#isClosed) void this.#collectWhenIdle();
  }

  async #collectWhenIdle(): Promise<void> {
    const waiting = new AbortController();
    this.#waiting = waiting;
    await this.#clock.sleep(IDLE_MS, waiting.signal);
    if (!waiting.signal.aborted) this.#collect();
  }
}
