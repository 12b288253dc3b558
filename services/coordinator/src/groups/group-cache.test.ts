import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { expect, it, vi } from 'vitest';
import type { Group } from '../model.ts';
import type { Store } from '../store/store.ts';
import { GroupCache } from './group-cache.ts';

vi.mock(import('../store/tables/groups.ts'), () => ({ readGroups: async (db: unknown) => db as Group[] }));

/** A database whose snapshots answer when the test says so, each with what it is given then. */
class Bench {
  readonly answers: { readonly give: (epoch: bigint) => void; readonly fail: (error: Error) => void }[] = [];
  readonly cache = new GroupCache({
    store: {
      snapshot: async (work: (db: unknown) => Promise<unknown>) => {
        const epoch = await new Promise<bigint>((give, fail) => this.answers.push({ give, fail }));
        return work([{ epoch }]);
      },
    } as unknown as Store,
  });

  get epochs(): bigint[] {
    return this.cache.all.map(({ epoch }) => epoch);
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('holds nothing before it has read, and then the groups of one moment', async () => {
  const bench = new Bench();
  expect(bench.epochs).toEqual([]);
  const reading = bench.cache.refresh();
  await settled();
  bench.answers[0]!.give(1n);
  await reading;
  expect(bench.epochs).toEqual([1n]);
});

it('reads one after another, so that no slow reading takes the place of a later one', async () => {
  const bench = new Bench();
  const readings = [bench.cache.refresh(), bench.cache.refresh()];
  await settled();
  expect(bench.answers).toHaveLength(1);
  bench.answers[0]!.give(1n);
  await readings[0];
  await settled();
  expect([bench.answers.length, bench.epochs]).toEqual([2, [1n]]);
  bench.answers[1]!.give(2n);
  await readings[1];
  expect(bench.epochs).toEqual([2n]);
});

it('keeps what it has where a reading fails, says so, and reads again', async () => {
  const bench = new Bench();
  const readings = [bench.cache.refresh(), bench.cache.refresh(), bench.cache.refresh()] as const;
  await settled();
  bench.answers[0]!.give(1n);
  await settled();
  bench.answers[1]!.fail(new AntipodeError('DATABASE_UNAVAILABLE', 'away'));
  expect((await rejection(readings[1])).code).toBe('DATABASE_UNAVAILABLE');
  expect(bench.epochs).toEqual([1n]);
  await settled();
  bench.answers[2]!.give(3n);
  await readings[2];
  expect(bench.epochs).toEqual([3n]);
});

it('knows what members may still ask for only under the leadership that has looked', () => {
  const cache = new GroupCache({ store: {} as Store });
  expect(cache.needed('payments')).toBeUndefined();
  cache.learnNeeded('payments', ['aa']);
  expect([cache.needed('payments'), cache.needed('cards')]).toEqual([['aa'], undefined]);
  cache.forgetNeeded();
  expect(cache.needed('payments')).toBeUndefined();
});
