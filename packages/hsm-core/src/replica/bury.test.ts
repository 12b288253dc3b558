import { sha256Hex } from '@antipode/runtime';
import { beforeEach, describe, expect, it } from 'vitest';
import type { SealedGeneration } from '../model/generation.ts';
import { SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import { ReplicaMemory } from './replica.ts';

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
});

/** A capture at a, applied and read back at b; then what it deletes leaves b. */
async function replicate(options: Partial<Parameters<SimulatedGroup['bury']>[2]> = {}) {
  const target = await group.captured(a);
  const replica = { memory, previous: before === undefined ? [] : [before] };
  await group.apply(b, target, replica);
  const { contentDigest, proof } = await group.verify(b, target, replica);
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
  before = target;
  return { target, ...(await group.bury(b, target, { ...replica, ...options })) };
}

const labels = (member: SimulatedMember): string[] =>
  member.hsm.objects
    .map(({ attributes }) => Buffer.from(attributes.label ?? []).toString())
    .filter((label) => !label.startsWith('antipode '))
    .sort();

describe('an object that is deleted at the source', () => {
  it('leaves the token of a standby, whatever its class', async () => {
    const secret = a.hsm.addSecret('secret');
    const pair = a.hsm.addEcPair('pair');
    const certificate = a.hsm.addCertificate('certificate');
    const data = a.hsm.addData('data', Buffer.from('value'));
    a.hsm.addSecret('kept');
    await replicate();
    for (const object of [secret, pair, certificate, data]) a.hsm.remove(object);
    const { buried, left } = await replicate();
    expect([buried.length, left]).toEqual([4, []]);
    // The public half was not deleted.
    expect(labels(b)).toEqual(['kept', 'pair']);
    expect((await group.bury(b, before!, { memory })).buried).toEqual([]);
  });

  it('leaves the token even after a change of the domain key', async () => {
    const deleted = [a.hsm.addSecret('secret'), a.hsm.addData('data', Buffer.from('value'))];
    a.hsm.addSecret('kept');
    await replicate();
    for (const object of deleted) a.hsm.remove(object);
    await group.captured(a);
    for (const version of [2, 3]) {
      await group.rotate([a, b], version);
      await group.captured(a);
    }
    a.hsm.addSecret('more');
    const { target, buried } = await replicate();
    expect(buried).toHaveLength(2);
    expect(labels(b)).toEqual(['kept', 'more']);
    // The key that opens it is known for as long as it is kept.
    expect(target.generation.tombstones.map(({ domainKeyVersion }) => domainKeyVersion)).toEqual([1, 1]);
  });

  it('stays and is counted if somebody changed it at the standby', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('kept');
    await replicate();
    Object.assign(b.hsm.labelled('secret')[0]!.attributes, { decrypt: false });
    a.hsm.remove(secret);
    const { buried, left } = await replicate();
    expect([buried, left.length, memory.unaccounted.length]).toEqual([[], 1, 1]);
    expect(labels(b)).toEqual(['kept', 'secret']);
  });

  it('stays and is counted if its token must not destroy it', async () => {
    const secret = a.hsm.addSecret('secret', { destroyable: false });
    a.hsm.addSecret('kept');
    await replicate();
    a.hsm.remove(secret);
    expect((await replicate()).left).toHaveLength(1);
    expect(memory.unaccounted).toHaveLength(1);
    // But no name finds it, and it has no use.
    expect(b.hsm.labelled('secret')).toEqual([]);
    const hidden = b.hsm.objects.find(({ attributes }) => attributes.destroyable === false);
    expect(hidden!.attributes).toMatchObject({ encrypt: false, decrypt: false });
  });

  it('is sealed first if the store lost its blob, and stays if that is impossible', async () => {
    const deleted = [a.hsm.addSecret('secret'), a.hsm.addData('data', Buffer.from('value'))];
    a.hsm.addSecret('kept');
    await replicate();
    for (const object of deleted) a.hsm.remove(object);
    const stored = new Map<string, Uint8Array>();
    const lost = new Set(
      (await group.captured(a)).generation.tombstones.flatMap(({ entry }) => entry.blobSha256 ?? []),
    );
    a.hsm.addSecret('more');
    const { target, left } = await replicate({
      hasBlob: (digest) => !lost.has(digest) || stored.has(digest),
      putBlobs: (blobs) => {
        for (const blob of blobs) stored.set(sha256Hex(blob), blob);
      },
    });
    const classOf = (id: string) => target.generation.tombstones.find(({ entry }) => entry.objectId === id)!.entry;
    expect(left.map((id) => classOf(id).objectClass)).toEqual(['data']);
  });

  it('is not confused with another object that has its handle now', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('kept');
    await replicate();
    // The replica is destroyed by hand, and an application's key has its handle.
    const replica = b.hsm.labelled('secret')[0]!;
    const other = b.hsm.addSecret('of an application');
    b.hsm.remove(other);
    Object.assign(replica, other);
    a.hsm.remove(secret);
    expect(await replicate()).toMatchObject({ buried: [] });
    expect(memory.unaccounted).toHaveLength(1);
    expect(labels(b)).toEqual(['kept', 'of an application']);
  });
});

describe('an object that is replaced', () => {
  it('is not destroyed under a handle that now means another object', async () => {
    const secret = a.hsm.addSecret('secret');
    await replicate();
    const replica = b.hsm.labelled('secret')[0]!;
    const other = b.hsm.addSecret('of an application');
    b.hsm.remove(other);
    Object.assign(replica, other);
    Object.assign(secret.attributes, { label: Buffer.from('renamed') });
    await replicate();
    expect(labels(b)).toEqual(['of an application', 'renamed']);
  });
});
