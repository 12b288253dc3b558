import { FakeClock } from '@antipode/runtime/testing';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { insertGroup, readGroups } from '../store/tables/groups.ts';
import { readLeaderLease, takeLeaderLease } from '../store/tables/leadership/leader-lease.ts';
import { SPEC } from './group.ts';
import { InProcessStore } from './in-process-store.ts';
import { storeConformance } from './store-conformance.ts';

const clock = new FakeClock();
let store: InProcessStore;
beforeAll(async () => {
  store = await InProcessStore.open({ clock });
});
afterAll(() => store?.close());
beforeEach(() => store.empty());

storeConformance('the store in process', () => store);

it('is emptied to what the migrations leave behind, however often', async () => {
  const beginning = await store.query(readLeaderLease);
  for (let round = 0; round < 2; round += 1) {
    await store.write(0n, async (trx, record) => {
      await insertGroup(trx, SPEC, 0);
      record({ kind: 'group-created' });
    });
    await store.query((db) => takeLeaderLease(db, { seen: beginning, id: 'x', epoch: beginning.epoch + 1n }));
    const ids = await store.query((db) => db.selectFrom('event').select('id').execute());
    expect(ids).toEqual([{ id: 1n }]);
    await store.empty();
    expect(await store.query((db) => readGroups(db))).toEqual([]);
    expect(await store.query(readLeaderLease)).toEqual(beginning);
  }
});

it('has done all that it can once a clock has settled: nothing waits for a turn of the event loop', async () => {
  let numbers: string[] = [];
  void store.query(async (db) => {
    for (let count = 0; count < 5; count += 1) numbers = [...numbers, (await readLeaderLease(db)).holder];
  });
  await clock.advance(0);
  expect(numbers).toHaveLength(5);
});
