import { AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Group } from '../../model.ts';
import type { Detector } from '../../sites/detector.ts';
import type { Intent } from '../../store/tables/intents.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { Changes } from '../changes.ts';
import type { Planned } from '../planner.ts';
import type { Reconciler } from '../reconciler.ts';
import { type FailoverOrder, startFailover } from './start.ts';

/** The failover that is under way, if any, and what became of it. */
const table = vi.hoisted(() => ({ open: undefined as Intent | undefined, ended: [] as string[], hasMoved: false }));
vi.mock(import('../../store/tables/intents.ts'), async (original) => ({
  ...(await original()),
  readOpenIntents: async () => (table.open === undefined ? [] : [table.open]),
  endIntent: async (_trx, { id }, { status }) => {
    if (!table.hasMoved) table.ended.push(`${id} ${status}`);
    return !table.hasMoved;
  },
}));

const clock = new FakeClock();
const held = (number: bigint) => ({ epoch: 1n, number, manifestDigest: `d${number}` });
let intended: Planned[];
const start = (order: Partial<FailoverOrder>, group: Group = groupOf(SPEC)) =>
  startFailover(
    {
      reconciler: {
        intend: async (planned: Planned, isWanted: (trx: unknown, record: () => void) => Promise<boolean>) => {
          await isWanted(undefined, () => {});
          intended.push(planned);
          return { id: 'new', isNew: true };
        },
      } as unknown as Reconciler,
      detector: { isUp: () => true, view: () => undefined } as unknown as Detector,
      changes: new Changes(),
      clock,
      log: silentLog,
    },
    group,
    { toSite: '', acceptLoss: false, accepted: [], operator: 'alice', ...order },
  );
const underWay = (state: object): void => {
  table.open = { id: 'old', kind: 'failover', group: 'payments', state, status: 'open' } as unknown as Intent;
};
beforeEach(() => {
  Object.assign(table, { open: undefined, ended: [], hasMoved: false });
  intended = [];
});

describe('a failover that an operator orders', () => {
  it.each<[string, Partial<FailoverOrder>]>([
    ['another target', { toSite: 'c' }],
    ['an accepted loss', { acceptLoss: true }],
    ['an accepted generation', { toSite: 'b', accepted: [held(4n)] }],
  ])('replaces one that is under way by %s', async (_what, order) => {
    for (const phase of ['catching-up', 'issuing', 'promoting']) {
      underWay({ phase, wanted: '', to: 'b', acceptLoss: false, accepted: [held(3n)] });
      expect(await start(order)).toEqual({ operationId: 'new', replacedOperationId: 'old' });
    }
    expect(table.ended).toEqual(['old cancelled', 'old cancelled', 'old cancelled']);
    expect(intended.at(-1)?.state).toMatchObject({
      phase: 'requested',
      reason: 'operator',
      wanted: order.toSite ?? '',
    });
  });

  it.each<[string, Partial<FailoverOrder>]>([
    ['nothing in particular', {}],
    ['the same target', { toSite: 'b' }],
    ['what is accepted already', { acceptLoss: true, accepted: [held(3n)] }],
  ])('joins one that is under way by asking for %s', async (_what, order) => {
    underWay({ phase: 'promoting', wanted: '', to: 'b', acceptLoss: true, accepted: [held(3n)] });
    expect(await start(order)).toMatchObject({ replacedOperationId: '' });
    expect(table.ended).toEqual([]);
  });

  it('is refused, and not swallowed, while the other one comes into force', async () => {
    underWay({ phase: 'publishing', to: 'b' });
    expect((await rejection(start({ toSite: 'c' }))).code).toBe('GROUP_BUSY');
    underWay({ phase: 'promoting', to: 'b' });
    table.hasMoved = true;
    expect((await rejection(start({ toSite: 'c' }))).code).toBe('GROUP_BUSY');
    expect(intended).toEqual([]);
  });

  it('is refused for a site that has no seat, before anybody speaks of losses', async () => {
    const error = await rejection(start({ toSite: 'bb', acceptLoss: true }));
    expect([error.code, error.message]).toEqual([
      'REQUEST_INVALID',
      expect.stringContaining('expected one of: a, b, c'),
    ]);
    expect(error).toBeInstanceOf(AntipodeError);
  });

  it('is refused for the site that is already active, and not for one that a failover has fenced', async () => {
    const error = await rejection(start({ toSite: 'a' }));
    expect([error.code, error.hint]).toEqual(['REQUEST_INVALID', expect.stringContaining('Nothing to do')]);
    await start({ toSite: 'a' }, { ...groupOf(SPEC), highestEpoch: 2n });
    expect(intended).toHaveLength(1);
  });
});
