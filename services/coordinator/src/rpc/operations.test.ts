import {
  type CallContext,
  CancelOperationRequestSchema,
  DismissOperationRequestSchema,
  ListOperationsRequestSchema,
} from '@antipode/protocol';
import { AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Changes } from '../operations/changes.ts';
import type { Intent } from '../store/tables/intents.ts';
import { intent as intentOf } from '../testing/situation.ts';
import { operationHandlers } from './operations.ts';
import type { RpcPorts } from './rpc.ts';

/** The one operation, which may move on by itself before a person ends it. */
const table = vi.hoisted(() => ({ intent: undefined as unknown as Intent, hasMoved: false }));
vi.mock(import('../store/tables/intents.ts'), async (original) => ({
  ...(await original()),
  findIntent: async () => table.intent,
  requireIntent: async () => table.intent,
  endIntent: async (_trx, intent, { status }) => {
    if (!table.hasMoved) table.intent = { ...intent, status };
    return !table.hasMoved;
  },
}));

vi.mock(import('../store/tables/groups.ts'), async (original) => ({
  ...(await original()),
  readGroup: async (_db, name) => {
    throw new AntipodeError('NOT_FOUND', `group does not exist: ${name}`);
  },
}));

let events: string[];
let isRunning: boolean;
const handlers = () =>
  operationHandlers({
    store: {
      query: async (work: (db: unknown) => unknown) => work(undefined),
      write: async (_epoch: bigint, work: (trx: unknown, record: (event: { kind: string }) => void) => unknown) =>
        work(undefined, ({ kind }) => events.push(kind)),
    },
    election: { require: () => 1n },
    runner: { isRunning: () => isRunning },
    changes: new Changes(),
    clock: new FakeClock(),
    timeline: { toWallMs: (atMs: number) => atMs },
    log: silentLog,
  } as unknown as RpcPorts);
const CONTEXT: CallContext = {
  identity: { trustDomain: 'd', kind: 'operator', name: 'alice' },
  signal: new AbortController().signal,
};
const cancel = () => handlers().cancelOperation(create(CancelOperationRequestSchema, { operationId: 'i' }), CONTEXT);
const dismiss = () => handlers().dismissOperation(create(DismissOperationRequestSchema, { operationId: 'i' }), CONTEXT);
const given = (kind: Intent['kind'], phase: string, status: Intent['status'] = 'open'): void => {
  table.intent = intentOf(kind, { state: { phase }, status });
};
beforeEach(() => {
  Object.assign(table, { hasMoved: false });
  events = [];
  isRunning = false;
});

describe('a person cancels an operation', () => {
  it.each(['requested', 'catching-up'])('a failover that is %s: nothing was changed yet', async (phase) => {
    given('failover', phase);
    isRunning = true;
    expect(await cancel()).toMatchObject({ operation: { status: 'cancelled' } });
    expect(events).toEqual(['failover-cancelled']);
  });

  it.each(['issuing', 'fencing', 'promoting', 'publishing'])('not a failover that is %s', async (phase) => {
    given('failover', phase);
    expect((await rejection(cancel())).code).toBe('FAILOVER_REFUSED');
    expect(events).toEqual([]);
  });

  it('another one between two attempts, and not while a site is at work on it', async () => {
    given('drill', 'restoring');
    isRunning = true;
    expect((await rejection(cancel())).code).toBe('GROUP_BUSY');
    isRunning = false;
    expect(await cancel()).toMatchObject({ operation: { status: 'cancelled' } });
  });

  it('not one that has ended, and not one that has moved on since it was looked at', async () => {
    given('drill', 'passed', 'done');
    expect((await rejection(cancel())).code).toBe('REQUEST_INVALID');
    given('failover', 'catching-up');
    table.hasMoved = true;
    expect((await rejection(cancel())).code).toBe('GROUP_BUSY');
    expect(events).toEqual([]);
  });
});

describe('a person dismisses an operation', () => {
  it.each(['failed', 'parked'] as const)('that is %s', async (status) => {
    given('enrolment', 'incomplete', status);
    expect(await dismiss()).toMatchObject({ operation: { status: 'dismissed' } });
    expect(events).toEqual(['enrolment-dismissed']);
  });

  it.each(['open', 'done', 'cancelled', 'dismissed'] as const)('not one that is %s', async (status) => {
    given('capture', 'capturing', status);
    expect((await rejection(dismiss())).code).toBe('REQUEST_INVALID');
  });
});

it('the operations of a group that there is not are not none', async () => {
  const request = create(ListOperationsRequestSchema, { group: 'paymets' });
  expect((await rejection(handlers().listOperations(request, CONTEXT))).code).toBe('NOT_FOUND');
});
