import { AntipodeError } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { Store, toJson } from './store.ts';

/** Never connected: what is tested is what it makes of answers. */
const store = new Store({ connection: { host: 'nowhere.invalid' }, clock: new FakeClock() });
afterAll(() => store.close());

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
    'is no reason to try again where the program itself is wrong: %s',
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

it('writes BigInts as the digits they are', () => {
  expect(toJson({ number: 12n, list: [3n, 4], nothing: undefined })).toBe('{"number":"12","list":["3",4]}');
});
