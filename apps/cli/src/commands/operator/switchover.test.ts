import { OperationSchema } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { cancelSwitchover, refuseBesideCancel } from './switchover.ts';

const operation = (id: string, kind: string, status: string, { planned = true } = {}) =>
  create(OperationSchema, { id, kind, status, phase: 'catching-up', result: JSON.stringify({ planned }) });

function operatorWith(...operations: ReturnType<typeof operation>[]) {
  const cancelled: string[] = [];
  return {
    cancelled,
    listOperations: async () => ({ operations }) as never,
    cancelOperation: async ({ operationId = '' }) => {
      cancelled.push(operationId);
      return {} as never;
    },
  };
}

it('cancels the move that is under way, and nothing else', async () => {
  const operator = operatorWith(
    operation('1', 'capture', 'open'),
    operation('2', 'failover', 'done'),
    operation('3', 'failover', 'open'),
  );
  expect(await cancelSwitchover(operator, 'payments')).toEqual({ operation: '3', phase: 'catching-up' });
  expect(operator.cancelled).toEqual(['3']);
});

it('does not end a failover, which nobody has planned', async () => {
  const operator = operatorWith(operation('1', 'failover', 'open', { planned: false }));
  const refused = await rejection(cancelSwitchover(operator, 'payments'));
  expect(refused.code).toBe('NOT_FOUND');
  expect(refused.hint).toContain('antipode operation cancel 1');
  expect(operator.cancelled).toEqual([]);
});

it('ends one that no coordinator can continue', async () => {
  const operator = operatorWith(operation('1', 'failover', 'parked'));
  await cancelSwitchover(operator, 'payments');
  expect(operator.cancelled).toEqual(['1']);
});

it.each([
  ['to', 'b'],
  ['deadline', 60],
  ['dryRun', true],
  ['ignoreVetoes', true],
  ['approval', ['file']],
])('does not cancel with an option of the move: %s', (name, value) => {
  const none = { to: '', approval: [] };
  expect(() => refuseBesideCancel({ ...none, [name]: value })).toThrow(expect.objectContaining({ code: 'USAGE' }));
  expect(() => refuseBesideCancel(none)).not.toThrow();
});

it('says so where no move is under way', async () => {
  const operator = operatorWith(operation('2', 'failover', 'done'));
  expect((await rejection(cancelSwitchover(operator, 'payments'))).code).toBe('NOT_FOUND');
  expect(operator.cancelled).toEqual([]);
});
