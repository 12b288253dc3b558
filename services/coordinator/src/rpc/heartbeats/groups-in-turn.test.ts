import { expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { GroupsInTurn } from './groups-in-turn.ts';

const groupsOf = (count: number): Group[] =>
  Array.from({ length: count }, (_, index) => groupOf({ ...SPEC, name: `g${index}` }));
const a = { site: 'a', instance: 'a-1' };

it('tells a site of all of its groups where they are few', () => {
  const groups = groupsOf(64);
  expect(new GroupsInTurn().of(a, groups)).toBe(groups);
});

it('tells of some at a time, and of all within a few answers, again and again', () => {
  const groups = groupsOf(250);
  const inTurn = new GroupsInTurn();
  for (let round = 0; round < 3; round += 1) {
    const told = new Set<Group>();
    for (let count = 0; count < 4; count += 1) {
      const some = inTurn.of(a, groups);
      expect(some.length).toBeLessThanOrEqual(64);
      for (const group of some) told.add(group);
    }
    expect(told.size).toBe(250);
  }
});

it('tells at once of a group that has changed', () => {
  const groups = groupsOf(250);
  const inTurn = new GroupsInTurn();
  for (let count = 0; count < 4; count += 1) inTurn.of(a, groups);
  const moved = { ...groups[200]!, epoch: 2n, owner: 'b' };
  const now = groups.with(200, moved);
  expect(inTurn.of(a, now)).toContain(moved);
});

it('tells another process, and another site, from the beginning', () => {
  const groups = groupsOf(250);
  const inTurn = new GroupsInTurn();
  const first = inTurn.of(a, groups);
  expect(inTurn.of(a, groups)).not.toEqual(first);
  expect(inTurn.of({ site: 'a', instance: 'a-2' }, groups)).toEqual(first);
  expect(inTurn.of({ site: 'b', instance: 'b-1' }, groups)).toEqual(first);
});
