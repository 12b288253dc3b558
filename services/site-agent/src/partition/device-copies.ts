/**
 * Copies of keys by devices, beside the orders of the partition (ADR 0064). A source can die in the middle of a copy,
 * and the tool of its vendor then waits for minutes. So a copy holds no turn of the partition, and ends at once when its
 * tenure does: a failover waits for no device that is dead.
 *
 * Nothing is concluded from a copy that was ended. The worker compares the objects that have arrived, and the next apply
 * reads the partition again.
 */
import type { Clock, Log } from '@antipode/runtime';
import type { Journal } from '../storage/journal/journal.ts';
import type { PartitionOf } from '../storage/journal/line.ts';

/** A tool that was killed is gone within milliseconds, and the comparison of what arrived takes a read of the partition. */
const END_MS_MAX = 10_000;

interface Running {
  readonly ending: AbortController;
  readonly over: Promise<unknown>;
}

export class DeviceCopies {
  readonly #tenure: Pick<Journal['tenure'], 'watch'>;
  readonly #clock: Pick<Clock, 'sleep'>;
  readonly #log: Log;
  readonly #running = new Map<string, Running>();

  constructor({
    tenure,
    clock,
    log,
  }: { tenure: Pick<Journal['tenure'], 'watch'>; clock: Pick<Clock, 'sleep'>; log: Log }) {
    this.#tenure = tenure;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Runs one copy for a member. Its signal aborts as soon as this site has persisted a higher epoch of the group, when the
   * caller gives up, and when another copy for the member begins.
   */
  async run<T>(
    { seat, epoch }: { seat: PartitionOf; epoch: bigint },
    copy: (signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    await this.#end(seat, 'a newer generation has to be copied');
    const ending = new AbortController();
    const endWatch = this.#tenure.watch((persisted) => {
      if (persisted.group !== seat.group || persisted.epoch <= epoch || ending.signal.aborted) return;
      this.#log.info('a copy by devices is ended: its tenure is over', { group: seat.group, epoch: persisted.epoch });
      ending.abort();
    });
    const over = copy(signal === undefined ? ending.signal : AbortSignal.any([ending.signal, signal]));
    const running = { ending, over: over.catch(() => undefined) };
    this.#running.set(keyOf(seat), running);
    try {
      return await over;
    } finally {
      endWatch();
      if (this.#running.get(keyOf(seat)) === running) this.#running.delete(keyOf(seat));
    }
  }

  /** Ends the copy of a member that is about to serve, and waits for that. */
  async untilOver(seat: PartitionOf): Promise<void> {
    await this.#end(seat, 'the member is about to serve');
  }

  async #end(seat: PartitionOf, why: string): Promise<void> {
    const running = this.#running.get(keyOf(seat));
    if (running === undefined) return;
    if (!running.ending.signal.aborted)
      this.#log.info('a copy by devices is ended', { group: seat.group, serial: seat.serial, why });
    running.ending.abort();
    const waited = new AbortController();
    await Promise.race([running.over, this.#clock.sleep(END_MS_MAX, waited.signal)]);
    waited.abort();
  }
}

const keyOf = ({ group, serial }: PartitionOf): string => JSON.stringify([group, serial]);
