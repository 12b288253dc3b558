import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Generation } from '../../model.ts';
import type { Acknowledged } from '../../store/tables/generations.ts';
import { EffectsBench, GROUP, intentOf } from '../../testing/effects-bench.ts';
import { generation } from '../../testing/situation.ts';
import { replication } from './effects.ts';
import type { ReplicationEffect } from './machine.ts';

/** The one group, its generations, and what was recorded. */
const database = vi.hoisted(() => ({
  group: undefined as unknown,
  /** As it is when it is locked, where that is another state. */
  locked: undefined as unknown,
  isMoving: false,
  generation: undefined as Generation | undefined,
  newest: undefined as Generation | undefined,
  acknowledged: [] as Acknowledged[],
  recorded: [] as unknown[],
}));
vi.mock(import('../../store/tables/groups.ts'), async (original) => ({
  ...(await original()),
  readGroup: async () => database.group as never,
  lockGroup: async () => (database.locked ?? database.group) as never,
  setForeignObjects: async (_trx, _group, site, counts) => void database.recorded.push({ site, ...counts }),
}));
vi.mock(import('../../store/tables/generations.ts'), async (original) => ({
  ...(await original()),
  readGeneration: async () => database.generation,
  readNewest: async () => database.newest,
  readAcknowledged: async () => database.acknowledged,
  recordAcknowledgement: async (_trx, _group, one) => void database.recorded.push(one),
  withdrawAcknowledgements: async (_trx, _group, one) => void database.recorded.push({ withdrawn: one }),
}));

vi.mock(import('../../store/tables/intents.ts'), async (original) => ({
  ...(await original()),
  isMoveOpen: async () => database.isMoving,
}));

const NEWEST = generation({ manifestDigest: 'aa', contentDigest: 'bb' });
let bench: EffectsBench;
const replicate = (type: Exclude<ReplicationEffect['type'], 'withdraw'>) =>
  replication(bench.context, intentOf('b'), { type, epoch: 1n, number: 4n, contentDigest: 'bb' });
beforeEach(() => {
  bench = new EffectsBench();
  Object.assign(database, { locked: undefined, isMoving: false });
  Object.assign(database, { group: GROUP, generation: NEWEST, newest: NEWEST, acknowledged: [], recorded: [] });
});

describe('bringing a generation to a standby', () => {
  it('orders it under the epoch in force, and keeps count of what it does not account for there', async () => {
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
    expect(database.recorded).toEqual([{ site: 'b', divergent: 3, unaccounted: 4 }]);
  });

  it('names who holds it: the active member first, then who has acknowledged, never the target nor who is down', async () => {
    const members = ['a', 'b', 'c', 'd', 'e'].map((site, at) => ({ ...GROUP.members[Math.min(at, 1)]!, site }));
    database.group = { ...GROUP, members };
    database.acknowledged = ['b', 'e', 'd'].map((site) => ({ ...NEWEST, site }));
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
    database.newest = newest;
    expect((await rejection(replicate('apply'))).code).toBe('GENERATION_NOT_NEWER');
    expect(bench.orders).toEqual([]);
  });

  it('is not ordered where the database does not know it', async () => {
    database.generation = undefined;
    for (const type of ['apply', 'verify', 'acknowledge'] as const)
      expect((await rejection(replicate(type))).code).toBe('GENERATION_UNKNOWN');
    expect([bench.orders, database.recorded]).toEqual([[], []]);
  });

  it('tells what a read-back found', async () => {
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
    expect(await replicate('acknowledge')).toEqual({ type: 'acknowledged' });
    expect(database.recorded).toEqual([{ epoch: 1n, number: 4n, site: 'b', nowMs: bench.clock.wallMs() }]);
    expect([bench.orders, bench.events]).toEqual([[], ['generation-acknowledged']]);
  });

  it('waits while the active role is about to move, but for what was verified already', async () => {
    database.isMoving = true;
    for (const type of ['apply', 'verify'] as const) expect((await rejection(replicate(type))).code).toBe('GROUP_BUSY');
    expect(bench.orders).toEqual([]);
    expect(await replicate('acknowledge')).toEqual({ type: 'acknowledged' });
  });

  it('is not acknowledged once a later epoch was issued, nor under an epoch that has followed its own', async () => {
    database.locked = { ...GROUP, highestEpoch: 2n, highestOwner: 'c' };
    expect((await rejection(replicate('acknowledge'))).code).toBe('EPOCH_STALE');
    database.group = { ...GROUP, epoch: 2n, owner: 'c', highestEpoch: 2n, highestOwner: 'c' };
    expect((await rejection(replicate('acknowledge'))).code).toBe('EPOCH_STALE');
    expect([database.recorded, bench.events]).toEqual([[], []]);
  });

  it('takes back what a standby has acknowledged that does not prove it, also while the active role is about to move', async () => {
    database.isMoving = true;
    const effect = { type: 'withdraw', code: 'OBJECT_UNPROVEN', epoch: 1n, number: 4n, contentDigest: 'bb' } as const;
    expect(await replication(bench.context, intentOf('b'), effect)).toEqual({ type: 'withdrawn' });
    expect(database.recorded).toEqual([{ withdrawn: { epoch: 1n, number: 4n, site: 'b' } }]);
    expect([bench.orders, bench.events]).toEqual([[], ['acknowledgements-withdrawn']]);
  });
});
