/** Keys that no token wraps: captured, cloned, recognised, proved, deleted and drilled in simulated partitions. */
import { hex, sha256, sha256Hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CaptureOptions } from '../capture/capture-context.ts';
import { CaptureMemory } from '../capture/capture-memory.ts';
import type { Entry, Generation, SealedGeneration } from '../model/generation.ts';
import { isNative } from '../model/generation.ts';
import { encodeManifest } from '../model/manifest/manifest-writer.ts';
import { sealedGeneration, signingInput } from '../model/manifest/signed-manifest.ts';
import { becomesOf } from '../model/not-carried.ts';
import { nativeAadOf } from '../objects/recognise.ts';
import { NO_FILTER } from '../testing/member-group.ts';
import { crashAt, MemoryJournal } from '../testing/memory-journal.ts';
import { simulatedBlobOf } from '../testing/simulated-cloner.ts';
import { SimulatedGroup } from '../testing/simulated-group.ts';
import type { StoredObject } from '../testing/simulated-hsm.ts';
import type { SimulatedMember } from '../testing/simulated-member.ts';
import { mergeObjects } from './merge.ts';
import { rehearse } from './rehearsal.ts';
import { ReplicaMemory } from './replica.ts';
import { scrub } from './scrub.ts';
import { setAside } from './set-aside.ts';
import { sealUnexplained } from './unexplained.ts';

const CLONING_KEY = sha256(Buffer.from('one cloning domain'));
const UNEXTRACTABLE = { extractable: false, neverExtractable: true };

let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b');
  group = made.group;
  [a, b] = made.members as [SimulatedMember, SimulatedMember];
  for (const { hsm } of [a, b]) hsm.cloningKey = CLONING_KEY;
  a.hsm.addSecret('wrapped');
  a.hsm.addSecret('secret', UNEXTRACTABLE);
  a.hsm.addEcPair('pair', UNEXTRACTABLE);
  a.hsm.addData('data', Buffer.from('value'));
});

const capture = (member = a, options: Partial<CaptureOptions> = {}) =>
  group.capture(member, { movement: 'native', ...options });

async function captured(member = a, options: Partial<CaptureOptions> = {}): Promise<SealedGeneration> {
  const { sealed, held } = await capture(member, options);
  if (sealed === undefined) throw new Error(`nothing new, ${held?.losses.length ?? 0} losses`);
  return sealed;
}

const labelOf = ({ attributes }: Pick<Entry, 'attributes'>): string => Buffer.from(attributes.label ?? []).toString();
const natives = ({ generation }: SealedGeneration): Entry[] => generation.entries.filter(isNative);
const nativeLabels = (sealed: SealedGeneration): string[] => natives(sealed).map(labelOf).sort();
const reasonsOf = ({ generation }: SealedGeneration): string[] => generation.uncaptured.map(({ reason }) => reason);
const entryOf = (sealed: SealedGeneration, label: string): Entry =>
  sealed.generation.entries.find((entry) => labelOf(entry) === label && entry.objectClass !== 'public-key')!;

describe('a capture', () => {
  it('takes natively what cannot be wrapped, if the group says so', async () => {
    expect(reasonsOf(await group.captured(a)).sort()).toEqual(['unextractable', 'unextractable']);
    const sealed = await captured();
    expect(nativeLabels(sealed)).toEqual(['pair', 'secret']);
    expect(reasonsOf(sealed)).toEqual([]);
    expect(entryOf(sealed, 'secret').vectors).toHaveLength(1);
    expect(entryOf(sealed, 'pair').vectors).toBeUndefined();
    expect(a.provider.sessionObjectCount).toBe(0);
  });

  it('shows neither names nor values in a blob', async () => {
    const sealed = await captured();
    for (const { blobSha256 } of natives(sealed)) {
      const blob = Buffer.from(group.blobs.get(blobSha256!)!);
      for (const { attributes, value } of a.hsm.objects)
        for (const bytes of [attributes.label, value])
          if (bytes?.length) expect(blob.includes(Buffer.from(bytes))).toBe(false);
    }
  });

  it('reports what it cannot show, or what its partition does not clone', async () => {
    const useless = { ...UNEXTRACTABLE, encrypt: false, decrypt: false };
    a.hsm.addSecret('without any use', useless);
    const sealed = await captured();
    expect([nativeLabels(sealed), reasonsOf(sealed)]).toEqual([['pair', 'secret'], ['unextractable']]);
    b.hsm.addSecret('of b', UNEXTRACTABLE);
    b.hsm.cloningKey = undefined;
    group.newest = undefined;
    expect(reasonsOf(await captured(b))).toEqual(['unextractable']);
  });

  it('keeps entry and blob of an unchanged key, with and without its memory', async () => {
    const sealed = await captured();
    expect((await capture()).sealed).toBeUndefined();
    const memory = new CaptureMemory();
    expect((await capture(a, { memory })).sealed).toBeUndefined();
    expect((await capture(a, { memory })).sealed).toBeUndefined();
    await a.reopen();
    expect((await capture()).sealed).toBeUndefined();
    expect(group.newest).toBe(sealed);
  });

  it('clones a key again whose attributes have changed, under its id', async () => {
    const before = entryOf(await captured(), 'secret');
    Object.assign(a.hsm.labelled('secret')[0]!.attributes, { label: Buffer.from('renamed') });
    const sealed = await captured();
    const after = entryOf(sealed, 'renamed');
    expect([after.objectId, after.vectors]).toEqual([before.objectId, before.vectors]);
    expect(after.blobSha256).not.toBe(before.blobSha256);
    await group.apply(b, sealed);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
  });

  it('tells another key under the same names from the captured one', async () => {
    const before = await captured();
    const former = a.hsm.labelled('secret')[0]!;
    a.hsm.remove(former);
    a.hsm.addSecret('secret', UNEXTRACTABLE);
    const sealed = await captured(a, { previous: before, memory: new CaptureMemory() });
    expect(sealed.generation.tombstones.map(({ entry }) => entry.objectId)).toEqual([
      entryOf(before, 'secret').objectId,
    ]);
    expect(entryOf(sealed, 'secret').objectId).not.toBe(entryOf(before, 'secret').objectId);
  });

  it('leaves a new key out that does not show its value twice alike', async () => {
    const makeVectors = a.provider.makeVectors.bind(a.provider);
    a.provider.makeVectors = async (domainKey, handles) =>
      (await makeVectors(domainKey, handles)).map((vectors) =>
        vectors.map((vector) => ({ ...vector, result: vector.result.map((byte) => byte ^ 1) })),
      );
    const sealed = await captured();
    expect([nativeLabels(sealed), reasonsOf(sealed)]).toEqual([['pair'], ['does-not-work']]);
  });

  it('keeps what it has captured when the group is sealed again, and says that it is not up to date', async () => {
    const before = await captured();
    Object.assign(a.hsm.labelled('secret')[0]!.attributes, { label: Buffer.from('renamed') });
    const sealed = await captured(a, { movement: 'sealed' });
    expect(natives(sealed)).toEqual(natives(before));
    expect(reasonsOf(sealed)).toEqual(['unextractable', 'unextractable']);
  });

  it('clones everything again under another domain key', async () => {
    const before = await captured();
    await group.apply(b, before);
    await group.rotate([a, b], 2);
    const sealed = await captured();
    expect(natives(sealed).map(({ objectId }) => objectId)).toEqual(natives(before).map(({ objectId }) => objectId));
    expect(entryOf(sealed, 'secret').vectors).not.toEqual(entryOf(before, 'secret').vectors);
    const { applied } = await group.apply(b, sealed, { previous: [before] });
    expect(applied).toEqual([]);
    const { contentDigest, proof } = await group.verify(b, sealed, { previous: [before] });
    expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
  });

  it('asks an operator before keys leave that are not cloned any more', async () => {
    await captured();
    await group.rotate([a, b], 2);
    const { held } = await capture(a, { movement: 'sealed' });
    expect(held?.losses.map(({ reason }) => reason)).toEqual(['unextractable', 'unextractable']);
  });
});

describe('a standby', () => {
  it('gets the keys as they are, with their history, and proves them', async () => {
    const sealed = await captured();
    const { applied, refused } = await group.apply(b, sealed);
    expect([applied.length, refused]).toEqual([sealed.generation.entries.length, []]);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    for (const label of ['secret', 'pair']) {
      const key = b.hsm.labelled(label).find(({ objectClass }) => objectClass !== 'public-key');
      expect(key?.attributes).toMatchObject({ ...UNEXTRACTABLE, local: true, alwaysSensitive: true });
    }
    const { contentDigest, proof } = await group.verify(b, sealed);
    expect(contentDigest).toBe(sealed.contentDigest);
    expect(proof).toMatchObject({ proved: 5, failed: 0, notExercised: [] });
    expect(b.provider.sessionObjectCount).toBe(0);
    expect((await group.apply(b, sealed, { previous: [sealed] })).applied).toEqual([]);
  });

  it('goes on as the active member with the same entries and blobs', async () => {
    const before = await captured();
    await group.apply(b, before);
    const sealed = await captured(b, { epoch: 2n, hasRestored: true });
    expect(natives(sealed).map((entry) => ({ ...entry }))).toEqual(natives(before).map((entry) => ({ ...entry })));
    expect(sealed.generation.tombstones).toEqual([]);
  });

  it('gets everything else where it clones nothing, or is in another cloning domain', async () => {
    const sealed = await captured();
    for (const [key, code] of [
      [undefined, 'NATIVE_UNAVAILABLE'],
      [sha256(Buffer.from('another')), 'CLONING_DOMAIN_OTHER'],
    ] as const) {
      b.hsm.cloningKey = key;
      const { refused } = await group.apply(b, sealed);
      expect(refused.map((one) => one.code)).toEqual([code, code]);
      const left = new Set(refused.map(({ objectId }) => objectId));
      const { contentDigest, proof } = await group.verify(b, sealed, { refused: left });
      expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
    }
    b.hsm.cloningKey = CLONING_KEY;
    expect((await group.apply(b, sealed, { previous: [sealed] })).refused).toEqual([]);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
  });

  it('buries a deleted key, which can come back from its blob', async () => {
    const first = await captured();
    await group.apply(b, first);
    const deleted = a.hsm.labelled('secret')[0]!;
    a.hsm.remove(deleted);
    const second = await captured();
    expect(second.generation.tombstones).toMatchObject([{ entry: { objectId: entryOf(first, 'secret').objectId } }]);
    await group.apply(b, second, { previous: [first] });
    const { buried } = await group.bury(b, second, { previous: [first] });
    expect(buried).toEqual([entryOf(first, 'secret').objectId]);
    expect(b.hsm.labelled('secret')).toEqual([]);
    const [tombstone] = second.generation.tombstones;
    const entries = [tombstone!.entry];
    const generation = { ...second.generation, entries, tombstones: [], dataKeys: [tombstone!.dataKey!] };
    const again = await group.apply(b, { ...second, generation }, { previous: [second] });
    expect([again.applied.length, again.refused]).toEqual([1, []]);
    expect(b.hsm.labelled('secret')).toHaveLength(1);
  });

  it('is scrubbed: a clone with another value or another history is damage', async () => {
    const target = await captured();
    await group.apply(b, target);
    const report = () => scrub({ ...b, target, known: new Map() });
    expect(await report()).toMatchObject({ proof: { proved: 5, failed: 0 }, missing: [], altered: [] });
    const key = b.hsm.labelled('secret')[0]!;
    key.attributes.neverExtractable = false;
    expect((await report()).proof.failedObjectIds).toEqual([entryOf(target, 'secret').objectId]);
    key.attributes.neverExtractable = true;
    key.value = key.value!.map((byte) => byte ^ 1);
    const damaged = await report();
    expect([...damaged.missing, ...damaged.proof.failedObjectIds]).toEqual([entryOf(target, 'secret').objectId]);
  });

  it('ends the same after a crash at any step of an apply', async () => {
    const target = await captured();
    const wanted = a.hsm.contents();
    for (let step = 0; ; step += 1) {
      const made = await SimulatedGroup.make('c');
      expect(made.members).toHaveLength(1);
      b.hsm.objects.splice(
        0,
        b.hsm.objects.length,
        ...b.hsm.objects.filter((one) => labelOf(one).startsWith('antipode ')),
      );
      const crash = crashAt(step, new Error('crash'));
      const journal = new MemoryJournal(() => crash);
      await b.reopen(crash);
      const isDone = await group.apply(b, target, { journal }).then(
        () => true,
        () => false,
      );
      const again = new MemoryJournal();
      again.begin(journal.openIntents());
      await b.reopen();
      const memory = new ReplicaMemory();
      const { unaccounted } = await group.apply(b, target, { journal: again, memory });
      expect([step, unaccounted, b.hsm.contents()]).toEqual([step, 0, wanted]);
      if (isDone) break;
    }
  });
});

it('every replica of a native key shows what its source shows', async () => {
  const sealed = await captured();
  const { carried, narrowed, set } = becomesOf(entryOf(sealed, 'secret'));
  expect([carried, narrowed, set.includes('neverExtractable')]).toEqual([[], [], true]);
  expect(becomesOf(entryOf(sealed, 'wrapped')).carried).toContain('local');
});

describe('a drill', () => {
  it('proves each key without its source, and leaves nothing', async () => {
    const target = await captured();
    a.hsm.objects.splice(0);
    const rehearsal = await rehearse({ ...b, target, blobOf: (digest) => group.blobs.get(digest)! });
    expect(rehearsal).toMatchObject({ proof: { proved: 5, failed: 0 }, isEqual: true, isClean: true });
    expect(b.hsm.contents()).toEqual([]);
  });

  it('leaves a clone out that its scratch partition would keep, and names it', async () => {
    a.hsm.addSecret('for ever', { ...UNEXTRACTABLE, destroyable: false });
    const target = await captured();
    const rehearsal = await rehearse({ ...b, target, blobOf: (digest) => group.blobs.get(digest)! });
    expect(rehearsal).toMatchObject({ proof: { proved: 5, failed: 0 }, isEqual: true, isClean: true });
    expect(rehearsal.proof.notExercised).toMatchObject([
      { objectId: entryOf(target, 'for ever').objectId, uses: ['restore'] },
    ]);
    expect(b.hsm.contents()).toEqual([]);
  });
});

describe('keys beside a generation', () => {
  const replicaOf = (
    member: SimulatedMember,
    target: SealedGeneration,
    previous: readonly SealedGeneration[] = [],
  ) => ({
    provider: member.provider,
    keyring: member.keyring,
    clock: member.clock,
    prng: member.prng,
    memory: new ReplicaMemory(),
    target,
    previous,
    journal: new MemoryJournal(),
    checkFence: () => {},
  });

  async function offered(target: SealedGeneration): Promise<SealedGeneration> {
    const found = await sealUnexplained({ ...replicaOf(b, target), known: new Set(), movement: 'native' });
    for (const [digest, blob] of found.blobs) group.blobs.set(digest, blob);
    return found.generation!;
  }

  const merge = (offer: SealedGeneration, newest: SealedGeneration) => {
    const { target: _target, memory: _memory, previous: _previous, ...ports } = replicaOf(a, newest);
    return mergeObjects({
      ...ports,
      newest,
      offers: [offer],
      wanted: new Set(offer.generation.entries.map(({ objectId }) => objectId)),
      filter: NO_FILTER,
      blobOf: (digest) => group.blobs.get(digest)!,
      adopt: () => {},
    });
  };

  it('are offered and merged, and captured under the id of the offer', async () => {
    const newest = await captured();
    b.hsm.addSecret('made at b', UNEXTRACTABLE);
    const offer = await offered(newest);
    expect(nativeLabels(offer)).toEqual(['made at b']);
    expect((await merge(offer, newest)).map(({ verdict }) => verdict)).toEqual(['merged']);
    const adopted = offer.generation.entries;
    const sealed = await captured(a, { adopted, memory: new CaptureMemory() });
    expect(entryOf(sealed, 'made at b').objectId).toBe(adopted[0]!.objectId);
    expect(a.hsm.labelled('made at b')).toMatchObject([{ attributes: { neverExtractable: true } }]);
  });

  it('are refused by an active member of another cloning domain, and nothing is made', async () => {
    const newest = await captured();
    b.hsm.addSecret('made at b', UNEXTRACTABLE);
    const offer = await offered(newest);
    a.hsm.cloningKey = sha256(Buffer.from('another'));
    expect(await merge(offer, newest)).toMatchObject([{ verdict: 'refused', code: 'CLONING_DOMAIN_OTHER' }]);
    expect(a.hsm.labelled('made at b')).toEqual([]);
  });

  it('do not come back by an offer if the group has deleted them under an earlier domain key', async () => {
    await captured();
    const deleted = a.hsm.labelled('secret')[0]!;
    a.hsm.remove(deleted);
    await captured();
    await group.rotate([a, b], 2);
    const newest = await captured();
    b.hsm.objects.push({ ...deleted, attributes: { ...deleted.attributes, label: Buffer.from('again') } });
    // A liar tells of no deletion.
    const offer = await offered({ ...newest, generation: { ...newest.generation, tombstones: [] } });
    expect((await merge(offer, newest)).map(({ verdict }) => verdict)).toEqual(['deleted']);
    expect(a.hsm.labelled('again')).toEqual([]);
  });

  it('make way for the key of the generation under their name, and can be restored', async () => {
    const newest = await captured();
    await group.apply(b, newest);
    const mine = b.hsm.addSecret('secret', UNEXTRACTABLE);
    let aside: SealedGeneration | undefined;
    const store = async (sealed: SealedGeneration, blobs: ReadonlyMap<string, Uint8Array>): Promise<void> => {
      aside = sealed;
      for (const [digest, blob] of blobs) group.blobs.set(digest, blob);
    };
    const options = { ...replicaOf(b, newest, [newest]), wasActive: true, store };
    expect(await setAside(options)).toMatchObject({ setAside: [], left: 1 });
    const again = { ...replicaOf(b, newest, [newest]), wasActive: true, store, movement: 'native' as const };
    expect(await setAside(again)).toMatchObject({ setAside: [expect.any(String)], left: 0 });
    expect(b.hsm.labelled('secret').map(({ value }) => value)).toEqual([a.hsm.labelled('secret')[0]!.value]);
    const { applied } = await group.apply(b, aside!, { previous: [newest] });
    expect([applied.length, b.hsm.labelled('secret').some(({ value }) => hex(value!) === hex(mine.value!))]).toEqual([
      1,
      true,
    ]);
  });
});

describe('a hostile member that is pinned', () => {
  /** Signs what it likes, and seals what it likes, as the source can. */
  async function forged(
    target: SealedGeneration,
    label: string,
    { objects, cloningKey = CLONING_KEY }: { objects: readonly StoredObject[]; cloningKey?: Uint8Array },
  ): Promise<SealedGeneration> {
    const entry = entryOf(target, label);
    const domainKey = a.keyring.domainKey(group.name, 1).handle;
    const dataKey = await a.provider.generateDataKey(domainKey);
    const aad = nativeAadOf(group.name, entry.objectId);
    const blob = await a.provider.encryptFor(dataKey.handle, simulatedBlobOf(cloningKey, objects), aad);
    for (const one of [blob, dataKey.blob]) group.blobs.set(sha256Hex(one), one);
    const id = hex(a.prng.bytes(16));
    const dataKeys = [
      ...target.generation.dataKeys,
      { id, blobSha256: sha256Hex(dataKey.blob), blobSize: dataKey.blob.length },
    ];
    const changed = { ...entry, dataKeyId: id, blobSha256: sha256Hex(blob), blobSize: blob.length };
    const entries = target.generation.entries.map((one) => (one === entry ? changed : one));
    return signed({ ...target.generation, dataKeys, entries });
  }

  async function signed(generation: Generation): Promise<SealedGeneration> {
    const manifest = encodeManifest(generation);
    const { handle, publicHalf: signer } = a.keyring.identity;
    const signature = await a.provider.signAsIdentity(handle, signingInput(manifest));
    return sealedGeneration({ generation, manifest, signature, signer });
  }

  const source = (label: string): StoredObject =>
    a.hsm.labelled(label).find(({ objectClass }) => objectClass !== 'public-key')!;
  const changed = (label: string, attributes: StoredObject['attributes']): StoredObject => ({
    ...source(label),
    attributes: { ...source(label).attributes, ...attributes },
  });

  it.each<[string, string, () => { objects: readonly StoredObject[]; cloningKey?: Uint8Array }]>([
    ['a key that can be extracted', 'NATIVE_MISMATCH', () => ({ objects: [changed('secret', { extractable: true })] })],
    ['a key that may wrap', 'NATIVE_MISMATCH', () => ({ objects: [changed('secret', { wrap: true })] })],
    ['another label', 'NATIVE_MISMATCH', () => ({ objects: [changed('secret', { label: Buffer.from('other') })] })],
    ['another CKA_ID', 'NATIVE_MISMATCH', () => ({ objects: [changed('secret', { id: Buffer.from('other') })] })],
    ['another history', 'NATIVE_MISMATCH', () => ({ objects: [changed('secret', { local: false })] })],
    ['another type of key', 'NATIVE_MISMATCH', () => ({ objects: [source('pair')] })],
    ['another value', 'OBJECT_UNPROVEN', () => ({ objects: [{ ...source('secret'), value: a.prng.bytes(32) }] })],
    ['two objects', 'BLOB_INVALID', () => ({ objects: [source('secret'), source('pair')] })],
    ['no object', 'BLOB_INVALID', () => ({ objects: [] })],
    [
      'a blob of another cloning domain',
      'CLONING_DOMAIN_OTHER',
      () => ({ objects: [source('secret')], cloningKey: sha256(Buffer.from('another')) }),
    ],
  ])('leaves nothing behind with %s', async (_what, code, inner) => {
    const target = await forged(await captured(), 'secret', inner());
    const { refused } = await group.apply(b, target);
    expect(refused).toMatchObject([{ objectId: entryOf(target, 'secret').objectId, code }]);
    expect(b.hsm.labelled('secret')).toEqual([]);
    expect(b.hsm.contents()).toHaveLength(a.hsm.contents().length - 1);
  });

  it('leaves nothing behind with the private key of another pair', async () => {
    a.hsm.addEcPair('impostor', UNEXTRACTABLE);
    const sealed = await captured();
    const { attributes } = source('pair');
    const target = await forged(sealed, 'pair', { objects: [{ ...source('impostor'), attributes }] });
    const { refused } = await group.apply(b, target);
    expect(refused.map(({ code }) => code)).toEqual(['NATIVE_MISMATCH']);
    expect(b.hsm.labelled('pair').map(({ objectClass }) => objectClass)).toEqual(['public-key']);
  });

  it('cannot exchange the blobs of two keys', async () => {
    a.hsm.addSecret('other', UNEXTRACTABLE);
    const sealed = await captured();
    const [one, other] = [entryOf(sealed, 'secret'), entryOf(sealed, 'other')];
    const blobOf = ({ blobSha256, blobSize }: Entry) => ({ blobSha256: blobSha256!, blobSize });
    const entries = sealed.generation.entries.map((entry) =>
      entry === one ? { ...one, ...blobOf(other) } : entry === other ? { ...other, ...blobOf(one) } : entry,
    );
    const { refused } = await group.apply(b, await signed({ ...sealed.generation, entries }));
    expect(refused.map(({ code }) => code)).toEqual(['BLOB_INVALID', 'BLOB_INVALID']);
    for (const label of ['secret', 'other']) expect(b.hsm.labelled(label)).toEqual([]);
  });

  it('cannot bring an older blob: the manifest names the digest of each', async () => {
    const first = await captured();
    const older = group.blobs.get(entryOf(first, 'secret').blobSha256!)!;
    Object.assign(a.hsm.labelled('secret')[0]!.attributes, { decrypt: false });
    const target = await captured();
    const newer = entryOf(target, 'secret').blobSha256!;
    const blobOf = (digest: string): Uint8Array => (digest === newer ? older : group.blobs.get(digest)!);
    expect(await rejection(group.apply(b, target, { blobOf }))).toMatchObject({ code: 'BLOB_INVALID' });
    expect(b.hsm.contents()).toEqual([]);
    // A source that signs the older blob for the newer object gets no further.
    const { blobSize, dataKeyId } = entryOf(first, 'secret');
    const entries = target.generation.entries.map((entry) =>
      entry.blobSha256 === newer ? { ...entry, blobSha256: sha256Hex(older), blobSize, dataKeyId: dataKeyId! } : entry,
    );
    const dataKeys = [...target.generation.dataKeys, ...first.generation.dataKeys].filter(
      ({ id }, index, all) => all.findIndex((one) => one.id === id) === index,
    );
    const { refused } = await group.apply(b, await signed({ ...target.generation, entries, dataKeys }));
    expect(refused.map(({ code }) => code)).toEqual(['NATIVE_MISMATCH']);
    expect(b.hsm.labelled('secret')).toEqual([]);
  });
});
