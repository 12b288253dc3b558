/**
 * The store in SQL, over whatever connections it is given. Every change of state is one transaction that first checks the
 * leader's epoch, so that a paused leader's late write changes nothing, and that records what happened.
 */
import { AntipodeError, type Clock, type Closeable } from '@antipode/runtime';
import { type Insertable, Kysely, PostgresDialect, type PostgresPool, sql } from 'kysely';
import { TABLES } from './backup/rows.ts';
import { fixed } from './fixed-statement.ts';
import { MIGRATIONS, SCHEMA_OF_PREVIOUS_RELEASE, type Schema } from './schema.ts';
import {
  type Change,
  type EventRecord,
  type Look,
  type Read,
  type Store,
  type Tables,
  toJson,
  type Write,
} from './store.ts';

/** Held while tables are made or changed. */
const MIGRATION_LOCK = 4_202_026;

/** The contents of a backup. */
export interface Refill {
  /** Version of its tables. */
  readonly schema: number;
  readonly fill: (trx: Write) => Promise<void>;
  /** With the tables of this release. */
  readonly end: Change<void>;
}

export class SqlStore implements Store, Tables, Closeable {
  readonly #db: Kysely<Schema>;
  readonly #clock: Clock;

  constructor({ pool, clock }: { pool: PostgresPool; clock: Clock }) {
    this.#db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
    this.#clock = clock;
  }

  /**
   * Two coordinators may start at once on one new database, so a lock is taken. A database that has tables is brought up
   * to date by its leader only.
   */
  found(): Promise<void> {
    return reaching(() =>
      this.#db.transaction().execute(async (trx) => {
        await sql`SELECT pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK)})`.execute(trx);
        await sql`CREATE TABLE IF NOT EXISTS migration (version int PRIMARY KEY)`.execute(trx);
        if ((await requireKnown(trx)) === 0) await migrateFrom(0, trx);
      }),
    );
  }

  examine(): Promise<void> {
    return reaching(async () => void (await requireKnown(this.#db)));
  }

  migrate(leaderEpoch: bigint): Promise<void> {
    return reaching(async () => {
      // Most leaders find nothing to do, and wait for no lock. The tables of the next release are used as they are.
      if ((await requireKnown(this.#db)) >= MIGRATIONS.length) return;
      await this.#db.transaction().execute(async (trx) => {
        await sql`SELECT pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK)})`.execute(trx);
        await requireLead(trx, leaderEpoch);
        await migrateFrom(await requireKnown(trx), trx);
      });
    });
  }

  /**
   * Fills a database in which no coordinator has worked with the rows of a backup, which has the tables of `schema`, and
   * brings them to this release. All of it or nothing.
   * @throws RESTORE_REFUSED, CONFIG_INVALID where a later release made the backup
   */
  refill({ schema, fill, end }: Refill): Promise<void> {
    return reaching(() =>
      this.#db.transaction().execute(async (trx) => {
        requireKnownSchema(schema);
        await sql`SELECT pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK)})`.execute(trx);
        await requireUnused(trx);
        await sql`CREATE TABLE migration (version int PRIMARY KEY)`.execute(trx);
        await migrateFrom(0, trx, schema);
        await fill(trx);
        await migrateFrom(schema, trx);
        await this.#recording(trx, end);
      }),
    );
  }

  write<T>(leaderEpoch: bigint, change: Change<T>): Promise<T> {
    return reaching(() =>
      this.#db.transaction().execute(async (trx) => {
        await requireLead(trx, leaderEpoch);
        return this.#recording(trx, change);
      }),
    );
  }

  async #recording<T>(trx: Write, change: Change<T>): Promise<T> {
    const events: EventRecord[] = [];
    const result = await change(trx, (event) => events.push(event));
    for (const { kind, group = '', site = '', details = {} } of events) {
      const at_ms = BigInt(this.#clock.wallMs());
      await recorded(trx, { at_ms, kind, grp: group, site, details: toJson(details) });
    }
    return result;
  }

  snapshot<T>(look: Look<T>): Promise<T> {
    return reaching(() => this.#db.transaction().setIsolationLevel('repeatable read').execute(look));
  }

  query<T>(look: Look<T>): Promise<T> {
    return reaching(() => look(this.#db));
  }

  async close(): Promise<void> {
    await this.#db.destroy();
  }
}

/** Held to the end of the transaction: nobody else takes over before. @throws LEADERSHIP_LOST */
async function requireLead(trx: Write, leaderEpoch: bigint): Promise<void> {
  const { rows } = await leaseOf(trx, { epoch: leaderEpoch });
  if (rows.length > 0) return;
  throw new AntipodeError('LEADERSHIP_LOST', `leader epoch ${leaderEpoch} is over`, { details: { leaderEpoch } });
}

const leaseOf = fixed((db, { epoch }: { epoch: bigint }) =>
  db.selectFrom('leader_lease').select('epoch').where('epoch', '=', epoch).forShare(),
);

const recorded = fixed((db, event: Insertable<Schema['event']>) =>
  db.insertInto('event').values({
    at_ms: event.at_ms,
    kind: event.kind,
    grp: event.grp,
    site: event.site,
    details: event.details,
  }),
);

/**
 * A row below zero names a version of the tables, and the one that a program must know at least to use them: every release
 * sees to it that the one before can (schema.ts). Releases before there were such rows read the highest version only.
 */
const needRow = ({ version, needed }: { version: number; needed: number }): number => -(version * NEED_BASE + needed);
const NEED_BASE = 10_000;

/** The version of the tables; 0 where there are none. @throws CONFIG_INVALID */
async function requireKnown(db: Read): Promise<number> {
  const done = await sql<{ version: number | null; lowest: number | null }>`
    SELECT max(version) AS version, min(version) AS lowest FROM migration`.execute(db);
  const { version, lowest } = done.rows[0] ?? {};
  if (version == null) return 0;
  const need = Math.max(0, -(lowest ?? 0));
  // One of an earlier version says nothing about this one.
  const needed = Math.floor(need / NEED_BASE) === version ? need % NEED_BASE : version;
  if (version > MIGRATIONS.length) requireKnownSchema(needed, version);
  return version;
}

/** Nothing is ever put over the records of a coordinator. @throws RESTORE_REFUSED */
async function requireUnused(trx: Write): Promise<void> {
  const there = await sql<{ name: string }>`SELECT tablename::text AS name FROM pg_tables
    WHERE schemaname = current_schema() AND tablename IN ('migration', ${sql.join([...TABLES])})`.execute(trx);
  if (there.rows.length === 0) return;
  throw new AntipodeError('RESTORE_REFUSED', `the database has the tables of a coordinator already`, {
    details: { tables: there.rows.length },
    hint: 'Make a new, empty database and name it as `databaseUrl`. Leave this one as it is: nothing overwrites it.',
  });
}

/** @throws CONFIG_INVALID */
function requireKnownSchema(needed: number, version = needed): void {
  if (needed <= MIGRATIONS.length) return;
  throw new AntipodeError(
    'CONFIG_INVALID',
    `the database has schema ${version}, which needs at least schema ${needed}, expected at most ${MIGRATIONS.length}`,
    {
      details: { version, needed },
      hint: 'Start the newer version of Antipode that wrote it: the database is sound. Do not remove it, and do not replace it with an older copy.',
    },
  );
}

async function migrateFrom(version: number, trx: Write, end = MIGRATIONS.length): Promise<void> {
  for (const [index, migration] of MIGRATIONS.slice(0, end).entries()) {
    if (index < version) continue;
    await sql.raw(migration).execute(trx);
    await sql`INSERT INTO migration VALUES (${index + 1})`.execute(trx);
  }
  if (end === MIGRATIONS.length && version < end)
    await sql`INSERT INTO migration VALUES (${needRow({ version: end, needed: SCHEMA_OF_PREVIOUS_RELEASE })})`.execute(
      trx,
    );
}

async function reaching<T>(work: () => Promise<T>): Promise<T> {
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

/** A defect of ours, which no retry mends. */
function isProgrammingError(thrown: unknown): boolean {
  return thrown instanceof TypeError || thrown instanceof RangeError || thrown instanceof ReferenceError;
}

/** SQLSTATE class 23. */
function isConstraintViolation(thrown: unknown): thrown is Error {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' && thrown.code.startsWith('23');
}
