import {
  type CallContext,
  CancelOperationRequestSchema,
  DismissOperationRequestSchema,
  ListOperationsRequestSchema,
} from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { Changes } from '../operations/changes.ts';
import { type Intent, updateIntent } from '../store/tables/intents.ts';
import { testDatabase } from '../testing/database.ts';
import { FakeLeadership } from '../testing/leader.ts';
import { PROFILES } from '../timings.ts';
import { operationHandlers } from './operations.ts';

const MOVED = { phase: 'issuing' };

const database = testDatabase();
let isRunning: boolean;
/** Somebody else's work right before a person ends the operation. */
let meanwhile: () => Promise<void>;
const handlers = () =>
  operationHandlers({
    store: {
      query: (look) => database.store.query(look),
      write: async (epoch, change) => {
        await meanwhile();
        return database.store.write(epoch, change);
      },
    },
    election: new FakeLeadership(),
    runner: { isRunning: () => isRunning },
    changes: new Changes(),
    clock: new FakeClock(),
    timeline: { toWallMs: (atMs) => atMs },
    timings: PROFILES.default,
    log: silentLog,
  });
const CONTEXT: CallContext = {
  identity: { trustDomain: 'd', kind: 'operator', name: 'alice' },
  signal: new AbortController().signal,
};
const cancel = () => handlers().cancelOperation(create(CancelOperationRequestSchema, { operationId: 'i' }), CONTEXT);
const dismiss = () => handlers().dismissOperation(create(DismissOperationRequestSchema, { operationId: 'i' }), CONTEXT);
/** The one operation. */
const given = async (kind: Intent['kind'], phase: string, status: Intent['status'] = 'open'): Promise<void> => {
  await database.store.empty();
  await database.rows.group();
  await database.rows.intended({ id: 'i', kind, state: { phase } }, { status });
};
beforeEach(() => {
  isRunning = false;
  meanwhile = async () => {};
});

describe('a person cancels an operation', () => {
  it.each(['requested', 'catching-up', 'issuing'])('a failover that is %s: nothing was changed yet', async (phase) => {
    await given('failover', phase);
    isRunning = true;
    expect(await cancel()).toMatchObject({ operation: { status: 'cancelled' } });
    expect(await database.rows.events()).toEqual(['failover-cancelled']);
  });

  it.each(['issuing', 'fencing', 'promoting'])('not a failover that is %s, once its epoch is issued', async (phase) => {
    await given('failover', phase);
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    expect((await rejection(cancel())).code).toBe('FAILOVER_REFUSED');
    expect(await database.rows.events()).toEqual([]);
  });

  it.each(['fencing', 'promoting', 'publishing'])('not a failover that is %s, whatever is on record', async (phase) => {
    await given('failover', phase);
    expect((await rejection(cancel())).code).toBe('FAILOVER_REFUSED');
    expect(await database.rows.events()).toEqual([]);
  });

  it('not a failover that looks for another target after its epoch was issued', async () => {
    await given('failover', 'requested');
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    expect((await rejection(cancel())).code).toBe('FAILOVER_REFUSED');
    expect(await database.rows.events()).toEqual([]);
    expect(await database.rows.intent('i')).toMatchObject({ status: 'open' });
  });

  it('another one between two attempts, and not while a site is at work on it', async () => {
    await given('drill', 'restoring');
    isRunning = true;
    expect((await rejection(cancel())).code).toBe('GROUP_BUSY');
    isRunning = false;
    expect(await cancel()).toMatchObject({ operation: { status: 'cancelled' } });
  });

  it('not one that has ended, and not one that has moved on since it was looked at', async () => {
    await given('drill', 'passed', 'done');
    expect((await rejection(cancel())).code).toBe('REQUEST_INVALID');
    await given('failover', 'catching-up');
    meanwhile = () => database.rows.write(async (trx) => void (await updateIntent(trx, 'i', { state: MOVED }, 0)));
    expect((await rejection(cancel())).code).toBe('GROUP_BUSY');
    expect(await database.rows.events()).toEqual([]);
  });
});

describe('a person dismisses an operation', () => {
  it.each(['failed', 'parked'] as const)('that is %s', async (status) => {
    await given('domain-key', 'incomplete', status);
    expect(await dismiss()).toMatchObject({ operation: { status: 'dismissed' } });
    expect(await database.rows.events()).toEqual(['domain-key-dismissed']);
  });

  it.each(['open', 'done', 'cancelled', 'dismissed'] as const)('not one that is %s', async (status) => {
    await given('capture', 'capturing', status);
    expect((await rejection(dismiss())).code).toBe('REQUEST_INVALID');
  });
});

it('the operations of a group that there is not are not none', async () => {
  const request = create(ListOperationsRequestSchema, { group: 'paymets' });
  expect((await rejection(handlers().listOperations(request, CONTEXT))).code).toBe('NOT_FOUND');
});
