import { MemberStateSchema, PartitionStateSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { partitionIn, seatIn } from './accounts.ts';

const accountOf = (count: number) => ({
  members: Array.from({ length: count }, (_, index) => create(MemberStateSchema, { group: `g${index}`, epoch: 1n })),
  partitions: Array.from({ length: count }, (_, index) => create(PartitionStateSchema, { serial: `s${index}` })),
});

it.each([3, 300])('finds a seat and a partition among %i', (count) => {
  const account = accountOf(count);
  expect(seatIn(account, 'g2')).toBe(account.members[2]);
  expect(partitionIn(account, 's2')).toBe(account.partitions[2]);
  expect([seatIn(account, 'g-none'), partitionIn(account, 's-none')]).toEqual([undefined, undefined]);
});

it('finds the first of two that have one name, in long lists as in short ones', () => {
  for (const count of [3, 300]) {
    const { members } = accountOf(count);
    const twice = [...members, create(MemberStateSchema, { group: 'g1', epoch: 9n })];
    expect(seatIn({ members: twice }, 'g1')?.epoch).toBe(1n);
  }
});

it('finds nothing in the account of a site that was not heard', () => {
  expect([seatIn(undefined, 'g'), partitionIn(undefined, 's'), partitionIn(accountOf(20), undefined)]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});
