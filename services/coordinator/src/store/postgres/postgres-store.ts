/** The store in PostgreSQL: over pools of connections that are kept apart by what may wait for what. */
import { type Clock, type Closeable, type Log, silentLog } from '@antipode/runtime';
import type pg from 'pg';
import { type Refill, SqlStore } from '../sql-store.ts';
import type { Change, Look, Store, Tables } from '../store.ts';
import { Connections } from './connections.ts';
import { type ConnectionLimits, LIMITS, Servers } from './servers.ts';

const CONNECTIONS_MAX = 10;
/** An index over a year of history takes longer than any statement of a pass may. */
const MIGRATION_MS_MAX = 10 * 60_000;

export interface PostgresStoreOptions {
  /** The servers to try, in order. */
  readonly connection: pg.PoolConfig | readonly pg.PoolConfig[];
  readonly clock: Clock;
  readonly log?: Log;
  /** Only tests choose others. */
  readonly limits?: Partial<ConnectionLimits>;
}

interface Share {
  readonly servers: Servers;
  readonly clock: Clock;
  readonly limits: ConnectionLimits;
  readonly connectionsMax: number;
}

export class PostgresStore implements Store, Tables, Closeable {
  readonly #share: Share;
  readonly #store: SqlStore;

  constructor(options: PostgresStoreOptions | Share) {
    this.#share = 'servers' in options ? options : shareOf(options);
    const { servers, clock, limits, connectionsMax } = this.#share;
    this.#store = new SqlStore({ pool: new Connections({ servers, limits, max: connectionsMax }), clock });
  }

  /** Beside this one, with one connection of its own: what must not wait for the work of others, and has other limits. */
  apart(limits: Partial<ConnectionLimits>): PostgresStore {
    return new PostgresStore({ ...this.#share, limits: { ...this.#share.limits, ...limits }, connectionsMax: 1 });
  }

  found(): Promise<void> {
    return this.#migrating((store) => store.found());
  }

  examine(): Promise<void> {
    return this.#store.examine();
  }

  migrate(leaderEpoch: bigint): Promise<void> {
    return this.#migrating((store) => store.migrate(leaderEpoch));
  }

  /** As {@link SqlStore.refill}. */
  refill(contents: Refill): Promise<void> {
    return this.#migrating((store) => store.refill(contents));
  }

  async #migrating(work: (store: SqlStore) => Promise<void>): Promise<void> {
    const limits = { statementMs: MIGRATION_MS_MAX, lockMs: MIGRATION_MS_MAX, idleInTransactionMs: MIGRATION_MS_MAX };
    const apart = this.apart(limits);
    try {
      await work(apart.#store);
    } finally {
      await apart.close();
    }
  }

  write<T>(leaderEpoch: bigint, change: Change<T>): Promise<T> {
    return this.#store.write(leaderEpoch, change);
  }

  snapshot<T>(look: Look<T>): Promise<T> {
    return this.#store.snapshot(look);
  }

  query<T>(look: Look<T>): Promise<T> {
    return this.#store.query(look);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

function shareOf({ connection, clock, log = silentLog, limits = {} }: PostgresStoreOptions): Share {
  const servers = new Servers({ servers: [connection].flat(), log });
  return { servers, clock, limits: { ...LIMITS, ...limits }, connectionsMax: CONNECTIONS_MAX };
}
