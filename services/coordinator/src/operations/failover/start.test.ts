import { AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import type { Write } from '../../store/store.ts';
import { updateIntent } from '../../store/tables/intents.ts';
import { testDatabase } from '../../testing/database.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { FIRST_EPOCH } from '../../testing/leader.ts';
import { overtaken } from '../../testing/rows.ts';
import { Changes } from '../changes.ts';
import type { Planned } from '../planner.ts';
import { type FailoverOrder, startFailover } from './start.ts';

const database = testDatabase();
const clock = new FakeClock();
const held = (number: bigint) => ({ epoch: 1n, number, manifestDigest: `d${number}` });
let intended: Planned[];
/** The transaction as the order has it. */
let seenBy: (trx: Write) => Write;
const start = (order: Partial<FailoverOrder>, group: Group = groupOf(SPEC)) =>
  startFailover(
    {
      reconciler: {
        intend: async (planned, isWanted) => {
          await database.store.write(FIRST_EPOCH, async (trx, record) => isWanted?.(seenBy(trx), record));
          intended.push(planned);
          return { id: 'new', isNew: true };
        },
      },
      detector: { isUp: () => true, view: () => undefined },
      changes: new Changes(),
      clock,
      log: silentLog,
    },
    group,
    { toSite: '', acceptLoss: false, accepted: [], ignoreVetoes: false, operator: 'alice', ...order },
  );
const underWay = async (state: { phase: string; [field: string]: unknown }): Promise<void> => {
  await database.store.empty();
  await database.rows.intended({ id: 'old', kind: 'failover', state });
};
const statusOf = async (id: string): Promise<string | undefined> => (await database.rows.intent(id))?.status;
beforeEach(() => {
  intended = [];
  seenBy = (trx) => trx;
});

describe('a switchover that an operator orders', () => {
  it('has its deadline, and keeps to what it promises', async () => {
    await database.store.empty();
    await start({ toSite: 'b', planned: true, deadlineMs: 60_000 });
    expect(intended[0]?.state).toMatchObject({ planned: true, deadlineMs: 60_000, wanted: 'b' });
    await start({ toSite: 'b' });
    expect(intended[1]?.state).not.toHaveProperty('planned');
  });

  it('takes the place of no failover', async () => {
    await underWay({ phase: 'catching-up', wanted: 'b', to: 'b', accepted: [] });
    expect((await rejection(start({ toSite: 'b', planned: true }))).code).toBe('GROUP_BUSY');
    expect([await statusOf('old'), intended]).toEqual(['open', []]);
  });

  it('joins the same switchover, and makes way for a failover', async () => {
    const old = { phase: 'catching-up', wanted: 'b', to: 'b', accepted: [], planned: true };
    await underWay(old);
    expect((await start({ toSite: 'b', planned: true })).replacedOperationId).toBe('');
    await underWay(old);
    expect((await start({ toSite: 'b' })).replacedOperationId).toBe('old');
  });
});

describe('a failover that an operator orders', () => {
  it.each<[string, Partial<FailoverOrder>]>([
    ['another target', { toSite: 'c' }],
    ['an accepted loss', { acceptLoss: true }],
    ['an order to ignore what hooks say', { ignoreVetoes: true }],
    ['an accepted generation', { toSite: 'b', accepted: [held(4n)] }],
  ])('replaces one that is under way by %s', async (_what, order) => {
    for (const phase of ['catching-up', 'issuing', 'promoting']) {
      await underWay({ phase, wanted: '', to: 'b', acceptLoss: false, accepted: [held(3n)] });
      expect(await start(order)).toEqual({ operationId: 'new', replacedOperationId: 'old' });
      expect([await statusOf('old'), await database.rows.events()]).toEqual(['cancelled', ['failover-replaced']]);
    }
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
    await underWay({ phase: 'promoting', wanted: '', to: 'b', acceptLoss: true, accepted: [held(3n)] });
    expect(await start(order)).toMatchObject({ replacedOperationId: '' });
    expect(await statusOf('old')).toBe('open');
  });

  it('replaces one that this coordinator cannot continue, whatever it asks for', async () => {
    await underWay({ phase: 'weighing', wanted: '', to: 'b' });
    await database.rows.write((trx) =>
      updateIntent(trx, 'old', { status: 'parked', errorCode: 'OPERATION_STUCK' }, clock.wallMs()),
    );
    expect(await start({})).toEqual({ operationId: 'new', replacedOperationId: 'old' });
    expect(await statusOf('old')).toBe('cancelled');
  });

  it('is refused, and not swallowed, while the other one comes into force', async () => {
    await underWay({ phase: 'publishing', to: 'b' });
    expect((await rejection(start({ toSite: 'c' }))).code).toBe('GROUP_BUSY');
    await underWay({ phase: 'promoting', to: 'b' });
    seenBy = (trx) => overtaken(trx, () => updateIntent(trx, 'old', { state: { phase: 'publishing' } }, 0));
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
