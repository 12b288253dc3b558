import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import type { Look } from '../store/store.ts';
import { testDatabase } from '../testing/database.ts';
import { GroupCache } from './group-cache.ts';

const database = testDatabase();
beforeEach(async () => {
  await database.rows.group();
});

/** A database whose snapshots answer when the test says so. */
class Bench {
  readonly answers: { readonly give: () => void; readonly fail: (error: Error) => void }[] = [];
  readonly cache = new GroupCache({
    store: {
      snapshot: async <T>(look: Look<T>): Promise<T> => {
        const seen = Promise.withResolvers<void>();
        this.answers.push({ give: seen.resolve, fail: seen.reject });
        await seen.promise;
        return database.store.snapshot(look);
      },
    },
  });

  get epochs(): bigint[] {
    return this.cache.all.map(({ epoch }) => epoch);
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const nextEpoch = (epoch: bigint): Promise<void> => database.rows.epoch({ epoch, owner: 'b', isActive: true });

it('holds nothing before it has read, and then the groups of one moment', async () => {
  const bench = new Bench();
  expect(bench.epochs).toEqual([]);
  const reading = bench.cache.refresh();
  await settled();
  bench.answers[0]!.give();
  await reading;
  expect(bench.epochs).toEqual([1n]);
});

it('reads one after another, so that no slow reading takes the place of a later one', async () => {
  const bench = new Bench();
  const readings = [bench.cache.refresh(), bench.cache.refresh()];
  await settled();
  expect(bench.answers).toHaveLength(1);
  bench.answers[0]!.give();
  await readings[0];
  await settled();
  expect([bench.answers.length, bench.epochs]).toEqual([2, [1n]]);
  await nextEpoch(2n);
  bench.answers[1]!.give();
  await readings[1];
  expect(bench.epochs).toEqual([2n]);
});

it('keeps what it has where a reading fails, says so, and reads again', async () => {
  const bench = new Bench();
  const readings = [bench.cache.refresh(), bench.cache.refresh(), bench.cache.refresh()] as const;
  await settled();
  bench.answers[0]!.give();
  await readings[0];
  await nextEpoch(2n);
  await settled();
  bench.answers[1]!.fail(new AntipodeError('DATABASE_UNAVAILABLE', 'away'));
  expect((await rejection(readings[1])).code).toBe('DATABASE_UNAVAILABLE');
  expect(bench.epochs).toEqual([1n]);
  await settled();
  bench.answers[2]!.give();
  await readings[2];
  expect(bench.epochs).toEqual([2n]);
});

it('knows what members may still ask for only under the leadership that has looked', () => {
  const cache = new GroupCache(database);
  expect(cache.needed('payments')).toBeUndefined();
  cache.learnNeeded('payments', ['aa']);
  expect([cache.needed('payments'), cache.needed('cards')]).toEqual([['aa'], undefined]);
  cache.learnAcknowledged('payments', []);
  expect([cache.acknowledged('payments'), cache.acknowledged('cards')]).toEqual([[], undefined]);
  cache.forgetNeeded();
  expect([cache.needed('payments'), cache.acknowledged('payments')]).toEqual([undefined, undefined]);
});
