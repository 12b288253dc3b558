import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Entry, SealedGeneration } from '../model/generation.ts';
import { MemoryJournal, SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import { intentOf, ReplicaMemory } from './replica.ts';

let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b');
  group = made.group;
  [a, b] = made.members as [SimulatedMember, SimulatedMember];
});

function fill(): void {
  a.hsm.addSecret('secret');
  a.hsm.addSecret('hmac', { keyType: 'generic-secret', encrypt: false, decrypt: false, sign: true, modifiable: false });
  a.hsm.addSecret('odd', { keyType: 'generic-secret', bytes: 13, encrypt: false, decrypt: false, sign: true });
  a.hsm.addEcPair('pair');
  a.hsm.addCertificate('certificate');
  a.hsm.addData('data', Buffer.from('value'));
}

/** The generation with one entry changed, as if it had been captured so. */
function withEntry(sealed: SealedGeneration, label: string, change: (entry: Entry) => Entry): SealedGeneration {
  const entries = sealed.generation.entries.map((entry) =>
    Buffer.from(entry.attributes.label ?? []).toString() === label ? change(entry) : entry,
  );
  return { ...sealed, generation: { ...sealed.generation, entries } };
}

describe('an apply', () => {
  it('restores objects that somebody deleted or changed in the replica', async () => {
    fill();
    const first = await group.captured(a);
    const memory = new ReplicaMemory();
    await group.apply(b, first, { memory });
    await group.verify(b, first, { memory });
    b.hsm.remove(b.hsm.labelled('secret')[0]!);
    Object.assign(b.hsm.labelled('hmac')[0]!.attributes, { sign: false });
    b.hsm.addSecret('of an application');
    a.hsm.addSecret('more');
    const second = await group.captured(a);
    const result = await group.apply(b, second, { memory, previous: [first] });
    expect(result.applied).toHaveLength(3);
    // A changed object is not ours any more, and stays.
    expect(result.unaccounted).toBe(2);
    const { contentDigest, proof } = await group.verify(b, second, { memory });
    expect([contentDigest, proof.failed]).toEqual([second.contentDigest, 0]);
    expect(b.hsm.labelled('secret')).toHaveLength(1);
  });

  it("brings the source's objects to the replica, and a read-back proves them", async () => {
    fill();
    const target = await group.captured(a);
    const result = await group.apply(b, target);
    expect(result).toMatchObject({ narrowed: 0, unaccounted: 0, divergent: 0 });
    expect(result.applied).toHaveLength(target.generation.entries.length);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    const { contentDigest, proof } = await group.verify(b, target);
    expect(contentDigest).toBe(target.contentDigest);
    expect(proof).toEqual({ proved: 7, failed: 0, failedObjectIds: [], usesNotExercised: 0, notExercised: [] });
    expect(b.provider.sessionObjectCount).toBe(0);
  });

  it('names what a standby lacks the means for, and fails for no want of other objects', async () => {
    const odd = (label: string) => a.hsm.addSecret(label, { keyType: 'generic-secret', bytes: 13 });
    for (const label of ['first', 'second']) odd(label);
    const target = await group.captured(a);
    b.hsm.offersExact = false;
    const { applied, refused } = await group.apply(b, target);
    expect([applied, refused.map(({ code }) => code)]).toEqual([[], ['SECRET_INEXACT', 'SECRET_INEXACT']]);
    const left = new Set(refused.map(({ objectId }) => objectId));
    const { contentDigest, proof } = await group.verify(b, target, { refused: left });
    expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
    b.hsm.offersExact = true;
    expect((await group.apply(b, target)).applied).toHaveLength(2);
  });

  it('opens the keys of exact secrets once, and forgets them', async () => {
    for (let index = 0; index < 300; index += 1)
      a.hsm.addSecret(`odd ${index}`, { keyType: 'generic-secret', bytes: 13 });
    const target = await group.captured(a);
    const openExactKey = b.provider.openExactKey.bind(b.provider);
    let opened = 0;
    b.provider.openExactKey = (...args) => {
      opened += 1;
      return openExactKey(...args);
    };
    expect((await group.apply(b, target)).applied).toHaveLength(300);
    expect([opened, b.provider.sessionObjectCount]).toEqual([1, 0]);
  });

  it('changes nothing when it is repeated, in any process', async () => {
    fill();
    const target = await group.captured(a);
    const memory = new ReplicaMemory();
    await group.apply(b, target, { memory });
    await group.verify(b, target, { memory });
    const objects = [...b.hsm.objects];
    expect((await group.apply(b, target, { memory })).applied).toEqual([]);
    await b.reopen();
    expect((await group.apply(b, target)).applied).toEqual([]);
    expect(b.hsm.objects).toEqual(objects);
  });

  it('asks for no blob of an object that is already there', async () => {
    fill();
    const target = await group.captured(a);
    await group.apply(b, target);
    const blobOf = (): never => expect.unreachable();
    expect((await group.apply(b, target, { blobOf })).applied).toEqual([]);
  });

  it('touches only new and changed objects, and replaces the changed ones', async () => {
    fill();
    const memory = new ReplicaMemory();
    const first = await group.captured(a);
    await group.apply(b, first, { memory });
    await group.verify(b, first, { memory });
    const secret = a.hsm.labelled('secret')[0]!;
    secret.attributes = { ...secret.attributes, label: Buffer.from('renamed') };
    a.hsm.addSecret('new');
    const target = await group.captured(a);
    expect((await group.apply(b, target, { memory })).applied).toHaveLength(2);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    expect((await group.verify(b, target)).contentDigest).toBe(target.contentDigest);
  });

  it('leaves unaccounted objects alone, and counts them', async () => {
    b.hsm.addSecret('own');
    a.hsm.addSecret('secret');
    const target = await group.captured(a);
    expect(await group.apply(b, target)).toMatchObject({ unaccounted: 1 });
    expect(b.hsm.labelled('own')).toHaveLength(1);
  });

  it('leaves deleted objects alone, and does not count them', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('kept');
    const first = await group.captured(a);
    await group.apply(b, first);
    a.hsm.remove(secret);
    const second = await group.captured(a);
    await b.reopen();
    expect(await group.apply(b, second, { previous: [first] })).toMatchObject({
      applied: [],
      unaccounted: 0,
      divergent: 0,
    });
    expect(b.hsm.labelled('secret')).toHaveLength(1);
  });

  it('does not count deleted objects after changes of the domain key either', async () => {
    const deleted = [a.hsm.addSecret('secret'), a.hsm.addData('data', Buffer.from('value'))];
    a.hsm.addSecret('kept');
    await group.apply(b, await group.captured(a));
    for (const object of deleted) a.hsm.remove(object);
    await group.captured(a);
    for (const version of [2, 3]) {
      await group.rotate([a, b], version);
      const target = await group.captured(a);
      expect(await group.apply(b, target)).toMatchObject({ applied: [], unaccounted: 0, divergent: 0 });
    }
  });

  it('leaves undeleted objects that no generation names alone, as divergent', async () => {
    a.hsm.addSecret('secret');
    const first = await group.captured(a);
    await group.apply(b, first);
    const forgetful = { ...first, generation: { ...first.generation, entries: [] } };
    expect(await group.apply(b, forgetful, { previous: [first] })).toMatchObject({ divergent: 1, unaccounted: 0 });
    expect(b.hsm.labelled('secret')).toHaveLength(1);
    // As long as it is there, whatever comes after, and whoever looks.
    const next = { ...forgetful, digest: 'next' };
    expect(await group.apply(b, next, { previous: [forgetful, first] })).toMatchObject({ divergent: 1 });
    const memory = new ReplicaMemory();
    for (const target of [forgetful, next])
      expect(await group.apply(b, target, { memory, previous: [first] })).toMatchObject({ divergent: 1 });
  });

  it('recognises a key that is already there, and does not make it twice', async () => {
    const secret = a.hsm.addSecret('secret');
    b.hsm.objects.push({ ...secret });
    expect((await group.apply(b, await group.captured(a))).applied).toEqual([]);
    expect(b.hsm.labelled('secret')).toHaveLength(1);
  });

  it('never makes a readable key readable again, and reports that it narrowed it', async () => {
    a.hsm.addSecret('readable', { sensitive: false });
    const target = await group.captured(a);
    expect(await group.apply(b, target)).toMatchObject({ narrowed: 1 });
    expect(b.hsm.labelled('readable')[0]!.attributes.sensitive).toBe(true);
    expect((await group.verify(b, target)).contentDigest).toBe(target.contentDigest);
  });
});

describe('an apply changes nothing', () => {
  let target: SealedGeneration;
  let before: string[];

  beforeEach(async () => {
    fill();
    target = await group.captured(a);
    b.hsm.addSecret('own');
    before = b.hsm.contents();
  });

  it('when a blob is missing', async () => {
    const failure = new AntipodeError('GENERATION_UNKNOWN', 'not here');
    const blobOf = (): never => {
      throw failure;
    };
    expect(await rejection(group.apply(b, target, { blobOf }))).toBe(failure);
    expect(b.hsm.contents()).toEqual(before);
  });

  it('when any one bit of a blob was changed', async () => {
    for (const changed of group.blobs.keys()) {
      const blobOf = (digest: string): Uint8Array => {
        const blob = Uint8Array.from(group.blobs.get(digest)!);
        if (digest === changed) blob[blob.length - 1]! ^= 1;
        return blob;
      };
      expect(await rejection(group.apply(b, target, { blobOf }))).toMatchObject({
        code: 'BLOB_INVALID',
        details: { expected: changed },
      });
    }
    expect(b.hsm.contents()).toEqual(before);
  });

  it('when the member has another key under that version', async () => {
    const generation = { ...target.generation, domainKeyCheckTag: new Uint8Array(32) };
    expect((await rejection(group.apply(b, { ...target, generation }))).code).toBe('DOMAIN_KEY_MISSING');
    const older = { ...target, generation: { ...target.generation, domainKeyVersion: 7 } };
    expect((await rejection(group.apply(b, older))).code).toBe('DOMAIN_KEY_MISSING');
    expect(b.hsm.contents()).toEqual(before);
  });

  it('when the tenure is over before the first write', async () => {
    const checkFence = (): void => {
      throw new AntipodeError('EPOCH_STALE', 'the tenure is over');
    };
    const journal = new MemoryJournal();
    expect((await rejection(group.apply(b, target, { checkFence, journal }))).code).toBe('EPOCH_STALE');
    expect([b.hsm.contents(), journal.openIntents()]).toEqual([before, []]);
  });

  it('when the partition is full, and goes on when there is room', async () => {
    b.hsm.objectsMax = b.hsm.objects.length + 3;
    const error = await rejection(group.apply(b, target));
    expect(error).toMatchObject({ code: 'HSM_FULL', details: { returnValue: 'CKR_DEVICE_MEMORY' } });
    expect(b.hsm.contents()).toEqual(before);
    b.hsm.objectsMax = Number.POSITIVE_INFINITY;
    await group.apply(b, target);
    expect((await group.verify(b, target)).contentDigest).toBe(target.contentDigest);
  });

  it('of an object that the token cannot open, and restores all others', async () => {
    const swapped = withEntry(target, 'secret', (entry) => ({
      ...entry,
      blobSha256: target.generation.entries.find(({ objectClass }) => objectClass === 'data')!.blobSha256!,
    }));
    const { objectId } = target.generation.entries.find(({ blobSha256 }) => blobSha256 !== undefined)!;
    expect(objectId).toBeDefined();
    const { applied, refused } = await group.apply(b, swapped);
    expect(refused).toMatchObject([{ objectId: expect.any(String), code: 'BLOB_INVALID' }]);
    expect(applied).toHaveLength(target.generation.entries.length - 1);
  });

  it('of data that was sealed for another object, and restores all others', async () => {
    const swapped = withEntry(target, 'data', (entry) => ({ ...entry, objectId: 'ff'.repeat(16) }));
    const { refused } = await group.apply(b, swapped);
    expect(refused).toMatchObject([{ objectId: 'ff'.repeat(16), code: 'BLOB_INVALID' }]);
    expect([b.hsm.labelled('data'), b.provider.sessionObjectCount]).toEqual([[], 0]);
  });

  it('when data names a data key that the manifest does not have', async () => {
    const orphaned = withEntry(target, 'data', (entry) => ({ ...entry, dataKeyId: 'ff'.repeat(16) }));
    expect((await rejection(group.apply(b, orphaned))).code).toBe('MANIFEST_INVALID');
    expect(b.hsm.contents()).toEqual(before);
  });
});

describe('an apply that fails', () => {
  it('leaves working objects for the next try, and nothing else', async () => {
    fill();
    const target = await group.captured(a);
    b.hsm.distort = (value) => Uint8Array.from(value, (byte, at) => (at === value.length - 1 ? byte ^ 1 : byte));
    const journal = new MemoryJournal();
    const error = await rejection(group.apply(b, target, { journal }));
    expect(error.code).toBe('OBJECT_UNPROVEN');
    expect(String(error.details['objectIds']).split(',')).toHaveLength(5);
    expect(b.hsm.contents().map((line) => line.split(' ')[0])).toEqual(['certificate', 'public-key']);
    b.hsm.distort = (value) => value;
    const again = await group.apply(b, target, { journal });
    expect([again.applied.length, again.unproven.length, journal.openIntents()]).toEqual([5, 7, []]);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
  });

  it('keeps objects beside a refused one, and knows what it made when the HSM is away', async () => {
    for (const _ of Array(3)) a.hsm.addEcPair('pair');
    const target = await group.captured(a);
    const before = b.hsm.contents();
    const { create, unwrap } = b.provider;
    const failure = { index: 2, code: 'HSM_REFUSED', returnValue: 'CKR_GENERAL_ERROR' } as const;
    b.provider.create = async (items) => ({ ...(await create.call(b.provider, items.slice(0, 2))), failure });
    b.provider.unwrap = async () => Promise.reject(new AntipodeError('HSM_UNAVAILABLE', 'not now'));
    expect((await rejection(group.apply(b, target))).code).toBe('HSM_UNAVAILABLE');
    expect(b.hsm.contents()).toEqual(before);
    b.provider.unwrap = unwrap;
    const { applied, refused } = await group.apply(b, target);
    expect([applied.length, refused]).toMatchObject([5, [{ code: 'HSM_REFUSED', returnValue: 'CKR_GENERAL_ERROR' }]]);
    const options = { objectIds: 'everything', refused: new Set(refused.map(({ objectId }) => objectId)) } as const;
    expect(await group.verify(b, target, options)).toMatchObject({
      contentDigest: target.contentDigest,
      proof: { proved: 5, failed: 0 },
    });
    // Every apply tries it again.
    b.provider.create = create;
    expect(await group.apply(b, target)).toMatchObject({ applied: [refused[0]!.objectId], refused: [] });
  });

  describe('in one batch while the next is made', () => {
    const [ONE_BATCH, ALL] = [256, 300];
    let target: SealedGeneration;
    let order: string[];

    beforeEach(async () => {
      for (let number = 0; number < ALL; number += 1) a.hsm.addSecret(`secret ${number}`);
      target = await group.captured(a);
      order = [];
      const { unwrap, prove } = b.provider;
      b.provider.unwrap = (key, items) => {
        order.push('make');
        return unwrap.call(b.provider, key, items);
      };
      b.provider.prove = (key, items) => {
        order.push('prove');
        return prove.call(b.provider, key, items);
      };
    });

    it('leaves no unproved object, and the next try restores all of them', async () => {
      let restored = 0;
      b.hsm.distort = (value) => (restored++ === 0 ? new Uint8Array(value.length) : value);
      const before = b.hsm.contents().length;
      const journal = new MemoryJournal();
      const { refused } = await group.apply(b, target, { journal });
      expect(refused).toMatchObject([{ code: 'OBJECT_UNPROVEN' }]);
      expect(order).toEqual(['make', 'prove', 'make', 'prove']);
      expect([b.hsm.contents().length - before, journal.openIntents().length]).toEqual([ALL - 1, 0]);
      expect((await group.apply(b, target, { journal })).applied).toHaveLength(1);
      expect(b.hsm.contents()).toEqual(a.hsm.contents());
    });

    it('keeps objects that are proved only after the next batch has failed', async () => {
      const before = b.hsm.contents().length;
      b.hsm.objectsMax = b.hsm.objects.length + ONE_BATCH + 10;
      const { prove } = b.provider;
      const failed = Promise.withResolvers<void>();
      const { unwrap } = b.provider;
      let batches = 0;
      b.provider.unwrap = async (key, items) => {
        if (++batches === 2) setImmediate(failed.resolve);
        return unwrap.call(b.provider, key, items);
      };
      b.provider.prove = async (key, items) => {
        await failed.promise;
        return prove(key, items);
      };
      expect((await rejection(group.apply(b, target))).code).toBe('HSM_FULL');
      expect(b.hsm.contents().length - before).toBe(ONE_BATCH);
    });

    it('proves what it made when the tenure ends, and makes no more', async () => {
      const before = b.hsm.contents().length;
      let checks = 0;
      const checkFence = (): void => {
        if (++checks > 1) throw new AntipodeError('EPOCH_STALE', 'the tenure is over');
      };
      expect((await rejection(group.apply(b, target, { checkFence }))).code).toBe('EPOCH_STALE');
      expect(order).toEqual(['make', 'prove']);
      expect(b.hsm.contents().length - before).toBe(ONE_BATCH);
    });
  });

  it('destroys nothing once the tenure is over', async () => {
    a.hsm.addSecret('secret');
    const target = await group.captured(a);
    let isOver = false;
    b.provider.prove = async () => {
      isOver = true;
      return [];
    };
    const checkFence = (): void => {
      if (isOver) throw new AntipodeError('EPOCH_STALE', 'the tenure is over');
    };
    expect((await rejection(group.apply(b, target, { checkFence }))).code).toBe('EPOCH_STALE');
    expect(b.hsm.labelled('secret')).toHaveLength(1);
  });

  it('replaces nothing until everything is proved', async () => {
    const secret = a.hsm.addSecret('before');
    const first = await group.captured(a);
    await group.apply(b, first);
    secret.attributes = { ...secret.attributes, label: Buffer.from('after') };
    for (let number = 0; number < 300; number += 1) a.hsm.addCertificate(`certificate ${number}`);
    const next = await group.captured(a);
    b.hsm.objectsMax = b.hsm.objects.length + 280;
    expect((await rejection(group.apply(b, next, { previous: [first] }))).code).toBe('HSM_FULL');
    const { contentDigest, proof } = await group.verify(b, first);
    expect([contentDigest, proof.failed]).toEqual([first.contentDigest, 0]);
  });
});

describe('an object of equal value that another made', () => {
  it('stays and is counted: the wanted one is made beside it', async () => {
    const secret = a.hsm.addSecret('card key');
    const target = await group.captured(a);
    const foreign = { ...secret, attributes: { ...secret.attributes, label: Buffer.from('of an application') } };
    b.hsm.objects.push(foreign);
    expect(await group.apply(b, target)).toMatchObject({ unaccounted: 1, divergent: 0 });
    expect(b.hsm.objects).toContain(foreign);
    secret.attributes = { ...secret.attributes, label: Buffer.from('renamed') };
    await b.reopen();
    const next = await group.captured(a);
    expect(await group.apply(b, next, { previous: [target] })).toMatchObject({ unaccounted: 1 });
    expect([b.hsm.objects.includes(foreign), b.hsm.labelled('card key').length]).toEqual([true, 0]);
  });

  it('stays even if it is equal in everything', async () => {
    const secret = a.hsm.addSecret('card key');
    const first = await group.captured(a);
    const journal = new MemoryJournal();
    await group.apply(b, first, { journal });
    b.hsm.objects.push({ ...b.hsm.labelled('card key')[0]! });
    await group.rotate([a, b], 2);
    const rotated = await group.captured(a);
    for (const target of [first, rotated]) {
      for (const intents of [[], target.generation.entries.map(intentOf)]) {
        journal.begin(intents);
        await b.reopen();
        expect(await group.apply(b, target, { journal, previous: [first] })).toMatchObject({ unaccounted: 1 });
        expect(b.hsm.labelled('card key')).toHaveLength(2);
      }
    }
    // One of the two is ours, and replaced; no look can tell which.
    secret.attributes = { ...secret.attributes, label: Buffer.from('renamed') };
    const renamed = await group.captured(a);
    expect(await group.apply(b, renamed, { previous: [rotated] })).toMatchObject({ unaccounted: 1 });
    expect([b.hsm.labelled('card key').length, b.hsm.labelled('renamed').length]).toEqual([1, 1]);
  });

  it('stays even after an interrupted apply, and after the next one', async () => {
    const secret = a.hsm.addSecret('card key');
    const first = await group.captured(a);
    let crashesAt = 'commit';
    const interrupt = (step: string): void => {
      if (step === crashesAt) throw new AntipodeError('HSM_WORKER_LOST', 'a crash');
    };
    const journal = new MemoryJournal(() => interrupt);
    await rejection(group.apply(b, first, { journal }));
    b.hsm.objects.push({ ...b.hsm.labelled('card key')[0]! });
    secret.attributes = { ...secret.attributes, label: Buffer.from('renamed') };
    const second = await group.captured(a);
    crashesAt = 'destroy';
    await b.reopen(interrupt);
    await rejection(group.apply(b, second, { journal }));
    crashesAt = '';
    await b.reopen();
    expect(await group.apply(b, second, { journal })).toMatchObject({ unaccounted: 1 });
    // One of the two was ours, and is replaced; no look can tell which.
    expect([b.hsm.labelled('card key').length, b.hsm.labelled('renamed').length]).toEqual([1, 1]);
  });

  it('stays even if ours is gone', async () => {
    const secret = a.hsm.addSecret('card key');
    const first = await group.captured(a);
    await group.apply(b, first);
    b.hsm.remove(b.hsm.labelled('card key')[0]!);
    const foreign = { ...secret, attributes: { ...secret.attributes, label: Buffer.from('of an application') } };
    b.hsm.objects.push(foreign);
    a.hsm.addCertificate('new');
    const next = await group.captured(a);
    expect(await group.apply(b, next, { previous: [first] })).toMatchObject({ unaccounted: 1 });
    expect([b.hsm.objects.includes(foreign), b.hsm.labelled('card key').length]).toEqual([true, 1]);
  });
});

describe('the objects that a read-back has to use', () => {
  it('are all that differ from the generation that was last proved', async () => {
    fill();
    const first = await group.captured(a);
    const memory = new ReplicaMemory();
    expect((await group.apply(b, first, { memory })).unproven).toHaveLength(7);
    const secret = a.hsm.labelled('secret')[0]!;
    secret.attributes = { ...secret.attributes, label: Buffer.from('renamed') };
    const next = await group.captured(a);
    const renamed = next.generation.entries.find(({ attributes }) =>
      Buffer.from(attributes.label!).equals(Buffer.from('renamed')),
    )!;
    const options = { memory, previous: [first], proved: first };
    expect((await group.apply(b, next, options)).unproven).toEqual([renamed.objectId]);
    // Repeated before it was read back: there is nothing to make, and as much to use.
    await group.verify(b, next, { memory });
    expect(await group.apply(b, next, options)).toMatchObject({ applied: [], unproven: [renamed.objectId] });
  });

  it('include those that an interrupted apply had begun', async () => {
    a.hsm.addSecret('secret');
    const target = await group.captured(a);
    const journal = new MemoryJournal();
    const failure = new AntipodeError('HSM_WORKER_LOST', 'the worker ended');
    const prove = b.provider.prove.bind(b.provider);
    b.provider.prove = async () => {
      await b.provider.close();
      throw failure;
    };
    expect(await rejection(group.apply(b, target, { journal }))).toBe(failure);
    await b.reopen();
    b.provider.prove = prove;
    const again = await group.apply(b, target, { journal, proved: target });
    expect([again.applied, again.unproven]).toEqual([[], [target.generation.entries[0]!.objectId]]);
  });
});

describe('a new domain key version', () => {
  it('makes no object again: the partition is read again under it', async () => {
    fill();
    a.hsm.addSecret('for ever', { destroyable: false });
    const memory = new ReplicaMemory();
    const first = await group.captured(a);
    await group.apply(b, first, { memory });
    await group.verify(b, first, { memory });
    const objects = [...b.hsm.objects];
    await group.rotate([a, b], 2);
    const next = await group.captured(a);
    const options = { memory, previous: [first], proved: first };
    const { applied, unproven } = await group.apply(b, next, options);
    expect([applied, unproven.length > 0]).toEqual([[], true]);
    expect(b.hsm.objects.filter((object) => !objects.includes(object))).toHaveLength(1);
    expect((await group.verify(b, next, { memory })).contentDigest).toBe(next.contentDigest);
  });
});

describe('an object that must not be destroyed', () => {
  it('is replaced once, stays and is counted', async () => {
    const secret = a.hsm.addSecret('before', { destroyable: false });
    const first = await group.captured(a);
    await group.apply(b, first);
    secret.attributes = { ...secret.attributes, label: Buffer.from('after') };
    const next = await group.captured(a);
    for (const applied of [1, 0]) {
      await b.reopen();
      const result = await group.apply(b, next, { previous: [first] });
      expect([result.applied.length, result.unaccounted]).toEqual([applied, 1]);
      // The old one is there without its names.
      expect(b.hsm.objects.filter(({ attributes }) => attributes.destroyable === false)).toHaveLength(2);
      expect([b.hsm.labelled('before').length, b.hsm.labelled('after').length]).toEqual([0, 1]);
    }
  });
});

describe('reading back', () => {
  let target: SealedGeneration;

  beforeEach(async () => {
    fill();
    target = await group.captured(a);
    await group.apply(b, target);
  });

  it.each<[string, (hsm: SimulatedMember['hsm']) => void]>([
    ['is gone', (hsm) => hsm.remove(hsm.labelled('secret')[0]!)],
    ['has another attribute', (hsm) => Object.assign(hsm.labelled('secret')[0]!.attributes, { decrypt: false })],
    ['has another value', (hsm) => Object.assign(hsm.labelled('data')[0]!, { value: Buffer.from('other') })],
  ])('finds out when an object %s', async (_what, change) => {
    const memory = new ReplicaMemory();
    expect((await group.verify(b, target, { memory })).contentDigest).toBe(target.contentDigest);
    change(b.hsm);
    for (const known of [memory, new ReplicaMemory()])
      expect((await group.verify(b, target, { memory: known })).contentDigest).not.toBe(target.contentDigest);
  });

  it('reports the objects that are gone or do not work', async () => {
    const [gone, broken, odd] = ['hmac', 'secret', 'odd'].map((label) => b.hsm.labelled(label)[0]!);
    const memory = new ReplicaMemory();
    await group.verify(b, target, { memory });
    b.hsm.remove(gone!);
    broken!.value = new Uint8Array(32);
    odd!.value = Buffer.concat([odd!.value!, Buffer.alloc(3)]);
    const { proof } = await group.verify(b, target, { memory });
    const ids = target.generation.entries
      .filter(({ objectClass }) => objectClass === 'secret-key')
      .map(({ objectId }) => objectId);
    expect(proof).toMatchObject({ proved: 4, failed: 3 });
    expect([...proof.failedObjectIds].sort()).toEqual(ids.sort());
  });

  it('uses only the requested objects, but its digest covers all of them', async () => {
    const memory = new ReplicaMemory();
    await group.verify(b, target, { memory });
    const [asked] = target.generation.entries;
    const { contentDigest, proof } = await group.verify(b, target, { memory, objectIds: [asked!.objectId] });
    expect([proof.proved, contentDigest]).toEqual([1, target.contentDigest]);
  });

  it('reads objects that were just made, even without a request', async () => {
    a.hsm.addSecret('new');
    const memory = new ReplicaMemory();
    await group.verify(b, target, { memory });
    const next = await group.captured(a);
    await group.apply(b, next, { memory });
    const { contentDigest, proof } = await group.verify(b, next, { memory, objectIds: [] });
    expect([proof.proved, contentDigest]).toEqual([1, next.contentDigest]);
  });

  it('uses no restored object twice, except on request for everything', async () => {
    a.hsm.addSecret('derives', { derive: true });
    const next = await group.captured(a);
    const memory = new ReplicaMemory();
    await group.verify(b, target, { memory });
    const { unproven } = await group.apply(b, next, { memory, proved: target });
    const asked = { memory, objectIds: unproven };
    const { prove } = b.provider;
    const used: number[] = [];
    b.provider.prove = (key, items) => {
      used.push(items.length);
      return prove.call(b.provider, key, items);
    };
    const once = await group.verify(b, next, asked);
    expect([once.contentDigest, once.proof.proved, once.proof.usesNotExercised]).toEqual([next.contentDigest, 1, 1]);
    // It counts for one reading: whoever asks again wants to know how things are now.
    await group.verify(b, next, asked);
    a.hsm.addSecret('newer');
    const newest = await group.captured(a);
    await group.apply(b, newest, { memory, proved: next });
    await group.verify(b, newest, { memory });
    expect(used).toEqual([0, 1, 1, newest.generation.entries.length]);
  });

  it.each<[string, (memory: ReplicaMemory, next: SealedGeneration) => [ReplicaMemory, SealedGeneration]]>([
    ['another provider than the one that reads', (_memory, next) => [new ReplicaMemory(), next]],
    [
      'another entry than the one that is read',
      (memory, next) => [
        memory,
        withEntry(next, 'new', (entry) => ({ ...entry, attributes: { ...entry.attributes, decrypt: false } })),
      ],
    ],
  ])('uses again what was used for %s', async (_what, asked) => {
    a.hsm.addSecret('new');
    const made = await group.captured(a);
    const applied = new ReplicaMemory();
    const { unproven } = await group.apply(b, made, { memory: applied, proved: target });
    const [memory, wanted] = asked(applied, made);
    let used = 0;
    const prove = b.provider.prove.bind(b.provider);
    b.provider.prove = (key, items) => {
      used += items.length;
      return prove(key, items);
    };
    await group.verify(b, wanted, { memory, objectIds: unproven });
    expect(used).toBe(1);
  });

  it('reads objects that it does not use again, and finds their changes', async () => {
    const secret = a.hsm.addSecret('new');
    const next = await group.captured(a);
    for (const change of [
      () => Object.assign(b.hsm.labelled('new')[0]!, { value: new Uint8Array(32) }),
      () => Object.assign(b.hsm.labelled('new')[0]!.attributes, { decrypt: false }),
      () => b.hsm.remove(b.hsm.labelled('new')[0]!),
    ]) {
      const memory = new ReplicaMemory();
      const { unproven } = await group.apply(b, next, { memory, proved: target });
      change();
      const { contentDigest } = await group.verify(b, next, { memory, objectIds: unproven });
      expect(contentDigest).not.toBe(next.contentDigest);
      for (const left of b.hsm.labelled('new')) b.hsm.remove(left);
    }
    expect(secret.attributes.decrypt).toBe(true);
  });

  it('counts the uses that no mechanism could exercise', async () => {
    a.hsm.addSecret('derives', { derive: true });
    const next = await group.captured(a);
    await group.apply(b, next);
    expect((await group.verify(b, next)).proof.usesNotExercised).toBe(1);
  });
});

describe('a promoted standby', () => {
  it('carries forward what it cannot read back', async () => {
    fill();
    const first = await group.captured(a);
    await group.apply(b, first);
    expect(b.hsm.labelled('hmac')[0]!.sizeBits).toBe(0);
    const { generation, contentDigest } = await group.captured(b, { epoch: 2n });
    expect([generation.entries.length, contentDigest]).toEqual([first.generation.entries.length, first.contentDigest]);
    expect((await group.capture(b, { epoch: 2n })).sealed).toBeUndefined();
    b.hsm.addSecret('made at b');
    const { entries } = (await group.captured(b, { epoch: 2n })).generation;
    for (const entry of first.generation.entries)
      expect(entries.find(({ objectId }) => objectId === entry.objectId)).toEqual(entry);
  });

  it('carries forward from an entry that changes', async () => {
    a.hsm.addSecret('hmac', { keyType: 'generic-secret', sensitive: false, sign: true });
    const first = await group.captured(a);
    await group.apply(b, first);
    b.hsm.labelled('hmac')[0]!.attributes.label = Buffer.from('renamed');
    const [before, after] = [first, await group.captured(b, { epoch: 2n })].map(
      ({ generation }) => generation.entries[0]!,
    );
    expect(after).toEqual({
      ...before,
      attributes: { ...before!.attributes, label: Uint8Array.from(Buffer.from('renamed')) },
    });
  });

  it('keeps a key that was deleted under an earlier epoch out of its captures', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('kept');
    await group.apply(b, await group.captured(a));
    a.hsm.remove(secret);
    const second = await group.captured(a);
    b.hsm.addSecret('made at b');
    const third = await group.captured(b, { epoch: 2n });
    expect(third.generation.entries).toHaveLength(2);
    expect(third.generation.tombstones).toEqual(second.generation.tombstones);
    expect(b.hsm.labelled('secret')).toHaveLength(1);
  });

  it('keeps it out after changes of the domain key too', async () => {
    const deleted = [a.hsm.addSecret('secret'), a.hsm.addData('data', Buffer.from('value'))];
    a.hsm.addSecret('kept');
    await group.apply(b, await group.captured(a));
    for (const object of deleted) a.hsm.remove(object);
    await group.captured(a);
    for (const version of [2, 3]) {
      await group.rotate([a, b], version);
      await group.captured(a);
    }
    const { generation } = await group.captured(b, { epoch: 2n });
    expect(generation.entries.map(({ attributes }) => Buffer.from(attributes.label!).toString())).toEqual(['kept']);
    expect(generation.uncaptured.map(({ reason }) => reason)).toEqual(['deleted', 'deleted']);
    expect(generation.tombstones).toHaveLength(2);
    expect((await group.capture(b, { epoch: 2n })).sealed).toBeUndefined();
  });
});
