import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import type { SealedGeneration } from '../model/generation.ts';
import { SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import { emptyScratch, rehearse } from './rehearsal.ts';

let group: SimulatedGroup;
let a: SimulatedMember;
let scratch: SimulatedMember;
let target: SealedGeneration;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'scratch');
  group = made.group;
  [a, scratch] = made.members as [SimulatedMember, SimulatedMember];
  a.hsm.addSecret('secret');
  a.hsm.addSecret('for ever', { destroyable: false });
  a.hsm.addEcPair('pair');
  a.hsm.addData('data', Buffer.from('value'));
  target = await group.captured(a);
});

const run = (given = target) => rehearse({ ...scratch, target: given, blobOf: (digest) => group.blobs.get(digest)! });

it('proves every object, finds equal content, and empties the partition', async () => {
  const own = [...scratch.hsm.objects];
  const rehearsal = await run();
  expect(rehearsal).toMatchObject({ proof: { proved: 5, failed: 0 }, isEqual: true, isClean: true });
  expect(scratch.hsm.objects).toEqual(own);
});

it('can be repeated', async () => {
  await run();
  expect(await run()).toMatchObject({ isEqual: true, isClean: true });
});

it('throws SCRATCH_REFUSED when the partition is not empty, and touches nothing', async () => {
  scratch.hsm.addSecret('not for drills');
  expect(await rejection(run())).toMatchObject({ code: 'SCRATCH_REFUSED', details: { objects: 1 } });
  expect(scratch.hsm.contents()).toHaveLength(1);
});

it('empties the partition even if the restore fails', async () => {
  scratch.hsm.distort = (value) => value.map((byte) => byte ^ 1);
  expect((await rejection(run())).code).toBe('OBJECT_UNPROVEN');
  expect(scratch.hsm.contents()).toEqual([]);
  scratch.hsm.distort = (value) => value;
  scratch.hsm.objectsMax = scratch.hsm.objects.length + 2;
  expect((await rejection(run())).code).toBe('HSM_FULL');
  expect(scratch.hsm.contents()).toEqual([]);
});

it('empties the partition even if the restored objects cannot be read', async () => {
  scratch.provider.read = async () => {
    throw new AntipodeError('HSM_UNAVAILABLE', 'busy');
  };
  expect((await rejection(run())).code).toBe('HSM_UNAVAILABLE');
  expect(scratch.hsm.contents()).toEqual([]);
});

it('reports that it is not clean when an object stays', async () => {
  const destroy = scratch.provider.destroy.bind(scratch.provider);
  scratch.provider.destroy = (handles) => destroy(handles.slice(1));
  expect(await run()).toMatchObject({ isEqual: true, isClean: false });
  scratch.provider.destroy = destroy;
  expect(await emptyScratch(scratch)).toBe(true);
  expect(scratch.hsm.contents()).toEqual([]);
});

it('reports different content when a restored object changes before it is read', async () => {
  const prove = scratch.provider.prove.bind(scratch.provider);
  scratch.provider.prove = async (...given) => {
    scratch.hsm.labelled('secret')[0]!.attributes.decrypt = false;
    return prove(...given);
  };
  expect(await run()).toMatchObject({ proof: { failed: 0 }, isEqual: false, isClean: true });
});

it('ignores objects that anybody can make without a PIN, and leaves them', async () => {
  // One under the names of a restored object, and one that is the same in everything as its public half.
  scratch.hsm.addCertificate('secret');
  scratch.hsm.addCertificate('elsewhere');
  scratch.hsm.addData('data', Buffer.from('of a stranger'));
  const [half] = a.hsm.labelled('pair').filter(({ objectClass }) => objectClass === 'public-key');
  scratch.hsm.objects.push({ ...half!, attributes: { ...half!.attributes } });
  const before = scratch.hsm.contents();
  expect(await run()).toMatchObject({ proof: { failed: 0 }, isEqual: true, isClean: true, strangers: 4 });
  expect(scratch.hsm.contents()).toEqual(before);
});

it('is clean even if somebody makes public objects all the time', async () => {
  const destroy = scratch.provider.destroy.bind(scratch.provider);
  scratch.provider.destroy = (...given) => {
    scratch.hsm.addCertificate('meanwhile');
    return destroy(...given);
  };
  expect(await run()).toMatchObject({ isEqual: true, isClean: true });
});
