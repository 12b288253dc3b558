import { expect, it } from 'vitest';
import { clockOffset } from './clock-offset.ts';

it('takes the coordinator to have read its clock half way, and tells by how much that may be wrong', () => {
  expect(clockOffset({ theirsMs: 10_000, receivedMs: 13_050, roundTripMs: 100 })).toEqual({ ms: 3_000, errorMs: 50 });
  expect(clockOffset({ theirsMs: 10_000, receivedMs: 7_050, roundTripMs: 100 })).toEqual({ ms: -3_000, errorMs: 50 });
});
