/**
 * The database of the coordinators: the statements of production over SQLite, one connection at a time. It can stall, be
 * away, answer a commit with silence, and be put back to a copy that lags behind, as a failover of its own may do.
 */
import { type Answer, SqliteDatabase, SqlStore } from '@antipode/coordinator/testing';
import type { Clock } from '@antipode/runtime';
import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import type { Chance } from './chance.ts';
import type { SimulatedProcess, WorldClock } from './clock.ts';

/** A statement that is not answered for so long is given up. */
const STATEMENT_MS_MAX = 5_000;
/** A transaction whose client says nothing for so long is ended by the server. */
const IDLE_MS_MAX = 2_000;

export class SimulatedDatabase {
  readonly #clock: WorldClock;
  readonly #chance: Chance;
  #tables: SqliteDatabase;
  #holder: Connection | undefined;
  readonly #waiting: (() => void)[] = [];
  /** Nobody can reach it. */
  isAway = false;
  /** Machines that cannot reach it. */
  readonly unreachableFrom = new Set<string>();
  #stalled: (() => void)[] | undefined;
  /** How probable it is that the answer to a commit is lost. */
  silentCommits = 0;
  /** Told of each commit of a machine, and whether it has changed anything. */
  onCommit: (commit: { machine: string; hasChanged: boolean }) => void = () => {};
  #changesBefore = 0;
  /** Whether statements take time. */
  readonly #isTimed: boolean;
  commits = 0;

  constructor({
    clock,
    chance,
    bytes,
    isTimed = true,
  }: { clock: WorldClock; chance: Chance; bytes?: Uint8Array | undefined; isTimed?: boolean }) {
    this.#clock = clock;
    this.#chance = chance;
    this.#tables = new SqliteDatabase(bytes);
    this.#isTimed = isTimed;
  }

  get statements(): number {
    return this.#tables.statements;
  }

  copy(): Uint8Array {
    return this.#tables.serialize();
  }

  /** A standby that lags takes over: what it has not heard of never happened. */
  restore(bytes: Uint8Array): void {
    this.#holder?.break();
    this.#tables.forget();
    const { statements } = this.#tables;
    this.#tables.close();
    this.#tables = new SqliteDatabase(bytes);
    this.#tables.statements = statements;
  }

  /** Gives the memory back. Nothing uses it any more. */
  close(): void {
    this.#tables.close();
  }

  stall(): void {
    this.#stalled ??= [];
  }

  goOn(): void {
    const waiting = this.#stalled ?? [];
    this.#stalled = undefined;
    for (const wake of waiting) wake();
  }

  /** As one process uses it. */
  store(machine: string, process: SimulatedProcess, clock: Clock): SqlStore {
    return new SqlStore({ pool: new Pool(this, machine, process), clock });
  }

  /** For those who judge: outside of every transaction, and of time. */
  rows<R = Record<string, unknown>>(text: string, values: readonly unknown[] = []): R[] {
    return this.#tables.run<R>(text, values).rows;
  }

  get isInTransaction(): boolean {
    return this.#holder !== undefined;
  }

  async lend(connection: Connection): Promise<void> {
    while (this.#holder !== undefined) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#holder = connection;
  }

  giveBack(connection: Connection): void {
    if (this.#holder !== connection) return;
    this.#holder = undefined;
    this.#waiting.shift()?.();
  }

  /** The client of the transaction is gone, or silent for too long. */
  forget(connection: Connection): void {
    if (this.#holder !== connection) return;
    this.#tables.forget();
    this.giveBack(connection);
  }

  async answer<R>(connection: Connection, text: string, values: readonly unknown[]): Promise<Answer<R>> {
    await this.#reach(connection);
    if (connection.isBroken) throw new Error('the connection is closed');
    const isCommit = text === 'commit';
    if (isBegin(text)) this.#changesBefore = this.#tables.changedRows;
    const answer = this.#tables.run<R>(text, values);
    if (isCommit) {
      this.commits += 1;
      this.onCommit({ machine: connection.machine, hasChanged: this.#tables.changedRows !== this.#changesBefore });
      if (this.silentCommits > 0 && this.#chance.happens(this.silentCommits)) {
        connection.break();
        throw new Error('the connection was lost');
      }
    }
    return answer;
  }

  async #reach({ machine, process }: Connection): Promise<void> {
    if (this.#isTimed) await this.#clock.sleep(0.1 + this.#chance.fraction() * 0.5);
    if (this.#stalled !== undefined) {
      const over = Promise.withResolvers<void>();
      this.#stalled.push(over.resolve);
      this.#clock.after(STATEMENT_MS_MAX, over.resolve);
      await over.promise;
      if (this.#stalled !== undefined) {
        await process.gate();
        throw new Error('the statement was not answered in time');
      }
    }
    await process.gate();
    if (this.isAway || this.unreachableFrom.has(machine)) throw new Error('connection refused');
  }

  /** A client that stands still in a transaction loses it after a while. */
  watch(connection: Connection): void {
    this.#clock.after(IDLE_MS_MAX, () => {
      if (this.#holder !== connection) return;
      if (connection.process.state === 'running') this.watch(connection);
      else connection.break();
    });
  }

  /** A process has ended: its connection is closed. */
  left(process: SimulatedProcess): void {
    if (this.#holder?.process === process) this.#holder.break();
  }
}

const isBegin = (text: string): boolean => text === 'begin' || text.startsWith('start transaction');

class Pool implements PostgresPool {
  readonly options = {};
  readonly #database: SimulatedDatabase;
  readonly #machine: string;
  readonly #process: SimulatedProcess;

  constructor(database: SimulatedDatabase, machine: string, process: SimulatedProcess) {
    this.#database = database;
    this.#machine = machine;
    this.#process = process;
  }

  async connect(): Promise<PostgresPoolClient> {
    const connection = new Connection(this.#database, this.#machine, this.#process);
    for (;;) {
      await this.#process.gate();
      await this.#database.lend(connection);
      if (this.#process.state === 'running') return connection as never as PostgresPoolClient;
      // Its process has ended while it waited, or stands still: nobody else waits for it.
      this.#database.giveBack(connection);
    }
  }

  async end(): Promise<void> {}
}

class Connection {
  readonly machine: string;
  readonly process: SimulatedProcess;
  readonly #database: SimulatedDatabase;
  isBroken = false;

  constructor(database: SimulatedDatabase, machine: string, process: SimulatedProcess) {
    this.#database = database;
    this.machine = machine;
    this.process = process;
  }

  async query<R>(text: string, values: readonly unknown[] = []): Promise<PostgresQueryResult<R>> {
    if (this.isBroken) {
      if (text === 'rollback') return { command: 'ROLLBACK', rowCount: 0, rows: [] };
      throw new Error('the connection is closed');
    }
    if (isBegin(text)) this.#database.watch(this);
    return (await this.#database.answer<R>(this, text, values)) as PostgresQueryResult<R>;
  }

  break(): void {
    this.isBroken = true;
    this.#database.forget(this);
  }

  release(): void {
    if (this.isBroken) return;
    // Kysely gives it back after a commit or a rollback; an error of the rollback leaves a transaction open.
    this.#database.forget(this);
  }
}
