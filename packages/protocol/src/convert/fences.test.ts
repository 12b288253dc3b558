import { thrown } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { FenceSchema } from '../gen/antipode/v1/types_pb.ts';
import { fenceOf } from './fences.ts';

it('gives the fence of an order, and refuses an order without one', () => {
  const fence = create(FenceSchema, { group: 'payments', epoch: 2n, owner: 'b', requestId: 'i.1' });
  expect(fenceOf({ fence })).toBe(fence);
  const { code, details } = thrown(() => fenceOf({}));
  expect([code, details]).toEqual(['REQUEST_INVALID', { field: 'fence' }]);
});
