import { thrown } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { MemberRole } from '../gen/antipode/v1/types_pb.ts';
import { roleName, roleNumber, roleOf } from './roles.ts';

it('names every role of the wire but the unspecified one, and gives its number back', () => {
  const numbers = Object.values(MemberRole).filter((one) => typeof one === 'number') as MemberRole[];
  const named = numbers.filter((one) => roleName(one) !== undefined);
  expect(named).toEqual(numbers.filter((one) => one !== MemberRole.UNSPECIFIED));
  expect(named.map((one) => roleNumber(roleName(one)!))).toEqual(named);
  expect(named.map((one) => roleNumber(roleOf(one)))).toEqual(named);
});

it('takes no number for a role that it does not know', () => {
  for (const number of [MemberRole.UNSPECIFIED, 99 as MemberRole]) {
    expect(roleName(number)).toBeUndefined();
    expect(thrown(() => roleOf(number)).code).toBe('REQUEST_INVALID');
  }
});
