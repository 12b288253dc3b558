import { type CompiledQuery, Kysely, PostgresDialect, type PostgresPool } from 'kysely';
import { beforeEach, describe, expect, it } from 'vitest';
import { fixed, fixedList } from './fixed-statement.ts';
import type { Schema } from './schema.ts';
import type { Read } from './store.ts';

let asked: Pick<CompiledQuery, 'sql' | 'parameters'>[];
let db: Read;
let built: number;

beforeEach(() => {
  asked = [];
  built = 0;
  const query = async (sql: string, parameters: readonly unknown[]) => {
    asked.push({ sql, parameters });
    return { command: 'SELECT', rowCount: 0, rows: [] };
  };
  const pool = { connect: async () => ({ query, release: () => {} }), end: async () => {} };
  db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool: pool as never as PostgresPool }) });
});

describe('a fixed statement', () => {
  const intents = (of: Read, { group, sinceMs }: { group: string; sinceMs: bigint }) => {
    built += 1;
    return of
      .selectFrom('intent')
      .selectAll()
      .where('status', 'in', ['open', 'parked'])
      .where('created_ms', '>=', sinceMs)
      .where((eb) => eb.or([eb('grp', '=', group), eb('site', '=', group)]))
      .limit(7);
  };

  it('asks what one asks that is built for each call', async () => {
    const read = fixed(intents);
    for (const given of [
      { group: 'payments', sinceMs: 5n },
      { group: 'ledger', sinceMs: 6n },
    ]) {
      await read(db, given);
      await intents(db, given).execute();
    }
    expect(asked.map(({ sql }) => sql)).toEqual(Array(4).fill(asked[0]?.sql));
    expect(asked[0]?.parameters).toEqual(['open', 'parked', 5n, 'payments', 'payments', 7]);
    expect(asked[1]).toEqual(asked[0]);
    expect(asked[2]?.parameters).toEqual(['open', 'parked', 6n, 'ledger', 'ledger', 7]);
    expect(asked[3]).toEqual(asked[2]);
  });

  it('is built once', async () => {
    const read = fixed(intents);
    await read(db, { group: 'payments', sinceMs: 5n });
    await read(db, { group: 'payments', sinceMs: 5n });
    expect(built).toBe(1);
  });
});

describe('a fixed statement with a list', () => {
  const members = (of: Read, names: readonly string[]) => {
    built += 1;
    return of.selectFrom('member').selectAll().where('grp', 'in', names);
  };

  it('is built once for each length', async () => {
    const read = fixedList(members);
    for (const names of [['a'], ['b'], ['a', 'b'], ['c', 'd']]) await read(db, names);
    expect(built).toBe(2);
    expect(asked.map(({ parameters }) => parameters)).toEqual([['a'], ['b'], ['a', 'b'], ['c', 'd']]);
    await members(db, ['c', 'd']).execute();
    expect(asked.at(-1)).toEqual(asked.at(-2));
  });

  it('is not kept for a long one', async () => {
    const read = fixedList(members);
    const names = Array.from({ length: 100 }, (_, at) => `g${at}`);
    await read(db, names);
    await read(db, names);
    expect(built).toBe(2);
    expect(asked[0]?.parameters).toEqual(names);
  });
});
