/** Merges of offered objects into the active member, without agents. */
import { seededPrng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import type { SealedGeneration } from '../model/generation.ts';
import { MemoryJournal, NO_FILTER, SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import { mergeObjects } from './merge.ts';
import { ReplicaMemory } from './replica.ts';
import { sealUnexplained } from './unexplained.ts';

const clock = new FakeClock();
let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b');
  group = made.group;
  [a, b] = made.members as [SimulatedMember, SimulatedMember];
});

/** A liar tells of no deletion, and calls everything in its token its own. */
async function offered(newest: SealedGeneration): Promise<SealedGeneration> {
  const target = { ...newest, generation: { ...newest.generation, tombstones: [] } };
  const { generation, blobs } = await sealUnexplained({
    provider: a.provider,
    keyring: a.keyring,
    clock,
    prng: seededPrng('offer'),
    memory: new ReplicaMemory(),
    target,
    previous: [],
    journal: new MemoryJournal(),
    checkFence: () => {},
    known: new Set(),
  });
  for (const [sha256, blob] of blobs) group.blobs.set(sha256, blob);
  return generation!;
}

const merge = (offer: SealedGeneration, newest: SealedGeneration) =>
  mergeObjects({
    provider: b.provider,
    keyring: b.keyring,
    clock,
    journal: new MemoryJournal(),
    checkFence: () => {},
    newest,
    offers: [offer],
    wanted: new Set(offer.generation.entries.map(({ objectId }) => objectId)),
    filter: NO_FILTER,
    blobOf: (sha256) => group.blobs.get(sha256)!,
    adopt: () => {},
  });

it('a secret that the group deleted under an earlier domain key does not come back by a lie', async () => {
  const secret = b.hsm.addSecret('deleted');
  b.hsm.addSecret('kept');
  await group.captured(b);
  b.hsm.remove(secret);
  await group.captured(b);
  await group.rotate([a, b], 2);
  const newest = await group.captured(b);
  expect(newest.generation.tombstones).toHaveLength(1);
  Object.assign(a.hsm.addSecret('deleted'), { value: secret.value });
  a.hsm.addSecret('made at a');
  const results = await merge(await offered(newest), newest);
  expect(results.map(({ verdict }) => verdict).sort()).toEqual(['deleted', 'merged']);
  expect([b.hsm.labelled('deleted'), b.hsm.labelled('made at a').length]).toEqual([[], 1]);
});
