import { AntipodeError } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import { beforeEach, expect, it } from 'vitest';
import { testDatabase } from '../testing/database.ts';
import { FIRST_EPOCH } from '../testing/leader.ts';
import type { Change, Store } from './store.ts';
import { lockGroup, setRole } from './tables/groups.ts';
import { TouchedGroups, type TouchReader } from './touched-groups.ts';

const database = testDatabase();

class Bench {
  readonly clock = new FakeClock();
  readonly touched = new TouchedGroups({ clock: this.clock });
  fails: AntipodeError | undefined;
  readonly store: Store;
  readonly reader: TouchReader;

  constructor() {
    const guarded = <T>(work: () => Promise<T>): Promise<T> => {
      if (this.fails !== undefined) throw this.fails;
      return work();
    };
    this.store = this.touched.noting({
      query: (look) => guarded(() => database.store.query(look)),
      snapshot: (look) => guarded(() => database.store.snapshot(look)),
      write: (epoch, change) => guarded(() => database.store.write(epoch, change)),
    });
    this.reader = this.touched.reader();
    this.reader.take();
  }

  write(change: Change<unknown>): Promise<unknown> {
    return this.store.write(FIRST_EPOCH, change);
  }
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

const names = (): string[] | 'all' => {
  const touched = bench.reader.take();
  return touched === 'all' ? touched : [...touched].sort();
};

it('tells a new reader of everything, and afterwards only of what was written', async () => {
  expect(bench.touched.reader().take()).toBe('all');
  await bench.store.query((db) => db.selectFrom('member').selectAll().where('grp', '=', 'read-only').execute());
  expect(names()).toEqual([]);
});

it.each<[string, Change<unknown>, string]>([
  ['a statement of the builder', (trx) => setRole(trx, 'payments', 'b', 'standby'), 'payments'],
  ['a list of names', (trx) => trx.deleteFrom('scrub').where('grp', 'in', ['one', 'two']).execute(), 'two'],
  ['raw SQL', (trx) => sql`DELETE FROM scrub WHERE grp = ${'raw'}`.execute(trx), 'raw'],
  ['an array in raw SQL', (trx) => sql`DELETE FROM scrub WHERE grp = ANY (${['in-array']})`.execute(trx), 'in-array'],
  [
    'a row that is inserted',
    (trx) => trx.insertInto('schedule_fire').values({ schedule: 'inserted', fire_ms: 1n }).execute(),
    'inserted',
  ],
])('names the group in %s', async (_what, change, name) => {
  await bench.write(change);
  expect(names()).toContain(name);
  expect(names()).toEqual([]);
});

it('names no group that a write only asks for', async () => {
  await bench.write((trx) => lockGroup(trx, 'payments').catch(() => 'there is none'));
  expect(names()).toEqual([]);
});

it('names a group only when its write has ended, so that its reader sees the change', async () => {
  let during: unknown;
  await bench.write(async (trx) => {
    await setRole(trx, 'payments', 'b', 'standby');
    during = names();
  });
  expect([during, names()]).toEqual([[], expect.arrayContaining(['payments'])]);
});

it('names the groups of a write that failed: its outcome can be unknown', async () => {
  const failed = bench.write(async (trx) => {
    await setRole(trx, 'payments', 'b', 'standby');
    throw new AntipodeError('ROLE_REFUSED', 'not now');
  });
  await rejection(failed);
  expect(names()).toContain('payments');
});

it('tells of everything after trouble with the database, until no late write can follow', async () => {
  bench.fails = new AntipodeError('DATABASE_UNAVAILABLE', 'away');
  await rejection(bench.store.query(async () => {}));
  bench.fails = undefined;
  expect([names(), names()]).toEqual(['all', 'all']);
  await bench.clock.advance(30_000);
  expect([names(), names()]).toEqual(['all', []]);
});

it('names the groups of failed writes with each look after trouble, and everything only now and then', async () => {
  const reader = bench.touched.reader({ againMs: 5_000 });
  const taken = () => {
    const touched = reader.take();
    return touched === 'all' ? touched : [...touched].filter((name) => name === 'payments' || name === 'accounts');
  };
  const failed = bench.write(async (trx) => {
    await setRole(trx, 'payments', 'b', 'standby');
    throw new AntipodeError('DATABASE_UNAVAILABLE', 'away');
  });
  await rejection(failed);
  expect([taken(), taken(), taken()]).toEqual(['all', ['payments'], ['payments']]);
  await bench.write((trx) => setRole(trx, 'accounts', 'b', 'standby'));
  expect(taken()).toEqual(expect.arrayContaining(['accounts', 'payments']));
  await bench.clock.advance(5_000);
  expect([taken(), taken()]).toEqual(['all', ['payments']]);
  await bench.clock.advance(25_000);
  expect([taken(), taken()]).toEqual(['all', []]);
});

it('tells of everything to a new leader, and of what a reader could not read', () => {
  bench.touched.touchAll();
  expect(names()).toBe('all');
  bench.reader.giveBack(new Set(['again']));
  expect(names()).toEqual(['again']);
  bench.reader.giveBack('all');
  bench.reader.giveBack(new Set(['again']));
  expect(names()).toBe('all');
});

it('tells of everything rather than of thousands of names', () => {
  bench.reader.giveBack(new Set(Array.from({ length: 2_001 }, (_, index) => `g${index}`)));
  expect(names()).toBe('all');
});
