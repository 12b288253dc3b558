/** A scrub looks at everything; damage is made here behind the session's back, as a token's storage would make it. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Entry, kindOf, type SealedGeneration } from '../index.ts';
import type { Handle, ObjectId } from '../model/object.ts';
import { SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import { ReplicaMemory } from './replica.ts';
import { type ScrubReport, scrub } from './scrub.ts';

let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;
let target: SealedGeneration;
let known: Map<Handle, ObjectId>;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b');
  group = made.group;
  [a, b] = made.members as [SimulatedMember, SimulatedMember];
  for (const label of ['one', 'two']) a.hsm.addSecret(label);
  a.hsm.addEcPair('pair');
  a.hsm.addCertificate('certificate');
  a.hsm.addData('data', Buffer.from('value'));
  target = await group.captured(a);
  const memory = new ReplicaMemory();
  await group.apply(b, target, { memory });
  known = new Map([...memory.known].map(([objectId, { handle }]) => [handle, objectId]));
});

const look = (): Promise<ScrubReport> => scrub({ ...b, target, known });
const idOf = (kind: string, label: string): ObjectId =>
  target.generation.entries.find(
    (entry: Entry) => kindOf(entry) === kind && Buffer.from(entry.attributes.label ?? []).toString() === label,
  )!.objectId;
const named = (label: string, objectClass: string) =>
  b.hsm.labelled(label).find((object) => object.objectClass === objectClass)!;

it('proves every object of a sound replica, and changes nothing in it', async () => {
  const before = b.hsm.contents();
  expect(await look()).toMatchObject({ proof: { proved: 6, failed: 0 }, missing: [], altered: [] });
  expect(b.hsm.contents()).toEqual(before);
});

describe('a damaged value under its handle', () => {
  it.each([
    ['secret-key/aes', 'secret-key', 'one'],
    ['private-key/ec', 'private-key', 'pair'],
    ['data', 'data', 'data'],
  ])('fails its proof: %s', async (kind, objectClass, label) => {
    const object = named(label, objectClass);
    const other =
      objectClass === 'private-key' ? a.hsm.addEcPair('other').value! : object.value!.map((byte) => byte ^ 1);
    object.value = other;
    const report = await look();
    expect(report.proof).toMatchObject({ failed: 1, failedObjectIds: [idOf(kind, label)] });
    expect(report.missing).toEqual([]);
  });

  it('fails its proof if nothing of it is left', async () => {
    delete named('one', 'secret-key').value;
    expect((await look()).proof).toMatchObject({ failed: 1, failedObjectIds: [idOf('secret-key/aes', 'one')] });
  });
});

it('reports missing objects, and other values under other handles', async () => {
  const one = named('one', 'secret-key');
  b.hsm.remove(one);
  expect(await look()).toMatchObject({ proof: { failed: 0 }, missing: [idOf('secret-key/aes', 'one')] });
  b.hsm.addSecret('one');
  expect(await look()).toMatchObject({ proof: { failed: 0 }, missing: [idOf('secret-key/aes', 'one')] });
});

it('reports objects with other attributes', async () => {
  const pair = named('pair', 'private-key');
  pair.attributes = { ...pair.attributes, label: Buffer.from('renamed') };
  expect(await look()).toMatchObject({ proof: { failed: 0 }, altered: [idOf('private-key/ec', 'pair')], missing: [] });
});

it('accepts a correct object, whatever is beside it', async () => {
  const one = named('one', 'secret-key');
  b.hsm.objects.unshift({ ...one, attributes: { ...one.attributes, decrypt: false } });
  expect(await look()).toMatchObject({ proof: { proved: 6, failed: 0 }, missing: [], altered: [] });
});

it('ignores objects that the generation does not name', async () => {
  b.hsm.addSecret('of an application');
  expect(await look()).toMatchObject({ proof: { proved: 6, failed: 0 }, missing: [], altered: [] });
});

it("does not wrap the partition's own keys, which a token may count as an attack", async () => {
  const asked: Handle[] = [];
  const wrap = b.provider.wrap.bind(b.provider);
  b.provider.wrap = (domainKey, handles) => {
    asked.push(...handles);
    return wrap(domainKey, handles);
  };
  await look();
  expect(asked.some((handle) => b.keyring.ownHandles.has(handle))).toBe(false);
  expect(asked).not.toEqual([]);
});

it("refuses to look if the domain key differs from the source's", async () => {
  const { members } = await SimulatedGroup.make('c');
  await expect(scrub({ ...members[0]!, target, known })).rejects.toMatchObject({ code: 'DOMAIN_KEY_MISSING' });
});
