/** The database of a test file: one for all of its tests, and empty at the beginning of each. */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { InProcessStore } from './in-process-store.ts';
import { Rows } from './rows.ts';

export interface TestDatabase {
  readonly store: InProcessStore;
  readonly rows: Rows;
}

/** Called once in a file, before its own hooks. */
export function testDatabase(): TestDatabase {
  let opened: { store: InProcessStore; rows: Rows };
  beforeAll(async () => {
    const store = await InProcessStore.open();
    opened = { store, rows: new Rows(store) };
  });
  beforeEach(() => opened.store.empty());
  afterAll(() => opened?.store.close());
  return {
    get store() {
      return opened.store;
    },
    get rows() {
      return opened.rows;
    },
  };
}
