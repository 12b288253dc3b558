/**
 * The truth, in PostgreSQL. Every change of state is one transaction that first checks the leader's epoch, so that a
 * paused leader's late write changes nothing, and that records what happened.
 */
import { AntipodeError, type Clock, type Closeable, type Log, silentLog } from '@antipode/runtime';
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import type pg from 'pg';
import { Connections } from './postgres/connections.ts';
import { type ConnectionLimits, LIMITS, Servers } from './postgres/servers.ts';
import { MIGRATIONS, type Schema } from './schema.ts';

export type Write = Transaction<Schema>;
export type Read = Kysely<Schema>;

export interface EventRecord {
  readonly kind: string;
  readonly group?: string;
  readonly site?: string;
  /** Ids, epochs and counts; never a label. */
  readonly details?: Readonly<Record<string, string | number | bigint | boolean>>;
}

const CONNECTIONS_MAX = 10;
/** Two coordinators may start at once on one new database. */
const MIGRATION_LOCK = 4_202_026;
/** An index over a year of history takes longer than any statement of a pass may. */
const MIGRATION_MS_MAX = 10 * 60_000;

export interface StoreOptions {
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

export class Store implements Closeable {
  readonly #share: Share;
  readonly #db: Kysely<Schema>;
  readonly #clock: Clock;

  constructor(options: StoreOptions | Share) {
    this.#share = 'servers' in options ? options : shareOf(options);
    this.#clock = this.#share.clock;
    this.#db = connected(this.#share);
  }

  /** Beside this one, with one connection of its own: what must not wait for the work of others, and has other limits. */
  apart(limits: Partial<ConnectionLimits>): Store {
    return new Store({ ...this.#share, limits: { ...this.#share.limits, ...limits }, connectionsMax: 1 });
  }

  async migrate(): Promise<void> {
    const limits = { statementMs: MIGRATION_MS_MAX, lockMs: MIGRATION_MS_MAX, idleInTransactionMs: MIGRATION_MS_MAX };
    const apart = this.apart(limits);
    try {
      await apart.#migrate();
    } finally {
      await apart.close();
    }
  }

  async #migrate(): Promise<void> {
    await this.#reaching(() =>
      this.#db.transaction().execute(async (trx) => {
        await sql`SELECT pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK)})`.execute(trx);
        await sql`CREATE TABLE IF NOT EXISTS migration (version int PRIMARY KEY)`.execute(trx);
        const done = await sql<{ version: number | null }>`SELECT max(version) AS version FROM migration`.execute(trx);
        const version = done.rows[0]?.version ?? 0;
        if (version > MIGRATIONS.length) {
          throw new AntipodeError(
            'CONFIG_INVALID',
            `the database has schema ${version}, expected at most ${MIGRATIONS.length}`,
            {
              details: { version },
              hint: 'Start the newer version of Antipode that wrote it: the database is sound. Do not remove it, and do not replace it with an older copy.',
            },
          );
        }
        for (const [index, migration] of MIGRATIONS.entries()) {
          if (index < version) continue;
          await sql.raw(migration).execute(trx);
          await sql`INSERT INTO migration VALUES (${index + 1})`.execute(trx);
        }
      }),
    );
  }

  /**
   * One change of state by the leader of `leaderEpoch`, with the events that tell of it.
   * @throws LEADERSHIP_LOST (nothing is written), DATABASE_UNAVAILABLE (the outcome is unknown: read again)
   */
  write<T>(leaderEpoch: bigint, work: (trx: Write, record: (event: EventRecord) => void) => Promise<T>): Promise<T> {
    return this.#reaching(() =>
      this.#db.transaction().execute(async (trx) => {
        const lease = await trx
          .selectFrom('leader_lease')
          .select('epoch')
          .where('epoch', '=', leaderEpoch)
          .forShare()
          .executeTakeFirst();
        if (lease === undefined)
          throw new AntipodeError('LEADERSHIP_LOST', `leader epoch ${leaderEpoch} is over`, {
            details: { leaderEpoch },
          });
        const events: EventRecord[] = [];
        const result = await work(trx, (event) => events.push(event));
        for (const { kind, group = '', site = '', details = {} } of events) {
          await trx
            .insertInto('event')
            .values({ at_ms: BigInt(this.#clock.wallMs()), kind, grp: group, site, details: toJson(details) })
            .execute();
        }
        return result;
      }),
    );
  }

  /** Several reads that see the same moment. @throws DATABASE_UNAVAILABLE */
  snapshot<T>(work: (db: Read) => Promise<T>): Promise<T> {
    return this.#reaching(() => this.#db.transaction().setIsolationLevel('repeatable read').execute(work));
  }

  /** Reads, and the leader election's own compare-and-set. @throws DATABASE_UNAVAILABLE */
  query<T>(work: (db: Read) => Promise<T>): Promise<T> {
    return this.#reaching(() => work(this.#db));
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }

  async #reaching<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      if (thrown instanceof AntipodeError || isProgrammingError(thrown)) throw thrown;
      if (isConstraintViolation(thrown)) {
        throw new AntipodeError('ALREADY_EXISTS', 'a conflicting record already exists', {
          cause: thrown,
          hint: 'Check the state (`antipode status`, `antipode group list`): somebody else wrote the record at the same moment. Repeat the command if it is still needed.',
        });
      }
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new AntipodeError('DATABASE_UNAVAILABLE', `database statement failed: ${reason}`, { cause: thrown });
    }
  }
}

function shareOf({ connection, clock, log = silentLog, limits = {} }: StoreOptions): Share {
  const servers = new Servers({ servers: [connection].flat(), log });
  return { servers, clock, limits: { ...LIMITS, ...limits }, connectionsMax: CONNECTIONS_MAX };
}

function connected({ servers, limits, connectionsMax }: Share): Kysely<Schema> {
  const pool = new Connections({ servers, limits, max: connectionsMax });
  return new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
}

/** A defect of ours, which no retry mends. */
function isProgrammingError(thrown: unknown): boolean {
  return thrown instanceof TypeError || thrown instanceof RangeError || thrown instanceof ReferenceError;
}

/** SQLSTATE class 23. */
function isConstraintViolation(thrown: unknown): thrown is Error {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' && thrown.code.startsWith('23');
}

/** JSON in which BigInts are strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => (typeof member === 'bigint' ? member.toString() : member));
}
