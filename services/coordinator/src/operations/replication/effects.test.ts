import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { readKnown } from '../../store/tables/generations.ts';
import { readGroup } from '../../store/tables/groups.ts';
import { insertJoining, removeMember, seatJoined } from '../../store/tables/membership.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { SPEC } from '../../testing/group.ts';
import { generation } from '../../testing/situation.ts';
import { replication } from './effects.ts';
import type { ReplicationEffect } from './machine.ts';

const database = testDatabase();
const NEWEST = generation({ manifestDigest: 'aa', contentDigest: 'bb' });
let bench: EffectsBench;
const replicate = (type: Exclude<ReplicationEffect['type'], 'withdraw'>) =>
  replication(bench.context, intentOf('b'), { type, epoch: 1n, number: 4n, contentDigest: 'bb' });
const declare = async ({ spec = SPEC, generations = [NEWEST] } = {}): Promise<void> => {
  await database.rows.group({ spec });
  await database.rows.captured(generations);
  await database.rows.intended({ id: 'i', kind: 'replication', site: 'b' });
};
const moving = (): Promise<void> =>
  database.rows.intended({ id: 'move', kind: 'failover', state: { phase: 'requested' } });
beforeEach(() => {
  bench = new EffectsBench(database);
});

describe('bringing a generation to a standby', () => {
  it('orders it under the epoch in force, and keeps count of what it does not account for there', async () => {
    await declare();
    bench.answers.set('apply', { appliedObjects: 2, pulledBlobs: 1, divergentObjects: 3, unaccountedObjects: 4 });
    expect(await replicate('apply')).toEqual({ type: 'applied', appliedObjects: 2, pulledBlobs: 1 });
    expect(bench.orders).toMatchObject([
      {
        site: 'b',
        method: 'apply',
        request: {
          fence: { group: 'payments', epoch: 1n, owner: 'a', requestId: 'i' },
          generation: { epoch: 1n, generation: 4n, manifestDigest: fromHex('aa'), contentDigest: fromHex('bb') },
        },
      },
    ]);
    expect((await database.rows.readGroup()).members[1]).toMatchObject({ site: 'b', divergent: 3, unaccounted: 4 });
  });

  it('keeps no count of it for another partition that has got the seat meanwhile', async () => {
    await declare();
    const seat = { site: 'b', serial: 'another' };
    bench.answers.set('apply', async () => {
      const group = await database.rows.readGroup();
      await database.rows.write((trx) => removeMember(trx, group, { site: 'b', serial: 'serial-b', nowMs: 0 }));
      await database.rows.write(async (trx) => insertJoining(trx, await readGroup(trx, 'payments'), seat));
      await database.rows.write(async (trx) => seatJoined(trx, await readGroup(trx, 'payments'), seat));
      return { appliedObjects: 2, divergentObjects: 3, unaccountedObjects: 4 };
    });
    await replicate('apply');
    const { members } = await database.rows.readGroup();
    expect(members.find(({ site }) => site === 'b')).toMatchObject({ ...seat, divergent: 0, unaccounted: 0 });
  });

  it('names who holds it: the active member first, then who has acknowledged, never the target nor who is down', async () => {
    const members = ['a', 'b', 'c', 'd', 'e'].map((site) => ({ site, serial: `serial-${site}` }));
    await declare({ spec: { ...SPEC, members } });
    for (const site of ['b', 'e', 'd']) await database.rows.acknowledged(site, NEWEST);
    bench.statuses.set('c', 'suspect').set('d', 'down');
    await replicate('apply');
    const sources = ['a', 'e', 'c'].map((site) => ({ site, address: `${site}:1` }));
    expect(bench.orders[0]?.request['sources']).toEqual(sources);
    bench.statuses.set('a', 'down');
    await replicate('apply');
    expect(bench.orders[1]?.request['sources']).toEqual(sources.slice(1));
  });

  it.each([
    ['a later number', generation({ number: 5n })],
    ['the same number in a later epoch', generation({ epoch: 2n })],
  ])('is not ordered once the newest is of %s', async (_what, newest) => {
    await declare({ generations: [NEWEST, newest] });
    expect((await rejection(replicate('apply'))).code).toBe('GENERATION_NOT_NEWER');
    expect(bench.orders).toEqual([]);
  });

  it('is not ordered under a later epoch: the failover may have left it out of the line', async () => {
    await declare();
    await database.rows.epoch({ epoch: 2n, owner: 'c', isActive: true });
    for (const type of ['apply', 'verify'] as const)
      expect((await rejection(replicate(type))).code).toBe('EPOCH_STALE');
    expect(bench.orders).toEqual([]);
  });

  it('is not ordered where the database does not know it', async () => {
    await declare({ generations: [] });
    for (const type of ['apply', 'verify', 'acknowledge'] as const)
      expect((await rejection(replicate(type))).code).toBe('GENERATION_UNKNOWN');
    expect([bench.orders, await database.rows.events()]).toEqual([[], []]);
  });

  it('tells what a read-back found', async () => {
    await declare();
    bench.answers.set('verify', {
      contentDigest: fromHex('cc'),
      proof: { proved: 2, failed: 1, failedObjectIds: ['0a'] },
    });
    expect(await replicate('verify')).toEqual({
      type: 'verified',
      contentDigest: 'cc',
      proof: { proved: 2, failed: 1, failedObjectIds: ['0a'], usesNotExercised: 0 },
    });
    expect(bench.orders[0]?.request['everything']).toBe(false);
  });

  it('is acknowledged in the database, and needs the agent no more', async () => {
    await declare();
    expect(await replicate('acknowledge')).toEqual({ type: 'acknowledged' });
    expect(await database.rows.acknowledgements()).toEqual(['b 4']);
    expect([bench.orders, await database.rows.events()]).toEqual([[], ['generation-acknowledged']]);
  });

  it('waits while the active role is about to move, but for what was verified already', async () => {
    await declare();
    await moving();
    for (const type of ['apply', 'verify'] as const) expect((await rejection(replicate(type))).code).toBe('GROUP_BUSY');
    expect(bench.orders).toEqual([]);
    expect(await replicate('acknowledge')).toEqual({ type: 'acknowledged' });
  });

  it('is not acknowledged by a site that was removed meanwhile', async () => {
    await declare();
    const group = await database.rows.readGroup();
    await database.rows.write((trx) => removeMember(trx, group, { site: 'b', serial: 'serial-b', nowMs: 0 }));
    expect((await rejection(replicate('acknowledge'))).code).toBe('ROLE_REFUSED');
    expect(await database.rows.acknowledgements()).toEqual([]);
  });

  it('is not acknowledged for another partition that has the seat of the site now', async () => {
    await declare();
    const group = await database.rows.readGroup();
    await database.rows.write((trx) => removeMember(trx, group, { site: 'b', serial: 'serial-b', nowMs: 0 }));
    const seat = { site: 'b', serial: 'another' };
    await database.rows.write(async (trx) => insertJoining(trx, await readGroup(trx, 'payments'), seat));
    await database.rows.write(async (trx) => seatJoined(trx, await readGroup(trx, 'payments'), seat));
    expect((await rejection(replicate('acknowledge'))).code).toBe('ROLE_REFUSED');
    expect([await database.rows.acknowledgements(), await database.rows.events()]).toEqual([[], []]);
  });

  it('protects nobody by the acknowledgement of a site that joins, until it has joined', async () => {
    await declare({ spec: { ...SPEC, members: SPEC.members.filter(({ site }) => site !== 'b') } });
    const seat = { site: 'b', serial: 'serial-b' };
    await database.rows.write(async (trx) => insertJoining(trx, await readGroup(trx, 'payments'), seat));
    expect(await replicate('acknowledge')).toEqual({ type: 'acknowledged' });
    const isAcknowledged = () =>
      database.store.query(async (db) => (await readKnown(db, 'payments')).map((one) => one.isAcknowledged));
    expect([await database.rows.acknowledgements(), await isAcknowledged()]).toEqual([[], [false]]);
    await database.rows.write(async (trx) => seatJoined(trx, await readGroup(trx, 'payments'), seat));
    expect([await database.rows.acknowledgements(), await isAcknowledged()]).toEqual([['b 4'], [true]]);
  });

  it('is not acknowledged once a later epoch was issued, nor under an epoch that has followed its own', async () => {
    await declare();
    bench.beforeWrite = () => database.rows.epoch({ epoch: 2n, owner: 'c' });
    expect((await rejection(replicate('acknowledge'))).code).toBe('EPOCH_STALE');
    await database.rows.epoch({ epoch: 3n, owner: 'c', isActive: true });
    expect((await rejection(replicate('acknowledge'))).code).toBe('EPOCH_STALE');
    expect([await database.rows.acknowledgements(), await database.rows.events()]).toEqual([[], []]);
  });

  it('takes back what a standby has acknowledged that does not prove it, also while the active role is about to move', async () => {
    await declare();
    await moving();
    await database.rows.acknowledged('b', NEWEST);
    await database.rows.acknowledged('c', NEWEST);
    const effect = { type: 'withdraw', code: 'OBJECT_UNPROVEN', epoch: 1n, number: 4n, contentDigest: 'bb' } as const;
    expect(await replication(bench.context, intentOf('b'), effect)).toEqual({ type: 'withdrawn' });
    expect(await database.rows.acknowledgements()).toEqual(['c 4']);
    expect([bench.orders, await database.rows.events()]).toEqual([[], ['acknowledgements-withdrawn']]);
  });
});
