import { expect, it } from 'vitest';
import type { SealedGeneration } from '../model/generation.ts';
import { MemoryJournal, SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import { ReplicaMemory } from './replica.ts';
import { setAside } from './set-aside.ts';

it('leaves a key in place that the token does not wrap after all, and seals the others', async () => {
  const { group, members } = await SimulatedGroup.make('a', 'b');
  const [a, b] = members as [SimulatedMember, SimulatedMember];
  for (const name of ['first', 'second']) for (const { hsm } of [a, b]) hsm.addSecret(name);
  for (const { hsm } of [a, b]) hsm.addData('third', hsm.prng.bytes(9));
  const target = await group.captured(a);
  const memory = new ReplicaMemory();
  await group.apply(b, target, { memory });
  const [refused] = memory.unaccounted;
  const wrap = b.provider.wrap.bind(b.provider);
  let asked = 0;
  b.provider.wrap = async (domainKey, handles) =>
    (await wrap(domainKey, handles)).map((outcome) => {
      if (outcome.handle !== refused) return outcome;
      asked += 1;
      return asked === 1 ? outcome : { handle: outcome.handle, reason: 'unreadable' };
    });
  const stored: SealedGeneration[] = [];
  const store = async (sealed: SealedGeneration): Promise<void> => void stored.push(sealed);
  const replica = { memory, target, previous: [], journal: new MemoryJournal(), checkFence: () => {} };
  const result = await setAside({ ...b, ...replica, wasActive: true, store });
  expect([result.setAside.length, result.left, stored[0]?.generation.entries.length]).toEqual([2, 1, 2]);
  expect(memory.unaccounted).toEqual([refused]);
});

it('takes out a key that a generation outside the line had brought, at a member that was never active', async () => {
  const { group, members } = await SimulatedGroup.make('a', 'b');
  const [a, b] = members as [SimulatedMember, SimulatedMember];
  const kept = a.hsm.addSecret('name');
  const before = await group.captured(a);
  await group.apply(b, before);
  a.hsm.remove(kept);
  a.hsm.addSecret('name');
  const lost = await group.captured(a);
  await group.apply(b, lost, { previous: [before] });
  const memory = new ReplicaMemory();
  await group.apply(b, before, { memory, previous: [lost] });
  b.hsm.addSecret('name');
  const stored: SealedGeneration[] = [];
  const store = async (sealed: SealedGeneration): Promise<void> => void stored.push(sealed);
  const replica = { memory, target: before, previous: [lost], journal: new MemoryJournal(), checkFence: () => {} };
  const { setAside: objects } = await setAside({ ...b, ...replica, wasActive: false, store });
  expect([objects.length, stored[0]?.generation.entries.length]).toEqual([1, 1]);
  // The other one was made here by somebody.
  const values = b.hsm.labelled('name').map(({ value }) => Buffer.from(value!).toString('hex'));
  expect(values).toHaveLength(2);
  expect(values).toContain(Buffer.from(kept.value!).toString('hex'));
});
