/**
 * Which coordinator leads: one row (epoch, seq, holder). The holder renews by counting seq up; a challenger takes over by
 * compare-and-set after the row stood still for TTL x 1.1 on its own monotonic clock. No wall clock is compared, and every
 * write checks the epoch again (store.ts), so a paused leader does no harm.
 */
import {
  AntipodeError,
  type Clock,
  type Closeable,
  elapsedMs,
  every,
  type Log,
  type LoopWatch,
  type Prng,
} from '@antipode/runtime';
import type { Store } from './store/store.ts';
import {
  outrunLeaderLease,
  readLeaderLease,
  releaseLeaderLease,
  renewLeaderLease,
  takeLeaderLease,
} from './store/tables/leadership/leader-lease.ts';

/** The election as everybody else sees it. */
export interface Leadership {
  /** The epoch while this coordinator leads: agents and operators call it the term. */
  readonly epoch: bigint | undefined;
  /** @throws LEADERSHIP_LOST */
  require(): bigint;
}

/** The leadership of one epoch, for work that rests on what was read in that epoch. It ends with it, for ever. */
export function inEpoch(election: Leadership, epoch: bigint): Leadership {
  const require = (): bigint => {
    const now = election.require();
    if (now === epoch) return epoch;
    throw new AntipodeError('LEADERSHIP_LOST', `epoch ${epoch} is over, this coordinator leads again in ${now}`, {
      details: { leaderEpoch: epoch },
    });
  };
  return {
    get epoch() {
      return election.epoch === epoch ? epoch : undefined;
    },
    require,
  };
}

/** For orders of operators, which come at any moment. */
export interface RenewableLeadership extends Leadership {
  /** Since when this coordinator leads in its epoch, by its monotonic clock; absent while it does not. */
  readonly sinceMs?: number | undefined;
  /** Looks at once where this coordinator led, and has only not renewed in time. */
  renewIfLapsed(): Promise<void>;
  /** The epoch, for a caller of this coordinator. @throws NOT_LEADER, DATABASE_UNAVAILABLE if nobody here knows who leads */
  requireLead(): bigint;
}

/** For heartbeats and for those who look for the leader. */
export interface Terms extends RenewableLeadership {
  /** Name of the coordinator that leads, as far as it is known here. */
  readonly holder: string;
  /** Begins an epoch above this one: a site has heard it, so the database is older than what the sites have seen. */
  outrun(term: bigint): Promise<void>;
}

/** How often the holder renews and a challenger looks, in a time to live. */
const LOOKS_PER_TTL = 8;

export interface ElectionOptions {
  readonly store: Pick<Store, 'query'>;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  readonly id: string;
  readonly ttlMs: number;
  /** Refuses where this program must not lead, as over tables of a later release. Asked before each attempt to take over. */
  readonly mayLead?: () => Promise<void>;
  /** Why nobody would follow this coordinator: it leads no longer then, and gives the lease to another one. */
  readonly barred?: () => AntipodeError | undefined;
  /** Made ready to lead before anybody here sees that it does: nothing may be decided on another leader's knowledge. */
  readonly lead: (epoch: bigint) => Promise<void>;
  /** Where other coordinators are called, if that is known here. */
  readonly addressOf?: (coordinator: string) => string | undefined;
  /** Told when it leads no longer, or has to begin another epoch. */
  readonly lost?: () => void;
  readonly watch?: LoopWatch | undefined;
}

export class Election implements Terms, Closeable {
  readonly #options: ElectionOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #epoch: bigint | undefined;
  /** Elapsed time: a machine that was suspended leads no longer when it wakes. */
  #validUntilMs = 0;
  #seen: { epoch: bigint; seq: bigint; sinceMs: number } | undefined;
  #holder = '';
  #beganMs = 0;
  /** The highest epoch in which it has led: a database that was put back would have it lead in the same one again. */
  #highest = 0n;
  #isBarred = false;
  /** Why the last look failed. */
  #trouble: AntipodeError | undefined;

  constructor(options: ElectionOptions) {
    this.#options = options;
  }

  get epoch(): bigint | undefined {
    return this.#epoch !== undefined && elapsedMs(this.#options.clock) < this.#validUntilMs ? this.#epoch : undefined;
  }

  get sinceMs(): number | undefined {
    return this.epoch === undefined ? undefined : this.#beganMs;
  }

  require(): bigint {
    const epoch = this.epoch;
    if (epoch === undefined)
      throw new AntipodeError('LEADERSHIP_LOST', `coordinator ${this.#holder || 'unknown'} leads, not this one`, {
        details: { leader: this.#holder },
      });
    return epoch;
  }

  requireLead(): bigint {
    const epoch = this.epoch;
    if (epoch !== undefined) return epoch;
    if (this.#trouble !== undefined) throw this.#trouble;
    const { id, addressOf } = this.#options;
    const leader = this.holder;
    if (leader === '' || leader === id)
      throw new AntipodeError('NOT_LEADER', `coordinator ${id} does not lead yet`, { details: { coordinator: id } });
    const leaderAddress = addressOf?.(leader);
    const where = leaderAddress === undefined ? '' : ` at ${leaderAddress}`;
    throw new AntipodeError('NOT_LEADER', `coordinator ${id} does not lead, coordinator ${leader}${where} does`, {
      details: { coordinator: id, leader, ...(leaderAddress === undefined ? {} : { leaderAddress }) },
    });
  }

  get holder(): string {
    return this.epoch === undefined && this.#holder === this.#options.id ? '' : this.#holder;
  }

  start(): void {
    const { clock, prng, log, ttlMs, watch } = this.#options;
    // A challenger that looks seldom sees late that the row stands still, and takes over later by as much.
    const intervalMs = ttlMs / LOOKS_PER_TTL;
    this.#running = every({
      name: 'election',
      clock,
      prng,
      log,
      intervalMs,
      backoffIntervalsMax: 1,
      signal: this.#stop.signal,
      watch,
      work: () => this.pass(),
    });
  }

  /** One look at the row: renew, take over, or wait. */
  async pass(): Promise<void> {
    try {
      await this.#pass();
      this.#trouble = undefined;
    } catch (thrown) {
      this.#trouble = AntipodeError.from(thrown);
      throw thrown;
    }
  }

  async #pass(): Promise<void> {
    const { store, clock, id, ttlMs, log, mayLead } = this.#options;
    const sentAtMs = elapsedMs(clock);
    const askedAtMs = clock.monotonicMs();
    const led = this.#epoch;
    const barred = this.#options.barred?.();
    if (barred !== undefined) {
      await this.#giveUp(barred);
      throw barred;
    }
    this.#isBarred = false;
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
        this.#options.lost?.();
      }
    }
    const row = await store.query(readLeaderLease);
    this.#holder = row.holder;
    if (this.#seen?.epoch !== row.epoch || this.#seen.seq !== row.seq)
      // From after the read: how long the row had stood like this before, nobody here knows.
      this.#seen = { epoch: row.epoch, seq: row.seq, sinceMs: clock.monotonicMs() };
    if (row.holder !== '' && askedAtMs - this.#seen.sinceMs < ttlMs * 1.1) return;
    await mayLead?.();
    const next = row.epoch + 1n;
    const epoch = next > this.#highest ? next : this.#highest + 1n;
    if (await store.query((db) => takeLeaderLease(db, { seen: row, id, epoch })))
      await this.#begin({ epoch, sentAtMs });
  }

  async #begin({ epoch, sentAtMs }: { epoch: bigint; sentAtMs: number }): Promise<void> {
    const { id, log, lead, ttlMs } = this.#options;
    this.#highest = epoch;
    await lead(epoch);
    this.#epoch = epoch;
    this.#holder = id;
    this.#beganMs = this.#options.clock.monotonicMs();
    this.#validUntilMs = sentAtMs + ttlMs;
    log.info('leading', { epoch });
  }

  /**
   * The leader lease of a database that was put back, or of a standby that lagged, may have an epoch that was issued
   * before. Sites have heard it, and take no order of it from another coordinator.
   */
  async outrun(term: bigint): Promise<void> {
    const led = this.#epoch;
    if (led === undefined || led > term) return;
    const { store, clock, id, log } = this.#options;
    const sentAtMs = elapsedMs(clock);
    this.#epoch = undefined;
    this.#options.lost?.();
    log.error('a site has heard a later term than this leader has: the database is an older copy', {
      epoch: led,
      term,
    });
    const epoch = term + 1n;
    if (await store.query((db) => outrunLeaderLease(db, { epoch: led, id, next: epoch })))
      await this.#begin({ epoch, sentAtMs });
  }

  /**
   * A process that stood still finds its lease over before its next look is due. If nobody has followed, it leads as
   * soon as it has renewed. An order that comes in between waits for that, and is not refused.
   */
  async renewIfLapsed(): Promise<void> {
    if (this.#epoch === undefined || this.epoch !== undefined) return;
    await this.pass().catch((error: unknown) => this.#options.log.debug('the lapsed lease was not renewed', { error }));
  }

  /** Leads no longer, from this moment on. */
  async #giveUp(error: AntipodeError): Promise<void> {
    if (!this.#isBarred) this.#options.log.error('this coordinator must not lead', { error });
    this.#isBarred = true;
    if (this.#epoch === undefined) return;
    await this.#release();
    this.#options.lost?.();
  }

  /** Gives the lease back, so that the next coordinator need not wait. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#release();
  }

  async #release(): Promise<void> {
    const { store, id } = this.#options;
    const epoch = this.#epoch;
    this.#epoch = undefined;
    if (epoch === undefined) return;
    await store.query((db) => releaseLeaderLease(db, { epoch, id })).catch(() => undefined);
  }
}
