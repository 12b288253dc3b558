import { expect, it } from 'vitest';
import type { Group } from '../model.ts';
import { groupOf, SPEC } from '../testing/group.ts';
import { groupsAt, isGroup } from './groups-at-site.ts';

const groupsOf = (count: number): Group[] =>
  Array.from({ length: count }, (_, index) => groupOf({ ...SPEC, name: `g${index}` }));
const named = (groups: readonly Group[]): string[] => groups.map(({ spec }) => spec.name);

it.each([4, 400])('finds the groups that name a site, among %i', (count) => {
  const [member, joining, scratch, witness, ...others] = groupsOf(count) as [Group, Group, Group, Group, ...Group[]];
  const seat = { site: 'x', serial: 'serial-x' };
  const groups = [
    { ...member, members: [...member.members, { ...seat, role: 'standby' as const, divergent: 0, unaccounted: 0 }] },
    { ...joining, joining: [seat] },
    { ...scratch, spec: { ...scratch.spec, scratch: [seat] } },
    { ...witness, spec: { ...witness.spec, witnesses: ['x'] } },
    ...others,
  ];
  expect(named(groupsAt(groups, 'x'))).toEqual(['g0', 'g1', 'g2', 'g3']);
  expect(named(groupsAt(groups, 'a'))).toEqual(named(groups));
  expect(groupsAt(groups, 'nowhere')).toEqual([]);
  expect([isGroup(groups, 'g3'), isGroup(groups, 'g')]).toEqual([true, false]);
});
