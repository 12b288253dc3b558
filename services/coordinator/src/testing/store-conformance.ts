/**
 * The promises of every implementation of the store: transactions, constraints, the leader's epoch, order, and the
 * types of values. The suite uses the functions of the tables. An implementation may run transactions in parallel or
 * one after another, as long as the rows do not show the difference.
 */
import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import { beforeEach, describe, expect, it } from 'vitest';
import type { GroupSpec } from '../model.ts';
import type { Change, Store } from '../store/store.ts';
import { readDrillEnds, readDrills, recordDrill } from '../store/tables/evidence/drills.ts';
import { readNewest, recordCapture, reserveNumber } from '../store/tables/generations.ts';
import { insertEpoch, insertGroup, lockGroup, readGroup, setRole } from '../store/tables/groups.ts';
import { insertIntent, readIntent } from '../store/tables/intents.ts';
import {
  type LeaderLease,
  readLeaderLease,
  renewLeaderLease,
  takeLeaderLease,
} from '../store/tables/leadership/leader-lease.ts';
import { readJournalMarks, recordJournalMarks } from '../store/tables/sites/journals.ts';
import { SPEC } from './group.ts';
import { generation } from './situation.ts';

/** Tries the store that `subject` gives, which may hold rows of others. */
export function storeConformance(name: string, subject: () => Store): void {
  describe(`${name} keeps the promises of a store`, () => {
    let store: Store;
    let lease: LeaderLease;
    let group: string;
    let count = 0;
    const write = <T>(change: Change<T>): Promise<T> => store.write(lease.epoch, change);
    const specOf = (name: string): GroupSpec => ({
      ...SPEC,
      name,
      members: SPEC.members.map(({ site, serial }) => ({ site, serial: `${name}-${serial}` })),
    });
    const read = (name = group) => store.query((db) => readGroup(db, name));
    const intent = (id: string) =>
      ({ id, kind: 'capture', group, site: 'a', state: { phase: 'due' }, trace: {} }) as const;
    /** The events of this test's group. */
    const events = () =>
      store.query((db) =>
        db.selectFrom('event').select(['id', 'kind', 'details']).where('grp', '=', group).orderBy('id').execute(),
      );
    /** A change that has begun, and ends when it is let. */
    const heldChange = async <T>(change: Change<T>) => {
      const [begun, allowed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const ended = write(async (trx, record) => {
        const result = await change(trx, record);
        begun.resolve();
        await allowed.promise;
        return result;
      });
      await Promise.race([begun.promise, ended]);
      return { end: allowed.resolve, fail: allowed.reject, ended };
    };

    beforeEach(async () => {
      store = subject();
      lease = await store.query(readLeaderLease);
      count += 1;
      group = `conformance-${count}`;
      await write((trx) => insertGroup(trx, specOf(group), 5));
    });

    it('a change is whole, with the events that tell of it', async () => {
      const made = await write(async (trx, record) => {
        record({ kind: 'first', group, details: { number: 3n, of: 'x', isNew: true } });
        await recordCapture(trx, group, generation({ number: 3n }));
        record({ kind: 'second', group, site: 'b' });
        return 'made';
      });
      expect(made).toBe('made');
      expect((await store.query((db) => readNewest(db, group)))?.number).toBe(3n);
      expect(await events()).toMatchObject([
        { kind: 'first', details: '{"number":"3","of":"x","isNew":true}' },
        { kind: 'second', details: '{}' },
      ]);
    });

    it.each([
      ['an error of ours', new AntipodeError('GROUP_BUSY', 'no'), 'GROUP_BUSY'],
      ['a mistake in the program', new TypeError('undefined is not a function'), undefined],
      ['anything else', new Error('lost'), 'DATABASE_UNAVAILABLE'],
    ])('a change that throws %s leaves nothing behind', async (_what, error, code) => {
      const failing = write(async (trx, record) => {
        record({ kind: 'never', group });
        await recordCapture(trx, group, generation());
        throw error;
      });
      if (code === undefined) await expect(failing).rejects.toBe(error);
      else expect((await rejection(failing)).code).toBe(code);
      expect(await store.query((db) => readNewest(db, group))).toBeUndefined();
      expect(await events()).toEqual([]);
    });

    it('a change that goes on after one of its statements has failed leaves nothing behind', async () => {
      const failing = write(async (trx) => {
        await recordCapture(trx, group, generation());
        await insertGroup(trx, specOf(group), 5).catch(() => undefined);
      });
      expect((await rejection(failing)).code).toBe('DATABASE_UNAVAILABLE');
      expect(await store.query((db) => readNewest(db, group))).toBeUndefined();
      await write((trx) => recordCapture(trx, group, generation()));
      expect(await store.query((db) => readNewest(db, group))).toBeDefined();
    });

    it('a change under a leadership that is over is not begun', async () => {
      let hasBegun = false;
      const late = store.write(lease.epoch + 1n, async () => {
        hasBegun = true;
      });
      expect([(await rejection(late)).code, hasBegun]).toEqual(['LEADERSHIP_LOST', false]);
    });

    it('a leadership is taken once, and not before the changes under the former one have ended', async () => {
      const order: string[] = [];
      const change = await heldChange((trx) => setRole(trx, group, 'b', 'fenced'));
      const takes = ['x', 'y'].map((id) =>
        store
          .query((db) => takeLeaderLease(db, { seen: lease, id, epoch: lease.epoch + 1n }))
          .then((isTaken) => {
            order.push('asked');
            return isTaken;
          }),
      );
      change.end();
      await change.ended.then(() => order.unshift('changed'));
      expect((await Promise.all(takes)).filter(Boolean)).toHaveLength(1);
      expect(order).toEqual(['changed', 'asked', 'asked']);
      const now = await store.query(readLeaderLease);
      expect(now).toMatchObject({ epoch: lease.epoch + 1n, seq: 0n });
      expect((await rejection(write(async () => {}))).code).toBe('LEADERSHIP_LOST');
      const led = { epoch: now.epoch, id: now.holder };
      expect(await store.query((db) => renewLeaderLease(db, led))).toBe(true);
      expect(await store.query((db) => renewLeaderLease(db, { ...led, id: 'nobody' }))).toBe(false);
      // As it was, for whoever has the same database.
      await store.query((db) => db.updateTable('leader_lease').set(lease).execute());
    });

    it.each<[string, (group: string) => Change<unknown>]>([
      ['two active members', (group) => (trx) => setRole(trx, group, 'b', 'active')],
      ['two groups of one name', (group) => (trx) => insertGroup(trx, specOf(group), 5)],
      [
        'one partition in two groups',
        (group) => (trx) => insertGroup(trx, { ...specOf(group), name: `${group}-other` }, 5),
      ],
      [
        'two owners of one epoch',
        (group) => (trx) =>
          insertEpoch(trx, group, { epoch: 1n, owner: 'b', reason: 'automatic', isActive: false, nowMs: 5 }),
      ],
      ['a generation of no group', () => (trx) => recordCapture(trx, 'no such group', generation())],
    ])('there are never %s', async (_what, change) => {
      expect((await rejection(write(change(group)))).code).toBe('ALREADY_EXISTS');
      expect(await read()).toMatchObject({ epoch: 1n, owner: 'a', members: [{ role: 'active' }, {}, {}] });
    });

    it('an intent is made once, whoever else makes it at the same time', async () => {
      const made = await Promise.all(
        ['one', 'two', 'three'].map((id) => write((trx) => insertIntent(trx, intent(`${group} ${id}`), 5))),
      );
      expect(made.filter(({ isNew }) => isNew)).toHaveLength(1);
      expect(new Set(made.map(({ id }) => id)).size).toBe(1);
      expect(await store.query((db) => readIntent(db, made[0]!.id))).toMatchObject({ group, status: 'open' });
    });

    it('changes that run at the same time come out as if one followed the other', async () => {
      const numbers = await Promise.all(
        Array.from({ length: 8 }, () => write((trx) => reserveNumber(trx, group, { seen: 0n }))),
      );
      expect([...numbers].sort((one, other) => Number(one - other))).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n]);
    });

    it('a locked group is read as its holder leaves it', async () => {
      const holder = await heldChange(async (trx) => {
        await lockGroup(trx, group);
        await insertEpoch(trx, group, { epoch: 2n, owner: 'b', reason: 'automatic', isActive: false, nowMs: 5 });
      });
      const next = write(async (trx) => (await lockGroup(trx, group)).highestEpoch);
      holder.end();
      expect([await holder.ended, await next]).toEqual([undefined, 2n]);
    });

    it('nobody sees what was never committed', async () => {
      const change = await heldChange((trx) => setRole(trx, group, 'b', 'fenced'));
      const seen = read();
      change.fail(new AntipodeError('GROUP_BUSY', 'no'));
      await rejection(change.ended);
      expect((await seen).members.map(({ role }) => role)).toEqual(['active', 'standby', 'standby']);
    });

    it('a snapshot is of one moment, and a query of the moment when it asks', async () => {
      const begun = Promise.withResolvers<void>();
      const change = begun.promise.then(() => write((trx) => setRole(trx, group, 'b', 'fenced')));
      const seen = await store.snapshot(async (db) => {
        const before = await readGroup(db, group);
        begun.resolve();
        // As much time as the change would need.
        for (let turn = 0; turn < 20; turn += 1) await sql`SELECT 1`.execute(db);
        return [before, await readGroup(db, group)];
      });
      await change;
      expect(seen[1]).toEqual(seen[0]);
      expect((await read()).members[1]?.role).toBe('fenced');
    });

    it('events are numbered in their order, and stay as they were written', async () => {
      for (const kind of ['x', 'y', 'z']) await write(async (_trx, record) => record({ kind, group }));
      const before = await events();
      expect(before.map(({ kind }) => kind)).toEqual(['x', 'y', 'z']);
      expect(before[0]!.id < before[1]!.id && before[1]!.id < before[2]!.id).toBe(true);
      await write((trx) => trx.updateTable('event').set({ kind: 'changed' }).where('grp', '=', group).execute());
      await write((trx) => trx.deleteFrom('event').where('grp', '=', group).execute());
      const truncated = write((trx) => sql`TRUNCATE event`.execute(trx));
      expect((await rejection(truncated)).code).toBe('DATABASE_UNAVAILABLE');
      expect(await events()).toEqual(before);
    });

    it('values come back as they were written', async () => {
      const huge = 9_223_372_036_854_775_807n;
      const mark = { site: group, journal: 'j "é\\', run: '', writes: huge, answered: 9_007_199_254_740_993n };
      await write((trx) => recordJournalMarks(trx, [mark]));
      const marks = await store.query(readJournalMarks);
      expect(marks.find(({ site }) => site === group)).toEqual(mark);
      const drill = {
        id: group,
        group,
        site: 'c',
        number: 4n,
        passed: false,
        proof: { proved: 1, failed: 0, failedObjectIds: [], usesNotExercised: 0 },
        errorCode: '',
        startedMs: 7,
        recoveryTimeMs: 0,
        evidence: '{}',
        signature: Buffer.from([0, 1, 255]),
        signer: Buffer.alloc(0),
      };
      await write((trx) => recordDrill(trx, drill));
      expect(await store.query((db) => readDrills(db, { group, limit: 1 }))).toEqual([drill]);
      const { site, passed, errorCode, startedMs } = drill;
      expect(await store.query((db) => readDrillEnds(db, group))).toEqual([{ site, passed, errorCode, startedMs }]);
      await write((trx) => recordCapture(trx, group, generation({ number: huge })));
      expect(await store.query((db) => readNewest(db, group))).toEqual(generation({ number: huge }));
      expect((await read()).recoveryTimeMs).toBeUndefined();
    });
  });
}
