/** Reads and writes for every part of the journal. Each transaction is counted, so that an older copy shows its age. */
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite';
import { PreparedStatements, reaching, transaction } from '../database.ts';
import type { JournalHistory } from './history.ts';

export class Statements {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #history: JournalHistory;
  readonly #prepared: PreparedStatements;

  constructor({ database, path, history }: { database: DatabaseSync; path: string; history: JournalHistory }) {
    this.#database = database;
    this.#path = path;
    this.#history = history;
    this.#prepared = new PreparedStatements(database);
  }

  /** All of it or nothing, durable on return. Writes inside it are part of it. Not nested. */
  transaction(work: () => void): void {
    transaction(this.#database, () => {
      work();
      this.#history.count();
    });
  }

  /** One write, in the transaction that is open or in one of its own. */
  run(sql: string, ...values: (string | number | bigint | Uint8Array | null)[]): void {
    const run = (): void => void reaching(this.#path, () => this.#prepared.of(sql).run(...values));
    if (this.#database.isTransaction) run();
    else this.transaction(run);
  }

  /** For many writes of one kind, inside a transaction. */
  prepare(sql: string): StatementSync {
    return this.#prepared.of(sql);
  }

  get(sql: string, ...values: (string | number)[]): Record<string, SQLOutputValue> | undefined {
    return reaching(this.#path, () => this.#prepared.of(sql).get(...values));
  }

  all(sql: string, ...values: (string | number)[]): Record<string, SQLOutputValue>[] {
    return reaching(this.#path, () => this.#prepared.of(sql).all(...values));
  }
}

/** A copy: what the database gives is gone with its next row. */
export const bytes = (value: SQLOutputValue | undefined): Uint8Array => new Uint8Array(value as Uint8Array);
