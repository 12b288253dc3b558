/** An object that looks like a missing one of the group: damage, or somebody's, by what is known of the partition. */
import { beforeEach, expect, it } from 'vitest';
import type { SealedGeneration } from '../model/generation.ts';
import { SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import type { ApplyOptions } from './apply.ts';
import { ReplicaMemory } from './replica.ts';

let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;
let before: SealedGeneration;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b');
  group = made.group;
  [a, b] = made.members as [SimulatedMember, SimulatedMember];
  a.hsm.addSecret('name');
  before = await group.captured(a);
  await group.apply(b, before);
  b.hsm.remove(b.hsm.labelled('name')[0]!);
  b.hsm.addSecret('name');
});

/** How many objects the next apply takes for damaged ones of the group. */
async function damaged(options: Partial<ApplyOptions> = {}): Promise<number> {
  const memory = new ReplicaMemory();
  await group.rotate([a, b], 2);
  const target = await group.captured(a);
  await group.apply(b, target, { memory, previous: [before], ...options });
  expect(b.hsm.labelled('name')).toHaveLength(2);
  return memory.damaged.length;
}

it('is damage where the generation of before was applied', async () => {
  expect(await damaged()).toBe(1);
});

it("is anybody's where the partition was out of the group", async () => {
  expect(await damaged({ isReturned: true })).toBe(0);
});

it("is anybody's in a token without the domain key of before: the generation was not applied there", async () => {
  b.domainKeys.splice(0);
  await b.reopen();
  expect(await damaged()).toBe(0);
});
