import { OperationSchema } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { cancelSwitchover } from './switchover.ts';

const operation = (id: string, kind: string, status: string) =>
  create(OperationSchema, { id, kind, status, phase: 'catching-up' });

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

it('says so where no move is under way', async () => {
  const operator = operatorWith(operation('2', 'failover', 'done'));
  expect((await rejection(cancelSwitchover(operator, 'payments'))).code).toBe('NOT_FOUND');
  expect(operator.cancelled).toEqual([]);
});
