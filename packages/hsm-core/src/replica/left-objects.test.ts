import { beforeEach, expect, it } from 'vitest';
import type { ObjectFilter } from '../capture/filter.ts';
import type { SealedGeneration } from '../model/generation.ts';
import { SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import { NO_FILTER } from '../testing/member-group.ts';
import { ReplicaMemory } from './replica.ts';

const RULES = { ...NO_FILTER, excludeLabels: ['leaving'] };

let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;
let memory: ReplicaMemory;
let before: SealedGeneration | undefined;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b');
  group = made.group;
  [a, b] = made.members as [SimulatedMember, SimulatedMember];
  memory = new ReplicaMemory();
  before = undefined;
  a.hsm.addSecret('leaving');
  a.hsm.addSecret('staying');
  await replicate(NO_FILTER);
});

/** A capture by these rules, applied, read back and buried at b. */
async function replicate(filter: ObjectFilter) {
  const target = await group.captured(a, { filter });
  const replica = { memory, previous: before === undefined ? [] : [before] };
  const { applied } = await group.apply(b, target, replica);
  const { contentDigest } = await group.verify(b, target, replica);
  expect(contentDigest).toBe(target.contentDigest);
  const { buried } = await group.bury(b, target, replica);
  before = target;
  return { target: target.generation, applied, buried };
}

it('does not delete at a standby what a new rule excludes', async () => {
  const { target, buried } = await replicate(RULES);
  expect([target.entries.length, target.tombstones, target.uncaptured.map(({ reason }) => reason)]).toEqual([
    1,
    [],
    ['excluded'],
  ]);
  expect([buried, b.hsm.labelled('leaving').length]).toEqual([[], 1]);
});

it('does not carry the deletion of an excluded object to a standby', async () => {
  await replicate(RULES);
  a.hsm.remove(a.hsm.labelled('leaving')[0]!);
  const { target, buried } = await replicate(RULES);
  expect([target.tombstones, buried, b.hsm.labelled('leaving').length]).toEqual([[], [], 1]);
});

it('takes the copy at a standby for the object again when the rule is gone, and makes no second one', async () => {
  await replicate(RULES);
  const { target, applied } = await replicate(NO_FILTER);
  expect([target.entries.length, applied, b.hsm.labelled('leaving').length]).toEqual([2, [], 1]);
});
