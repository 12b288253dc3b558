import { AntipodeError } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Look } from '../store/store.ts';
import { recordApproval } from '../store/tables/approvals.ts';
import { insertEpoch, insertGroup, readGroup, setRole } from '../store/tables/groups.ts';
import { deleteGroup } from '../store/tables/membership.ts';
import { TouchedGroups } from '../store/touched-groups.ts';
import { testDatabase } from '../testing/database.ts';
import { SPEC } from '../testing/group.ts';
import { FIRST_EPOCH } from '../testing/leader.ts';
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

it('keeps an approval to take a seat away, however many others were submitted since', async () => {
  const submit = (action: string, at: number) =>
    database.rows.write((trx) =>
      recordApproval(trx, {
        digest: `${action} ${at}`,
        group: 'payments',
        action,
        request: '',
        signatures: [],
        submittedBy: 'alice',
        submittedMs: at,
        expiresMs: 1_000,
      }),
    );
  await submit('release', 0);
  for (let at = 1; at <= 200; at += 1) await submit('enrol', at);
  const cache = new GroupCache({ store: database.store });
  await cache.refresh();
  expect(cache.releases.map(({ action }) => action)).toEqual(['release']);
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

describe('that hears what was written', () => {
  const clock = new FakeClock();
  const declare = (name: string) =>
    database.rows.group({
      spec: {
        ...SPEC,
        name,
        members: SPEC.members.map((seat) => ({ ...seat, serial: `${name}-${seat.site}` })),
        scratch: [],
      },
    });

  /** Counts readings of the database. */
  class Noting {
    reads = 0;
    readonly touched = new TouchedGroups({ clock });
    readonly store = this.touched.noting({
      ...{ query: (look) => database.store.query(look), write: (epoch, change) => database.store.write(epoch, change) },
      snapshot: (look) => {
        this.reads += 1;
        return database.store.snapshot(look);
      },
    });
    readonly cache = new GroupCache({
      store: this.store,
      news: { touched: this.touched.reader(), clock, allMs: 30_000 },
    });

    get groups(): string[] {
      return this.cache.all.map(({ spec, epoch }) => `${spec.name} ${epoch}`);
    }
  }

  it('reads nothing where nothing was written', async () => {
    const noting = new Noting();
    for (let count = 0; count < 3; count += 1) await noting.cache.refresh();
    expect([noting.reads, noting.groups]).toEqual([1, ['payments 1']]);
  });

  it('reads a group that was written, and leaves the others as the objects that they are', async () => {
    await declare('accounts');
    const noting = new Noting();
    await noting.cache.refresh();
    const [accounts, payments] = noting.cache.all;
    await noting.store.write(FIRST_EPOCH, async (trx) => {
      await insertEpoch(trx, 'payments', { epoch: 2n, owner: 'b', reason: 'automatic', isActive: true, nowMs: 0 });
    });
    await noting.cache.refresh();
    expect([noting.reads, noting.groups]).toEqual([2, ['accounts 1', 'payments 2']]);
    expect([noting.cache.all[0] === accounts, noting.cache.all[1] === payments]).toEqual([true, false]);
  });

  it('keeps its list where a group was named and has not changed', async () => {
    const noting = new Noting();
    await noting.cache.refresh();
    const { all } = noting.cache;
    await noting.store.write(FIRST_EPOCH, (trx) => setRole(trx, 'payments', 'b', 'standby'));
    await noting.cache.refresh();
    expect([noting.reads, noting.cache.all === all]).toEqual([2, true]);
  });

  it('learns of a group that is new, and of one that is gone', async () => {
    const noting = new Noting();
    await noting.cache.refresh();
    await noting.store.write(FIRST_EPOCH, async (trx) => {
      await insertGroup(trx, { ...SPEC, name: 'cards', members: [{ site: 'z', serial: 'cards-z' }], scratch: [] }, 0);
    });
    await noting.cache.refresh();
    expect(noting.groups).toEqual(['cards 1', 'payments 1']);
    await noting.store.write(FIRST_EPOCH, async (trx) => {
      await deleteGroup(trx, await readGroup(trx, 'payments'), { nowMs: 0 });
    });
    await noting.cache.refresh();
    expect([noting.groups, noting.cache.deleted]).toEqual([['cards 1'], ['payments']]);
  });

  it('reads everything from time to time, in case somebody else has written', async () => {
    const noting = new Noting();
    await noting.cache.refresh();
    await nextEpoch(2n);
    await noting.cache.refresh();
    expect(noting.groups).toEqual(['payments 1']);
    await clock.advance(30_000);
    await noting.cache.refresh();
    expect(noting.groups).toEqual(['payments 2']);
  });
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
