/** Orders about divergent objects: whom they reach, and the records that are left of them. */
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { divergence } from './effects.ts';
import type { DivergenceEffect } from './machine.ts';

const database = testDatabase();
let bench: EffectsBench;
const fence = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'i' };
const perform = (effect: DivergenceEffect, site = 'b') => divergence(bench.context, intentOf(site), effect);

beforeEach(async () => {
  bench = new EffectsBench(database);
  await database.rows.group({ roles: { b: 'standby' } });
});

describe('an offer', () => {
  it('is asked of the site, with what an operator keeps, and its counts are recorded', async () => {
    bench.answers.set('offerDivergence', {
      objects: [{ objectId: '01', kind: 'secret-key/aes', state: 'divergent', reason: '' }],
      manifestDigests: [Buffer.from('aa', 'hex')],
      divergentObjects: 1,
      unaccountedObjects: 2,
    });
    expect(await perform({ type: 'offer', kept: ['02'] })).toEqual({
      type: 'offered',
      divergent: [{ objectId: '01', kind: 'secret-key/aes', state: 'divergent', reason: '' }],
      digests: ['aa'],
    });
    expect(bench.orders).toEqual([{ site: 'b', method: 'offerDivergence', request: { fence, keptObjectIds: ['02'] } }]);
    const { members } = await database.rows.readGroup();
    expect(members.find(({ site }) => site === 'b')).toMatchObject({ divergent: 1, unaccounted: 2 });
  });

  it.each([
    ['ROLE_REFUSED', 'a'],
    ['NOT_FOUND', 'z'],
  ])('is refused with %s for site %s, and nothing is ordered', async (code, site) => {
    expect((await rejection(perform({ type: 'offer', kept: [] }, site))).code).toBe(code);
    expect(bench.orders).toEqual([]);
  });
});

describe('a merge', () => {
  const merge = { type: 'merge', digests: ['aa'], objectIds: ['01'] } as const;

  it('is ordered of the active member, from that site only, with the rules of the group', async () => {
    bench.answers.set('mergeDivergence', {
      objects: [{ objectId: '01', kind: 'secret-key/aes', verdict: 'merged', errorCode: '' }],
    });
    expect(await perform(merge)).toEqual({
      type: 'merged',
      epoch: 1n,
      settled: [{ objectId: '01', kind: 'secret-key/aes', verdict: 'merged', code: '' }],
    });
    expect(bench.orders).toMatchObject([
      {
        site: 'a',
        method: 'mergeDivergence',
        request: { fence, source: { site: 'b', address: 'b:1' }, objectIds: ['01'] },
      },
    ]);
  });

  it('waits while the active role is about to move', async () => {
    await database.rows.intended({ id: 'move', kind: 'failover', site: '', state: { phase: 'issuing' } });
    expect((await rejection(perform(merge))).code).toBe('GROUP_BUSY');
    expect(bench.orders).toEqual([]);
  });

  it('is written down with the operator and what came of each object', async () => {
    const settled = ['merged', 'merged', 'name-taken'].map((verdict, index) => ({
      objectId: `0${index}`,
      kind: 'secret-key/aes',
      verdict,
      code: '',
    }));
    await perform({ type: 'record', action: 'merge', operator: 'alice', settled });
    expect(await database.rows.events()).toEqual(['divergence-merged']);
  });
});
