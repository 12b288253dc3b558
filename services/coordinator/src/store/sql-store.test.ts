import { AntipodeError } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import type { PostgresPool } from 'kysely';
import { describe, expect, it } from 'vitest';
import { SqlStore } from './sql-store.ts';

/** Never asked: what is tested is what the store makes of answers. */
const pool: PostgresPool = { options: {}, connect: () => Promise.reject(new Error('not here')), end: async () => {} };
const store = new SqlStore({ pool, clock: new FakeClock() });

const failing = (thrown: unknown): Promise<AntipodeError> =>
  rejection(
    store.query(() => {
      throw thrown;
    }),
  );

describe('a query that fails', () => {
  it('says that the database is away, whatever the driver throws', async () => {
    for (const thrown of [new Error('Connection terminated'), Object.assign(new Error(), { code: 'ECONNREFUSED' }), 7])
      expect((await failing(thrown)).code).toBe('DATABASE_UNAVAILABLE');
  });

  it('says that something excludes it, where a constraint does', async () => {
    expect((await failing(Object.assign(new Error('duplicate key'), { code: '23505' }))).code).toBe('ALREADY_EXISTS');
    expect((await failing(Object.assign(new Error('syntax error'), { code: '42601' }))).code).toBe(
      'DATABASE_UNAVAILABLE',
    );
  });

  it('leaves an error of ours as it is', async () => {
    const error = new AntipodeError('LEADERSHIP_LOST', 'epoch 3 is over');
    expect(await failing(error)).toBe(error);
  });

  it.each([new TypeError('undefined is not a function'), new RangeError('too deep'), new ReferenceError('nothing')])(
    'does not cause a retry if the program itself is wrong: %s',
    async (error) => {
      await expect(
        store.query(() => {
          throw error;
        }),
      ).rejects.toBe(error);
      expect(AntipodeError.from(error).disposition).toBe('defect');
    },
  );
});
