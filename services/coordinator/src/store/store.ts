/**
 * The truth, in PostgreSQL. Every change of state is one transaction that first checks the leader's epoch, so that a
 * paused leader's late write changes nothing, and that records what happened.
 */
import { AntipodeError, type Clock, type Closeable } from '@antipode/runtime';
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import pg from 'pg';
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
const CONNECT_MS_MAX = 3_000;
const STATEMENT_MS_MAX = 15_000;
const INT8 = 20;
/** Two coordinators may start at once on one new database. */
const MIGRATION_LOCK = 4_202_026;

export class Store implements Closeable {
  readonly #db: Kysely<Schema>;
  readonly #clock: Clock;

  constructor({ connection, clock }: { connection: pg.PoolConfig; clock: Clock }) {
    this.#clock = clock;
    const getTypeParser = ((oid: number, format: 'text') =>
      oid === INT8 ? BigInt : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser;
    const pool = new pg.Pool({
      ...connection,
      max: CONNECTIONS_MAX,
      connectionTimeoutMillis: CONNECT_MS_MAX,
      statement_timeout: STATEMENT_MS_MAX,
      query_timeout: STATEMENT_MS_MAX,
      types: { getTypeParser },
    });
    // A connection that breaks is replaced at the next use, and whoever was using it gets the error from its query; the
    // event of the connection itself must have a listener all the same, or it ends the process.
    pool.on('error', () => {});
    pool.on('connect', (client) => client.on('error', () => {}));
    this.#db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  }

  async migrate(): Promise<void> {
    await this.#reaching(() =>
      this.#db.transaction().execute(async (trx) => {
        await sql`SELECT pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK)})`.execute(trx);
        await sql`CREATE TABLE IF NOT EXISTS migration (version int PRIMARY KEY)`.execute(trx);
        const done = await sql<{ version: number | null }>`SELECT max(version) AS version FROM migration`.execute(trx);
        const version = done.rows[0]?.version ?? 0;
        if (version > MIGRATIONS.length) {
          throw new AntipodeError(
            'CONFIG_INVALID',
            `the database is of schema ${version}, this program knows up to ${MIGRATIONS.length}`,
            { details: { version } },
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
        throw new AntipodeError('ALREADY_EXISTS', 'the database holds something that excludes it', { cause: thrown });
      }
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new AntipodeError('DATABASE_UNAVAILABLE', `the database did not do it: ${reason}`, { cause: thrown });
    }
  }
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
