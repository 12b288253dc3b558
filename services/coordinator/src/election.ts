/**
 * Which coordinator leads: one row (epoch, seq, holder). The holder renews by counting seq up; a challenger takes over by
 * compare-and-set after the row stood still for TTL x 1.1 on its own monotonic clock. No wall clock is compared, and every
 * write checks the epoch again (store.ts), so a paused leader does no harm.
 */
import { AntipodeError, type Clock, type Closeable, every, type Log, type Prng } from '@antipode/runtime';
import type { Store } from './store/store.ts';
import { readLeaderLease, releaseLeaderLease, renewLeaderLease, takeLeaderLease } from './store/tables/leader-lease.ts';

/** The election as everybody else sees it. */
export interface Leadership {
  /** The epoch while this coordinator leads. */
  readonly epoch: bigint | undefined;
  /** @throws LEADERSHIP_LOST */
  require(): bigint;
}

/** For orders of operators, which come at any moment. */
export interface RenewableLeadership extends Leadership {
  /** Looks at once where this coordinator led, and has only not renewed in time. */
  renewIfLapsed(): Promise<void>;
}

export interface ElectionOptions {
  readonly store: Pick<Store, 'query'>;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  readonly id: string;
  readonly ttlMs: number;
  /** Made ready to lead before anybody here sees that it does: nothing may be decided on another leader's knowledge. */
  readonly lead: () => Promise<void>;
}

export class Election implements RenewableLeadership, Closeable {
  readonly #options: ElectionOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #epoch: bigint | undefined;
  #validUntilMs = 0;
  #seen: { epoch: bigint; seq: bigint; sinceMs: number } | undefined;
  #holder = '';

  constructor(options: ElectionOptions) {
    this.#options = options;
  }

  get epoch(): bigint | undefined {
    return this.#epoch !== undefined && this.#options.clock.monotonicMs() < this.#validUntilMs
      ? this.#epoch
      : undefined;
  }

  require(): bigint {
    const epoch = this.epoch;
    if (epoch === undefined)
      throw new AntipodeError('LEADERSHIP_LOST', `coordinator ${this.#holder || 'unknown'} leads, not this one`, {
        details: { leader: this.#holder },
      });
    return epoch;
  }

  start(): void {
    const { clock, prng, log, ttlMs } = this.#options;
    const intervalMs = ttlMs / 4;
    this.#running = every({
      name: 'election',
      clock,
      prng,
      log,
      intervalMs,
      backoffIntervalsMax: 1,
      signal: this.#stop.signal,
      work: () => this.pass(),
    });
  }

  /** One look at the row: renew, take over, or wait. */
  async pass(): Promise<void> {
    const { store, clock, id, ttlMs, log, lead } = this.#options;
    const sentAtMs = clock.monotonicMs();
    const led = this.#epoch;
    if (led !== undefined) {
      const isRenewed = await store.query((db) => renewLeaderLease(db, { epoch: led, id }));
      if (isRenewed) {
        this.#validUntilMs = sentAtMs + ttlMs;
        return;
      }
      // Two looks can be under way: the other one may have taken the row again meanwhile.
      if (this.#epoch === led) {
        this.#epoch = undefined;
        log.warn('leadership lost', { epoch: led });
      }
    }
    const row = await store.query(readLeaderLease);
    this.#holder = row.holder;
    if (this.#seen?.epoch !== row.epoch || this.#seen.seq !== row.seq)
      // From after the read: how long the row had stood like this before, nobody here knows.
      this.#seen = { epoch: row.epoch, seq: row.seq, sinceMs: clock.monotonicMs() };
    if (row.holder !== '' && sentAtMs - this.#seen.sinceMs < ttlMs * 1.1) return;
    const epoch = row.epoch + 1n;
    const isTaken = await store.query((db) => takeLeaderLease(db, { seen: row, id }));
    if (!isTaken) return;
    await lead();
    this.#epoch = epoch;
    this.#holder = id;
    this.#validUntilMs = sentAtMs + ttlMs;
    log.info('leading', { epoch });
  }

  /**
   * A process that stood still finds its lease over before its next look is due. If nobody has followed, it leads as
   * soon as it has renewed. An order that comes in between waits for that, and is not refused.
   */
  async renewIfLapsed(): Promise<void> {
    if (this.#epoch === undefined || this.epoch !== undefined) return;
    await this.pass().catch((error: unknown) => this.#options.log.debug('the lapsed lease was not renewed', { error }));
  }

  /** Gives the lease back, so that the next coordinator need not wait. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const { store, id } = this.#options;
    const epoch = this.#epoch;
    this.#epoch = undefined;
    if (epoch === undefined) return;
    await store.query((db) => releaseLeaderLease(db, { epoch, id })).catch(() => undefined);
  }
}
