import {
  ChangeGroupResponseSchema,
  GetGroupResponseSchema,
  GetOperationResponseSchema,
  PlanGroupChangeResponseSchema,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { beforeEach, expect, it } from 'vitest';
import { type ChangeOptions, changeGroup } from './group-change.ts';

const PLAN = {
  revision: 4,
  changes: ['rpo_seconds: 300 -> 60'],
  consequences: ['Captures follow each other faster.'],
} satisfies MessageInitShape<typeof PlanGroupChangeResponseSchema>;

let notes: string[];
let orders: unknown[];
/** Whether a domain key is due, each time that the group is read. */
let keyed: boolean[];
let operation: { kind: string; phase: string; status: string; errorCode?: string };
beforeEach(() => {
  notes = [];
  orders = [];
  keyed = [];
  operation = { kind: 'domain-key', phase: 'incomplete', status: 'parked', errorCode: 'PEER_NOT_PINNED' };
});

const run = (
  plan: MessageInitShape<typeof PlanGroupChangeResponseSchema>,
  options: Partial<ChangeOptions> = {},
  operationId = '',
) =>
  changeGroup(
    {
      planGroupChange: async () => create(PlanGroupChangeResponseSchema, plan),
      changeGroup: async (request) => {
        orders.push(request);
        return create(ChangeGroupResponseSchema, { group: { epoch: 1n }, operationId });
      },
      submitApproval: async () => {
        throw new Error('nothing was approved');
      },
      getGroup: async () =>
        create(GetGroupResponseSchema, { group: { epoch: 2n, domainKeyDue: keyed.shift() ?? false } }),
      getOperation: async () => create(GetOperationResponseSchema, { operation: { id: operationId, ...operation } }),
    },
    {
      group: 'payments',
      change: { case: 'settings', value: { rpoSeconds: 60 } },
      output: { isJson: false, data: () => {}, line: () => {}, note: (text) => void notes.push(text) },
    },
    { timeout: 1, ...options },
  );

it('tells what will be different and what follows, and orders it for the declaration that it has shown', async () => {
  expect(await run(PLAN)).toMatchObject({ epoch: 1n });
  expect(notes).toEqual([...PLAN.changes, ...PLAN.consequences]);
  expect(orders).toMatchObject([{ group: 'payments', revision: 4 }]);
});

it('tells how long each step is expected to take, and where the time is from', async () => {
  const durations = [
    { step: 'it is in force', ms: 0n, source: 'written by this order' },
    { step: 'a capture', ms: 61_000n, source: 'measured: operation 4f' },
    { step: 'the rest', source: 'never done' },
  ];
  await run({ ...PLAN, durations }, { dryRun: true });
  expect(notes.slice(-4)).toEqual([
    'Expected duration:',
    '  it is in force: at once (written by this order)',
    '  a capture: 61.0 s (measured: operation 4f)',
    '  the rest: not known (never done)',
  ]);
});

it('orders nothing in a dry run, where nothing is to change, and without a confirmation', async () => {
  await run(PLAN, { dryRun: true });
  await run({ ...PLAN, changes: [] });
  const code = (await rejection(run({ ...PLAN, needsConfirmation: true }))).code;
  expect([orders, code]).toEqual([[], 'USAGE']);
  await run({ ...PLAN, needsConfirmation: true }, { yes: true });
  expect(orders).toHaveLength(1);
});

it('ends with the error of the obstacle before anything is ordered', async () => {
  const error = await rejection(
    run({ ...PLAN, obstacle: 'it is active', obstacleCode: 'GROUP_CHANGE_REFUSED' }, { yes: true }),
  );
  expect([error instanceof AntipodeError && error.code, orders]).toEqual(['GROUP_CHANGE_REFUSED', []]);
  expect((await rejection(run({ ...PLAN, obstacle: 'new', obstacleCode: 'OF_A_LATER_RELEASE' }))).code).toBe(
    'GROUP_CHANGE_REFUSED',
  );
});

it('waits after the operation until a new domain key is in use', async () => {
  keyed = [true, true, false];
  operation = { kind: 'domain-key', phase: 'complete', status: 'done' };
  expect(await run(PLAN, {}, 'op-1')).toMatchObject({ epoch: 2n, domainKeyDue: false });
  expect(keyed).toEqual([]);
});

it('follows the operation that completes the change, and ends with its error', async () => {
  expect((await rejection(run(PLAN, {}, 'op-1'))).code).toBe('PEER_NOT_PINNED');
});
