/**
 * The connections to PostgreSQL: a few, each lent to one user at a time. One that has seen an error, a time-out or an
 * unfinished transaction is thrown away, since nobody knows its state; one that was sound before somebody else's trouble
 * is asked before it is lent again. Nothing waits without a limit.
 */
import { AntipodeError, systemClock } from '@antipode/runtime';
import type { PostgresCursor, PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import type pg from 'pg';
import { type ConnectionLimits, discard, type Servers } from './servers.ts';

/** One that has lain idle for longer is asked first: a firewall may have forgotten it. */
const IDLE_MS_MAX = 30_000;

/** A constraint or a rule of ours said no: SQLSTATE classes of what says nothing about server or connection. */
const HARMLESS_CLASSES = new Set(['22', '23', '40', '42', 'P0']);

export class Connections implements PostgresPool {
  readonly options = {};
  readonly #servers: Servers;
  readonly #limits: ConnectionLimits;
  readonly #max: number;
  readonly #idle: Connection[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #all = new Set<Connection>();
  #lent = 0;
  #isClosed = false;

  constructor({ servers, limits, max }: { servers: Servers; limits: ConnectionLimits; max: number }) {
    this.#servers = servers;
    this.#limits = limits;
    this.#max = max;
  }

  /** @throws DATABASE_UNAVAILABLE when all are in use for too long, or what the server gave as its reason */
  async connect(): Promise<PostgresPoolClient> {
    await this.#turn();
    try {
      for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
        if (await this.#isSound(idle)) return idle;
      }
      if (this.#isClosed) throw new AntipodeError('DATABASE_UNAVAILABLE', 'the coordinator is closing');
      const made = new Connection(await this.#servers.open(this.#limits), {
        trouble: () => this.#servers.suspect(),
        release: (connection) => this.#release(connection),
      });
      this.#all.add(made);
      return made;
    } catch (thrown) {
      this.#pass();
      throw thrown;
    }
  }

  /** Those in use are cut: whoever waits for a silent server must not keep the process. */
  async end(): Promise<void> {
    this.#isClosed = true;
    for (const wake of this.#waiting.splice(0)) wake();
    for (const connection of this.#all) connection.discard();
    this.#all.clear();
    this.#idle.length = 0;
  }

  async #turn(): Promise<void> {
    if (this.#lent >= this.#max) {
      const over = new AbortController();
      const wake = (): void => over.abort();
      this.#waiting.push(wake);
      await systemClock.sleep(this.#limits.connectMs, over.signal);
      if (!over.signal.aborted) {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1);
        throw new AntipodeError('DATABASE_UNAVAILABLE', `all ${this.#max} connections to the database are in use`);
      }
      // The one who woke us has left its place to us.
    } else this.#lent += 1;
  }

  /** Gives a place to who waits longest. */
  #pass(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#lent -= 1;
    else next();
  }

  async #isSound(connection: Connection): Promise<boolean> {
    const { soundMs } = connection;
    const isFresh = soundMs > this.#servers.suspectedMs && systemClock.monotonicMs() - soundMs < IDLE_MS_MAX;
    if (isFresh) return true;
    try {
      await this.#servers.validate(connection.client, this.#limits);
      connection.soundMs = systemClock.monotonicMs();
      return true;
    } catch {
      // The others that lay idle since before share its fate: nobody waits for each of them in turn.
      for (const other of [connection, ...this.#idle.splice(0)]) this.#throwAway(other);
      return false;
    }
  }

  #release(connection: Connection): void {
    if (connection.isSpoilt || this.#isClosed) this.#throwAway(connection);
    else this.#idle.push(connection);
    this.#pass();
  }

  #throwAway(connection: Connection): void {
    this.#all.delete(connection);
    connection.discard();
  }
}

interface Owner {
  readonly trouble: () => void;
  readonly release: (connection: Connection) => void;
}

class Connection implements PostgresPoolClient {
  readonly client: pg.Client;
  /** When it last answered as it should. */
  soundMs = systemClock.monotonicMs();
  readonly #owner: Owner;
  #hasFailed = false;
  #isInTransaction = false;
  /** Why nothing more is asked of it. */
  #brokenBy: unknown;

  constructor(client: pg.Client, owner: Owner) {
    this.client = client;
    this.#owner = owner;
  }

  get isSpoilt(): boolean {
    return this.#hasFailed || this.#isInTransaction;
  }

  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    sql: string | PostgresCursor<R>,
    parameters: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof sql !== 'string') throw new AntipodeError('INVARIANT_BROKEN', 'the store reads without cursors');
    return this.#query<R>(sql, parameters);
  }

  async #query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    const statement = sql.trimStart().slice(0, 12).toLowerCase();
    if (this.#brokenBy !== undefined) {
      // The server rolls back by itself when the connection is gone.
      if (statement.startsWith('rollback')) return { command: 'ROLLBACK', rowCount: 0, rows: [] };
      throw this.#brokenBy;
    }
    if (statement.startsWith('begin') || statement.startsWith('start trans')) this.#isInTransaction = true;
    try {
      const result = await this.client.query(sql, [...parameters]);
      this.soundMs = systemClock.monotonicMs();
      if (statement.startsWith('commit') || statement.startsWith('rollback')) this.#isInTransaction = false;
      return resultOf<R>(result);
    } catch (thrown) {
      this.#hasFailed = true;
      const state = thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '';
      if (/^[0-9A-Z]{5}$/.test(state)) {
        if (!HARMLESS_CLASSES.has(state.slice(0, 2))) this.#owner.trouble();
      } else {
        // No word of the server: its answer may still come, and would be taken for that of the next question.
        this.#brokenBy = thrown;
        this.#owner.trouble();
        discard(this.client);
      }
      throw thrown;
    }
  }

  release(destroy = false): void {
    if (destroy) this.#hasFailed = true;
    this.#owner.release(this);
  }

  discard(): void {
    this.#hasFailed = true;
    discard(this.client);
  }
}

/** Rows are of the type that the statement says: kysely derives it from the schema, and no driver can check it. */
export function resultOf<R>({ command, rowCount, rows }: pg.QueryResult): PostgresQueryResult<R> {
  return { command: command as PostgresQueryResult<R>['command'], rowCount: rowCount ?? 0, rows: rows as R[] };
}
