import { FakeClock } from '@antipode/runtime/testing';
import type { PostgresPool, PostgresPoolClient } from 'kysely';
import { SqlStore } from '../store/sql-store.ts';
import { SqliteDatabase } from './sqlite-database.ts';
import { storeConformance } from './store-conformance.ts';

/** One connection, lent to one user at a time. */
class OneConnection implements PostgresPool {
  readonly options = {};
  readonly #database = new SqliteDatabase();
  readonly #waiting: (() => void)[] = [];
  #isLent = false;

  async connect(): Promise<PostgresPoolClient> {
    if (this.#isLent) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#isLent = true;
    return {
      query: async (text: string, values: readonly unknown[] = []) => this.#database.run(text, values),
      release: () => {
        const next = this.#waiting.shift();
        if (next === undefined) this.#isLent = false;
        else next();
      },
    } as never as PostgresPoolClient;
  }

  async end(): Promise<void> {
    this.#database.close();
  }
}

const store = new SqlStore({ pool: new OneConnection(), clock: new FakeClock() });

storeConformance('the store over SQLite', () => store);
