/**
 * The store in the process of a test: PostgreSQL itself, compiled to WebAssembly, with its tables in memory. Statements,
 * driver and types are those of production. Two things differ: it has one connection, so that transactions come one after
 * another, and nothing outlives the process. It takes no turn of the event loop, so that a FakeClock may advance over it.
 */
import { AntipodeError, type Clock, type Closeable } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { PGlite } from '@electric-sql/pglite';
import { createPgConfig } from '@electric-sql/pglite/node-postgres';
import { type PostgresCursor, type PostgresPool, type PostgresPoolClient, type PostgresQueryResult, sql } from 'kysely';
import pg from 'pg';
import { resultOf } from '../store/postgres/connections.ts';
import { TYPES } from '../store/postgres/servers.ts';
import { MIGRATIONS } from '../store/schema.ts';
import { SqlStore } from '../store/sql-store.ts';
import type { Change, Look, Store, Tables } from '../store/store.ts';
import { clusterWith } from './cluster.ts';

/** The tables are of this release, as `found` leaves them. */
const FOUNDED = `
  CREATE TABLE migration (version int PRIMARY KEY);
  INSERT INTO migration SELECT generate_series(1, ${MIGRATIONS.length});
`;

/**
 * The function `be_empty` brings the tables back to the rows that the migrations leave in them. In the role of a replica
 * PostgreSQL runs no trigger: the triggers of the event log would refuse.
 */
const EMPTYING = `
  CREATE SCHEMA beginning;
  DO $$
    DECLARE
      tables text[] := ARRAY(
        SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migration');
      name text;
      body text := '';
    BEGIN
      FOREACH name IN ARRAY tables LOOP
        EXECUTE format('CREATE TABLE beginning.%1$s AS TABLE public.%1$s', name);
        body := body || format('DELETE FROM %1$s; INSERT INTO %1$s SELECT * FROM beginning.%1$s;', name);
      END LOOP;
      EXECUTE format(
        'CREATE FUNCTION be_empty() RETURNS void LANGUAGE sql SET session_replication_role = replica AS %L', body);
    END $$;
`;

export class InProcessStore implements Store, Tables, Closeable {
  readonly #store: SqlStore;
  readonly #database: PGlite;

  private constructor({ store, database }: { store: SqlStore; database: PGlite }) {
    this.#store = store;
    this.#database = database;
  }

  /** With its tables, as the migrations leave them, or with everything that a copy holds. */
  static async open({ clock = new FakeClock(), copy }: { clock?: Clock; copy?: Blob } = {}): Promise<InProcessStore> {
    const loadDataDir = copy ?? (await clusterWith([...MIGRATIONS, FOUNDED, EMPTYING]));
    const database = await PGlite.create({ loadDataDir });
    const client = new pg.Client({ ...createPgConfig(database), types: TYPES });
    await client.connect();
    return new InProcessStore({ store: new SqlStore({ pool: new OneConnection(client), clock }), database });
  }

  found(): Promise<void> {
    return this.#store.found();
  }

  examine(): Promise<void> {
    return this.#store.examine();
  }

  migrate(leaderEpoch: bigint): Promise<void> {
    return this.#store.migrate(leaderEpoch);
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

  /** Takes away everything that was written. Events are numbered from one again. */
  async empty(): Promise<void> {
    await this.#store.query((db) => sql`SELECT be_empty(), setval('event_id_seq', 1, false)`.execute(db));
  }

  /** Everything that has been written, as a backup holds it. */
  copy(): Promise<Blob> {
    return this.#database.dumpDataDir('none');
  }

  async close(): Promise<void> {
    await this.#store.close();
    await this.#database.close();
  }
}

/** Lent to one user at a time, first come, first served, however long that takes. */
class OneConnection implements PostgresPool, PostgresPoolClient {
  readonly options = {};
  readonly #client: pg.Client;
  readonly #waiting: (() => void)[] = [];
  #isLent = false;

  constructor(client: pg.Client) {
    this.#client = client;
  }

  async connect(): Promise<PostgresPoolClient> {
    if (this.#isLent) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#isLent = true;
    return this;
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#isLent = false;
    else next();
  }

  query<R>(statement: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    statement: string | PostgresCursor<R>,
    parameters: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof statement !== 'string') throw new AntipodeError('INVARIANT_BROKEN', 'the store reads without cursors');
    return this.#client.query(statement, [...parameters]).then(resultOf<R>);
  }

  async end(): Promise<void> {
    await this.#client.end();
  }
}
