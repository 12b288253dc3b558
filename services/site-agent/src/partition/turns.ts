/**
 * One order at a time per partition, first come, first served. The queue is bounded, since a slow HSM gets through only
 * so many orders before their callers give up. An order whose caller has gone is dropped before it starts.
 */
import { AntipodeError, SerialQueue } from '@antipode/runtime';

/** Each group needs a handful of turns a round. More than this is a stuck HSM, and memory that only grows. */
export const WAITING_MAX = 32;

/**
 * `urgent`: a promotion, while nobody serves. `yielding`: work that makes way for a promotion, and can be done again.
 */
export type Rank = 'normal' | 'urgent' | 'yielding';

export class Turns {
  readonly #queue = new SerialQueue();
  #waiting = 0;
  /** How many urgent orders wait. */
  #urgent = 0;
  /** For the yielding order that has its turn: aborts when it must make way. */
  #makeWay: AbortController | undefined;
  #isClosed = false;

  /** How many orders wait for their turn. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Runs `work` when its turn has come. The signal that it receives aborts when it should make way.
   * @throws HSM_UNAVAILABLE when too many orders wait or the partition is closed, TIMED_OUT when the caller gives up
   * before its turn
   */
  async take<T>(work: (makeWay: AbortSignal) => Promise<T>, signal?: AbortSignal, rank: Rank = 'normal'): Promise<T> {
    checkCaller(signal);
    if (this.#isClosed) throw new AntipodeError('HSM_UNAVAILABLE', 'the partition is being closed');
    if (this.#waiting >= WAITING_MAX) {
      throw new AntipodeError('HSM_UNAVAILABLE', `${this.#waiting} orders already wait for the partition`, {
        details: { waiting: this.#waiting },
      });
    }
    const gone = Promise.withResolvers<never>();
    let isWaiting = true;
    const leave = (): void => {
      isWaiting = false;
      this.#waiting -= 1;
      if (rank === 'urgent') this.#urgent -= 1;
    };
    const giveUp = (): void => {
      leave();
      gone.reject(reasonOf(signal));
    };
    this.#waiting += 1;
    if (rank === 'urgent') {
      this.#urgent += 1;
      this.#makeWay?.abort();
    }
    signal?.addEventListener('abort', giveUp, { once: true });
    const done = this.#queue.run(async (): Promise<T> => {
      if (!isWaiting) return gone.promise;
      signal?.removeEventListener('abort', giveUp);
      leave();
      const makeWay = new AbortController();
      if (rank === 'yielding') this.#makeWay = makeWay;
      if (rank === 'yielding' && this.#urgent > 0) makeWay.abort();
      try {
        return await work(makeWay.signal);
      } finally {
        if (this.#makeWay === makeWay) this.#makeWay = undefined;
      }
    });
    return Promise.race([done, gone.promise]);
  }

  /** Takes no more, and runs `last` when everybody who waits has had a turn. */
  close(last: () => Promise<void>): Promise<void> {
    this.#isClosed = true;
    return this.#queue.run(last);
  }
}

/**
 * Keeps work from beginning when its caller has gone.
 * @throws TIMED_OUT when nobody waits for the outcome any more, or the reason of the signal if that is an error of ours
 */
export function checkCaller(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw reasonOf(signal);
}

const reasonOf = (signal: AbortSignal | undefined): AntipodeError =>
  signal?.reason instanceof AntipodeError ? signal.reason : callerGone();

export const callerGone = (): AntipodeError => new AntipodeError('TIMED_OUT', 'the caller gave up before its turn');

/** A provider whose calls are refused once the work that uses it should make way. */
export function yielding<Provider extends object>(provider: Provider, makeWay: AbortSignal): Provider {
  return new Proxy(provider, {
    get: (target, name) => {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => {
        if (makeWay.aborted) throw new AntipodeError('GROUP_BUSY', 'the scrub is interrupted for a promotion');
        return (member as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
}
