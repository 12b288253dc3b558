import { expect, it } from 'vitest';
import { FailoverPolicy, MemberRole } from '../index.ts';
import { enumWord } from './words.ts';

it.each([
  ['antipode.v1.GroupMember', 'role', MemberRole.ACTIVE, 'active'],
  ['antipode.v1.MemberState', 'role', MemberRole.FENCED, 'fenced'],
  ['antipode.v1.GroupSpec', 'failoverPolicy', FailoverPolicy.AUTOMATIC, 'automatic'],
  ['antipode.v1.GroupSpec', 'failoverPolicy', FailoverPolicy.UNSPECIFIED, 'unspecified'],
  ['antipode.v1.GroupSpec', 'rpoSeconds', 1, undefined],
  ['antipode.v1.GroupMember', 'role', 99, undefined],
  ['antipode.v1.Nothing', 'role', 1, undefined],
])('%s.%s = %s reads %s', (typeName, field, value, word) => {
  expect(enumWord(typeName, field, value)).toBe(word);
});
