/** Keys with two forms: the clone where the device makes one, and the sealed form everywhere else (ADR 0055). */
import { sha256, sha256Hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CaptureOptions } from '../capture/capture-context.ts';
import { CaptureMemory } from '../capture/capture-memory.ts';
import { blobDigests } from '../model/blobs.ts';
import {
  type CloneForm,
  type Entry,
  type Generation,
  hasClone,
  isNative,
  type SealedGeneration,
} from '../model/generation.ts';
import { encodeManifest } from '../model/manifest/manifest-writer.ts';
import { openSigned, sealedGeneration, signingInput } from '../model/manifest/signed-manifest.ts';
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
import { sealUnexplained } from './unexplained.ts';

const CLONING_KEY = sha256(Buffer.from('one cloning domain'));
const OTHER_KEY = sha256(Buffer.from('another cloning domain'));
const UNEXTRACTABLE = { extractable: false, neverExtractable: true };
const CLONED = { local: true, alwaysSensitive: true };
const REBUILT = { local: false, alwaysSensitive: false };

let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;
/** In no cloning domain. */
let c: SimulatedMember;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b', 'c');
  group = made.group;
  [a, b, c] = made.members as [SimulatedMember, SimulatedMember, SimulatedMember];
  for (const { hsm } of [a, b]) hsm.cloningKey = CLONING_KEY;
  a.hsm.addSecret('wrapped');
  a.hsm.addEcPair('pair');
  a.hsm.addSecret('exact', { keyType: 'generic-secret', bytes: 13, encrypt: false, decrypt: false, sign: true });
  a.hsm.addSecret('kept', UNEXTRACTABLE);
  a.hsm.addData('data', Buffer.from('value'));
});

const capture = (member = a, options: Partial<CaptureOptions> = {}) =>
  group.capture(member, { movement: 'prefer-native', ...options });

async function captured(member = a, options: Partial<CaptureOptions> = {}): Promise<SealedGeneration> {
  const { sealed, held } = await capture(member, options);
  if (sealed === undefined) throw new Error(`nothing new, ${held?.losses.length ?? 0} losses`);
  return sealed;
}

const labelOf = ({ attributes }: Pick<Entry, 'attributes'>): string => Buffer.from(attributes.label ?? []).toString();
const bothForms = ({ generation }: SealedGeneration): string[] =>
  generation.entries.filter(hasClone).map(labelOf).sort();
const entryOf = (sealed: SealedGeneration, label: string): Entry =>
  sealed.generation.entries.find((entry) => labelOf(entry) === label && entry.objectClass !== 'public-key')!;
const keyAt = (member: SimulatedMember, label: string): StoredObject | undefined =>
  member.hsm.labelled(label).find(({ objectClass }) => objectClass !== 'public-key');
const historyAt = (member: SimulatedMember, label: string) => {
  const { local, alwaysSensitive } = keyAt(member, label)?.attributes ?? {};
  return { local, alwaysSensitive };
};
const BOTH = ['exact', 'pair', 'wrapped'];

async function signed(generation: Generation): Promise<SealedGeneration> {
  const manifest = encodeManifest(generation);
  const { handle, publicHalf: signer } = a.keyring.identity;
  const signature = await a.provider.signAsIdentity(handle, signingInput(manifest));
  return sealedGeneration({ generation, manifest, signature, signer });
}

describe('a capture', () => {
  it('gives keys that can be wrapped both forms, and all others the one that they can have', async () => {
    const sealed = await captured();
    expect(bothForms(sealed)).toEqual(BOTH);
    expect(sealed.generation.entries.filter(isNative).map(labelOf)).toEqual(['kept']);
    expect(sealed.generation.uncaptured).toEqual([]);
    expect(a.provider.sessionObjectCount).toBe(0);
    const opened = openSigned(sealed.signed, { group: group.name, isPinned: () => true });
    expect(opened.contentDigest).toBe(sealed.contentDigest);
    expect(entryOf(opened, 'wrapped').clone).toEqual(entryOf(sealed, 'wrapped').clone);
  });

  it('counts both blobs and both data keys among what a member needs', async () => {
    const { generation } = await captured();
    expect([...group.blobs.keys()].sort()).toEqual(blobDigests(generation).sort());
    const ids = new Set(generation.dataKeys.map(({ id }) => id));
    for (const { clone } of generation.entries.filter(hasClone)) expect(ids.has(clone!.dataKeyId)).toBe(true);
  });

  it('has the content digest that the sealed form alone has', async () => {
    const prefers = await captured();
    const entries = prefers.generation.entries.map(({ clone: _clone, ...entry }) => entry);
    expect((await signed({ ...prefers.generation, entries })).contentDigest).toBe(prefers.contentDigest);
  });

  it('keeps an unchanged key as it is, with and without its memory', async () => {
    await captured();
    const memory = new CaptureMemory();
    for (const options of [{}, { memory }, { memory }]) expect((await capture(a, options)).sealed).toBeUndefined();
    await a.reopen();
    expect((await capture()).sealed).toBeUndefined();
  });

  it('adds the second form when the group begins to prefer it, and takes it away when it ends', async () => {
    const memory = new CaptureMemory();
    const sealedOnly = await captured(a, { movement: 'native', memory });
    expect(bothForms(sealedOnly)).toEqual([]);
    const prefers = await captured(a, { memory });
    expect(bothForms(prefers)).toEqual(BOTH);
    expect(prefers.contentDigest).toBe(sealedOnly.contentDigest);
    const again = await captured(a, { movement: 'native', memory });
    expect(again.generation.entries).toEqual(sealedOnly.generation.entries);
    expect(again.generation.dataKeys).toEqual(sealedOnly.generation.dataKeys);
  });

  it('takes the clone again of a key whose attributes have changed', async () => {
    const before = entryOf(await captured(), 'wrapped');
    Object.assign(keyAt(a, 'wrapped')!.attributes, { label: Buffer.from('renamed') });
    const sealed = await captured();
    const after = entryOf(sealed, 'renamed');
    expect([after.objectId, after.blobSha256]).toEqual([before.objectId, before.blobSha256]);
    expect(after.clone!.blobSha256).not.toBe(before.clone!.blobSha256);
    await group.apply(b, sealed);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    expect(historyAt(b, 'renamed')).toEqual(CLONED);
  });

  it('takes both forms again under a new domain key', async () => {
    const before = await captured();
    await group.rotate([a, b, c], 2);
    const sealed = await captured();
    expect(bothForms(sealed)).toEqual(BOTH);
    const former = new Set(before.generation.dataKeys.map(({ id }) => id));
    expect(sealed.generation.dataKeys.filter(({ id }) => former.has(id))).toEqual([]);
    await group.apply(b, sealed);
    expect(historyAt(b, 'wrapped')).toEqual(CLONED);
  });

  it('seals a key alone that its device does not give', async () => {
    const { takeNative } = a.provider;
    a.provider.takeNative = async (options) =>
      (await takeNative.call(a.provider, options)).map(({ handle }) => ({ handle, reason: 'not-wrappable' as const }));
    const sealed = await captured();
    expect(bothForms(sealed)).toEqual([]);
    expect(entryOf(sealed, 'wrapped').blobSha256).toBeDefined();
    expect(sealed.generation.uncaptured.map(({ reason }) => reason)).toEqual(['not-wrappable']);
  });

  it('seals alone where its partition clones nothing, or copies from device to device', async () => {
    a.hsm.cloningKey = undefined;
    expect(bothForms(await captured())).toEqual([]);
    b.hsm.sees = [a.hsm];
    b.hsm.addSecret('of b');
    group.newest = undefined;
    expect(bothForms(await captured(b))).toEqual([]);
  });

  it.each(['the clone', 'its data key'])(
    'takes the clone again if every store has lost %s, and nothing else',
    async (what) => {
      const before = await captured();
      const { clone, blobSha256 } = entryOf(before, 'wrapped');
      const dataKey = before.generation.dataKeys.find(({ id }) => id === clone!.dataKeyId)!;
      const lost = new Set([what === 'the clone' ? clone!.blobSha256 : dataKey.blobSha256]);
      const sealed = await captured(a, { lost });
      const after = entryOf(sealed, 'wrapped');
      expect([after.blobSha256, bothForms(sealed)]).toEqual([blobSha256, BOTH]);
      expect(blobDigests(sealed.generation).filter((blob) => lost.has(blob))).toEqual([]);
      await group.apply(b, sealed);
      expect(historyAt(b, 'wrapped')).toEqual(CLONED);
    },
  );

  it('names no lost clone of a deleted key, and keeps its sealed form', async () => {
    const first = await captured();
    a.hsm.remove(keyAt(a, 'wrapped')!);
    const second = await captured();
    const [{ entry, cloneDataKey }] = second.generation.tombstones as [(typeof second.generation.tombstones)[0]];
    expect([entry.objectId, cloneDataKey?.id]).toEqual([entryOf(first, 'wrapped').objectId, entry.clone!.dataKeyId]);
    const third = await captured(a, { lost: new Set([entry.clone!.blobSha256]) });
    const [tombstone] = third.generation.tombstones;
    expect([tombstone!.entry.clone, tombstone!.cloneDataKey]).toEqual([undefined, undefined]);
    expect([tombstone!.entry.blobSha256, tombstone!.domainKeyVersion]).toEqual([entry.blobSha256, 1]);
  });
});

describe('a member', () => {
  it('in the cloning domain takes the clone, and any other one the sealed form', async () => {
    const sealed = await captured();
    const atB = await group.apply(b, sealed);
    expect([atB.refused, atB.cloned.length]).toEqual([[], BOTH.length]);
    const atC = await group.apply(c, sealed);
    expect([atC.refused.map(({ code }) => code), atC.cloned]).toEqual([['NATIVE_UNAVAILABLE'], []]);
    for (const label of BOTH) {
      expect([label, historyAt(b, label)]).toEqual([label, CLONED]);
      expect([label, historyAt(c, label)]).toEqual([label, REBUILT]);
    }
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    for (const [member, refused] of [
      [b, undefined],
      [c, new Set([entryOf(sealed, 'kept').objectId])],
    ] as const) {
      const { contentDigest, proof } = await group.verify(member, sealed, refused === undefined ? {} : { refused });
      expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
      const report = await scrub({ ...member, target: sealed, known: new Map() });
      expect([report.missing.length, report.altered]).toEqual([member === c ? 1 : 0, []]);
    }
  });

  it('that holds either form is complete, and does not exchange it for the other one', async () => {
    const sealed = await captured();
    for (const [member, cloningKey, history] of [
      [b, undefined, CLONED],
      [c, CLONING_KEY, REBUILT],
    ] as const) {
      await group.apply(member, sealed);
      member.hsm.cloningKey = cloningKey;
      const former = keyAt(member, 'wrapped');
      const { applied } = await group.apply(member, sealed, { previous: [sealed] });
      expect(applied).toEqual(member === c ? [entryOf(sealed, 'kept').objectId] : []);
      expect(keyAt(member, 'wrapped')).toBe(former);
      expect(historyAt(member, 'wrapped')).toEqual(history);
    }
  });

  it('counts a clone of a readable key as it is, and a rebuilt one as narrowed', async () => {
    a.hsm.addSecret('readable', { sensitive: false, alwaysSensitive: false });
    const sealed = await captured();
    expect((await group.apply(b, sealed)).narrowed).toBe(0);
    expect(keyAt(b, 'readable')?.attributes.sensitive).toBe(false);
    expect((await group.apply(c, sealed)).narrowed).toBe(1);
    expect(keyAt(c, 'readable')?.attributes.sensitive).toBe(true);
  });

  it.each([
    ['the clone', (clone: CloneForm, _sealed: string) => clone.blobSha256],
    ['the sealed form', (_clone: CloneForm, sealed: string) => sealed],
  ])('of which the store has lost %s takes the other form', async (what, lostOf) => {
    const target = await captured();
    const { clone, blobSha256 } = entryOf(target, 'wrapped');
    const lost = lostOf(clone!, blobSha256!);
    const blobOf = (digest: string) => (digest === lost ? Buffer.from('another') : group.blobs.get(digest)!);
    expect((await group.apply(b, target, { blobOf })).refused).toEqual([]);
    expect(historyAt(b, 'wrapped')).toEqual(what === 'the clone' ? REBUILT : CLONED);
    expect(historyAt(b, 'pair')).toEqual(CLONED);
    if (what === 'the clone') await group.apply(c, target, { blobOf });
    else expect(await rejection(group.apply(c, target, { blobOf }))).toMatchObject({ code: 'BLOB_INVALID' });
  });

  it('ends the same after a crash at any step of an apply', async () => {
    const target = await captured();
    const wanted = a.hsm.contents();
    for (let step = 0; ; step += 1) {
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
      const { unaccounted } = await group.apply(b, target, { journal: again, memory: new ReplicaMemory() });
      expect([step, unaccounted, b.hsm.contents()]).toEqual([step, 0, wanted]);
      if (isDone) break;
    }
  });

  it('buries a deleted key, which comes back with its history', async () => {
    const first = await captured();
    for (const member of [b, c]) await group.apply(member, first);
    a.hsm.remove(keyAt(a, 'wrapped')!);
    const second = await captured();
    const [tombstone] = second.generation.tombstones;
    const generation = {
      ...second.generation,
      entries: [tombstone!.entry],
      tombstones: [],
      dataKeys: [tombstone!.cloneDataKey!],
    };
    for (const [member, history] of [
      [b, CLONED],
      [c, REBUILT],
    ] as const) {
      await group.apply(member, second, { previous: [first] });
      // The sealed form is enough to bury it.
      const hasBlob = (digest: string): boolean => digest !== tombstone!.entry.clone!.blobSha256;
      const { buried } = await group.bury(member, second, { previous: [first], hasBlob });
      expect([buried, keyAt(member, 'wrapped')]).toEqual([[entryOf(first, 'wrapped').objectId], undefined]);
      await group.apply(member, { ...second, generation }, { previous: [second] });
      expect(historyAt(member, 'wrapped')).toEqual(history);
    }
  });
});

describe('a standby that becomes active', () => {
  it('outside of the domain keeps the clone that the first source gave, for the day of the return', async () => {
    const first = await captured();
    await group.apply(c, first);
    const refused = new Set([entryOf(first, 'kept').objectId]);
    c.hsm.addSecret('made at c');
    const second = await captured(c, { epoch: 2n, unrestored: refused });
    expect(bothForms(second)).toEqual(BOTH);
    expect(entryOf(second, 'wrapped').clone).toEqual(entryOf(first, 'wrapped').clone);
    await group.apply(b, second);
    expect(historyAt(b, 'wrapped')).toEqual(CLONED);
  });

  it('in another domain does not replace a history by a clone of what it has rebuilt', async () => {
    const first = await captured();
    c.hsm.cloningKey = OTHER_KEY;
    await group.apply(c, first);
    c.hsm.addSecret('made at c');
    const unrestored = new Set([entryOf(first, 'kept').objectId]);
    const second = await captured(c, { epoch: 2n, unrestored });
    expect(entryOf(second, 'wrapped').clone).toEqual(entryOf(first, 'wrapped').clone);
    expect(entryOf(second, 'made at c').clone!.cloningDomain).not.toBe(entryOf(first, 'wrapped').clone!.cloningDomain);
  });

  it('gives up the clone of a key that it has rebuilt and that has changed there', async () => {
    const first = await captured();
    await group.apply(c, first);
    Object.assign(keyAt(c, 'wrapped')!.attributes, { label: Buffer.from('renamed') });
    const unrestored = new Set([entryOf(first, 'kept').objectId]);
    const second = await captured(c, { epoch: 2n, unrestored });
    expect(bothForms(second)).toEqual(['exact', 'pair']);
    expect((await group.apply(b, second)).refused).toEqual([]);
    expect(historyAt(b, 'renamed')).toEqual(REBUILT);
  });

  it('does not drop a key that it lacks when the domain key changes: an operator decides', async () => {
    const first = await captured();
    await group.apply(c, first);
    const { objectId } = entryOf(first, 'kept');
    const unrestored = new Set([objectId]);
    await group.rotate([a, b, c], 2);
    const memory = new CaptureMemory();
    const { sealed, held } = await capture(c, { epoch: 2n, unrestored, memory });
    expect([sealed?.generation.number, held?.losses]).toEqual([undefined, [{ objectId, reason: 'unreadable' }]]);
    const second = await captured(c, { epoch: 2n, unrestored, memory, accepted: unrestored });
    expect(second.generation.entries.map((entry) => entry.objectId)).not.toContain(objectId);
  });

  it('inside of the domain goes on as the first source did', async () => {
    const first = await captured();
    await group.apply(b, first);
    Object.assign(keyAt(b, 'wrapped')!.attributes, { label: Buffer.from('renamed') });
    const second = await captured(b, { epoch: 2n });
    expect(bothForms(second)).toEqual(['exact', 'pair', 'renamed']);
    a.hsm.objects.splice(
      0,
      a.hsm.objects.length,
      ...a.hsm.objects.filter((one) => labelOf(one).startsWith('antipode ')),
    );
    await group.apply(a, second);
    expect(historyAt(a, 'renamed')).toEqual(CLONED);
  });
});

describe('a drill', () => {
  const drill = (member: SimulatedMember, target: SealedGeneration, blobs = group.blobs) =>
    rehearse({ ...member, target, blobOf: (digest) => blobs.get(digest)! });

  it('in the cloning domain tries both forms, and leaves nothing', async () => {
    const target = await captured();
    a.hsm.objects.splice(0);
    const made: string[] = [];
    const noting = <Name extends 'putNative' | 'unwrap' | 'unwrapSecrets'>(name: Name): void => {
      const call = b.provider[name] as (...args: unknown[]) => unknown;
      Object.assign(b.provider, {
        [name]: (...args: unknown[]) => {
          made.push(name);
          return call.apply(b.provider, args);
        },
      });
    };
    for (const name of ['putNative', 'unwrap', 'unwrapSecrets'] as const) noting(name);
    expect(await drill(b, target)).toMatchObject({
      proof: { proved: 6, failed: 0, notExercised: [] },
      isEqual: true,
      isClean: true,
    });
    expect([...new Set(made)].sort()).toEqual(['putNative', 'unwrap', 'unwrapSecrets']);
    expect(b.hsm.contents()).toEqual([]);
  });

  it('outside of it names each clone that it has not tried', async () => {
    const target = await captured();
    const { proof } = await drill(c, { ...target, generation: withoutNatives(target.generation) });
    expect([proof.proved, proof.failed]).toEqual([5, 0]);
    expect(proof.notExercised.map(({ uses }) => uses)).toEqual([['clone'], ['clone'], ['clone']]);
  });

  it('fails for a clone that the store has lost, though the sealed form serves', async () => {
    const target = await captured();
    const { objectId, clone } = entryOf(target, 'wrapped');
    const blobs = new Map(group.blobs).set(clone!.blobSha256, Buffer.from('another'));
    const { proof } = await drill(b, target, blobs);
    expect([proof.proved, proof.failedObjectIds]).toEqual([5, [objectId]]);
    expect(b.hsm.contents()).toEqual([]);
  });

  it('fails for a sealed form that the store has lost, though the clone serves', async () => {
    const target = await captured();
    const blobs = new Map(group.blobs).set(entryOf(target, 'wrapped').blobSha256!, Buffer.from('another'));
    expect(await rejection(drill(b, target, blobs))).toMatchObject({ code: 'BLOB_INVALID' });
    expect(b.hsm.contents()).toEqual([]);
  });

  it('takes the sealed form of a key whose clone the scratch partition would keep', async () => {
    a.hsm.addSecret('for ever', { destroyable: false });
    const target = await captured();
    const { proof, isClean } = await drill(b, target);
    expect([proof.proved, proof.failed, isClean]).toEqual([7, 0, true]);
    expect(proof.notExercised).toMatchObject([{ objectId: entryOf(target, 'for ever').objectId, uses: ['clone'] }]);
    expect(b.hsm.contents()).toEqual([]);
  });
});

const withoutNatives = (generation: Generation): Generation => ({
  ...generation,
  entries: generation.entries.filter((entry) => !isNative(entry)),
});

it('keys beside a generation are offered in both forms, and merged as clones', async () => {
  const newest = await captured();
  const mine = b.hsm.addSecret('made at b');
  const ports = { keyring: b.keyring, provider: b.provider, clock: b.clock, prng: b.prng };
  const replica = { memory: new ReplicaMemory(), previous: [], journal: new MemoryJournal(), checkFence: () => {} };
  const { generation: offer, blobs } = await sealUnexplained({
    ...{ ...ports, ...replica, target: newest },
    known: new Set(),
    movement: 'prefer-native',
  });
  for (const [digest, blob] of blobs) group.blobs.set(digest, blob);
  expect(bothForms(offer!)).toEqual(['made at b']);
  const verdicts = await mergeObjects({
    ...{ keyring: a.keyring, provider: a.provider, clock: a.clock, newest, offers: [offer!] },
    ...{ journal: new MemoryJournal(), checkFence: () => {}, filter: NO_FILTER, adopt: () => {} },
    wanted: new Set(offer!.generation.entries.map(({ objectId }) => objectId)),
    blobOf: (digest) => group.blobs.get(digest)!,
  });
  expect(verdicts.map(({ verdict }) => verdict)).toEqual(['merged']);
  expect([keyAt(a, 'made at b')?.value, historyAt(a, 'made at b')]).toEqual([mine.value, CLONED]);
});

describe('a hostile member that is pinned', () => {
  /** Signs and seals what it likes as the second form of a key. */
  async function forged(
    target: SealedGeneration,
    label: string,
    { objects, cloningKey = CLONING_KEY }: { objects: readonly StoredObject[]; cloningKey?: Uint8Array },
  ): Promise<SealedGeneration> {
    const entry = entryOf(target, label);
    const dataKey = await a.provider.generateDataKey(a.keyring.domainKey(group.name, 1).handle);
    const aad = nativeAadOf(group.name, entry.objectId);
    const blob = await a.provider.encryptFor(dataKey.handle, simulatedBlobOf(cloningKey, objects), aad);
    for (const one of [blob, dataKey.blob]) group.blobs.set(sha256Hex(one), one);
    const id = sha256Hex(blob).slice(0, 32);
    const key = { id, blobSha256: sha256Hex(dataKey.blob), blobSize: dataKey.blob.length };
    const clone = { ...entry.clone!, dataKeyId: id, blobSha256: sha256Hex(blob), blobSize: blob.length };
    const entries = target.generation.entries.map((one) => (one === entry ? { ...entry, clone } : one));
    return signed({ ...target.generation, dataKeys: [...target.generation.dataKeys, key], entries });
  }

  const source = (label: string): StoredObject => keyAt(a, label)!;
  const changed = (label: string, attributes: StoredObject['attributes']): StoredObject => ({
    ...source(label),
    attributes: { ...source(label).attributes, ...attributes },
  });

  it.each<[string, string, () => { objects: readonly StoredObject[]; cloningKey?: Uint8Array }]>([
    ['a key that may wrap', 'wrapped', () => ({ objects: [changed('wrapped', { wrap: true })] })],
    ['another label', 'wrapped', () => ({ objects: [changed('wrapped', { label: Buffer.from('other') })] })],
    ['another history', 'wrapped', () => ({ objects: [changed('wrapped', { local: false })] })],
    ['another type of key', 'wrapped', () => ({ objects: [source('pair')] })],
    ['another value', 'wrapped', () => ({ objects: [{ ...source('wrapped'), value: a.prng.bytes(32) }] })],
    [
      'another value of a secret that is sealed exactly',
      'exact',
      () => ({ objects: [{ ...source('exact'), value: a.prng.bytes(13) }] }),
    ],
    ['two objects', 'wrapped', () => ({ objects: [source('wrapped'), source('pair')] })],
    ['no object', 'wrapped', () => ({ objects: [] })],
    ['a blob of another cloning domain', 'wrapped', () => ({ objects: [source('wrapped')], cloningKey: OTHER_KEY })],
  ])('brings nothing in by a second form with %s: the sealed form serves', async (_what, label, inner) => {
    const target = await forged(await captured(), label, inner());
    const { refused, applied, cloned } = await group.apply(b, target);
    expect([refused, applied.length, cloned.length]).toEqual([[], target.generation.entries.length, BOTH.length - 1]);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    expect(historyAt(b, label)).toEqual(REBUILT);
    expect((await group.verify(b, target)).contentDigest).toBe(target.contentDigest);
  });

  it('brings no private key of another pair in', async () => {
    a.hsm.addEcPair('impostor');
    const sealed = await captured();
    const { attributes } = source('pair');
    const target = await forged(sealed, 'pair', { objects: [{ ...source('impostor'), attributes }] });
    expect((await group.apply(b, target)).refused).toEqual([]);
    expect(keyAt(b, 'pair')?.value).toEqual(source('pair').value);
  });

  it('cannot exchange the clones of two keys', async () => {
    a.hsm.addSecret('other');
    const sealed = await captured();
    const [one, other] = [entryOf(sealed, 'wrapped'), entryOf(sealed, 'other')];
    const entries = sealed.generation.entries.map((entry) =>
      entry === one ? { ...one, clone: other.clone! } : entry === other ? { ...other, clone: one.clone! } : entry,
    );
    const { refused } = await group.apply(b, await signed({ ...sealed.generation, entries }));
    expect([refused, b.hsm.contents()]).toEqual([[], a.hsm.contents()]);
    expect([historyAt(b, 'wrapped'), historyAt(b, 'pair')]).toEqual([REBUILT, CLONED]);
  });

  it('cannot pass a sealed form off as a clone, nor a clone as a sealed form', async () => {
    const sealed = await captured();
    const entry = entryOf(sealed, 'exact');
    const swapped = {
      ...entry,
      ...{ blobSha256: entry.clone!.blobSha256, blobSize: entry.clone!.blobSize, dataKeyId: entry.clone!.dataKeyId },
      clone: { ...entry.clone!, blobSha256: entry.blobSha256!, blobSize: entry.blobSize, dataKeyId: entry.dataKeyId! },
    };
    const entries = sealed.generation.entries.map((one) => (one === entry ? swapped : one));
    const { refused } = await group.apply(b, await signed({ ...sealed.generation, entries }));
    expect(refused).toMatchObject([{ objectId: entry.objectId }]);
    expect(keyAt(b, 'exact')).toBeUndefined();
  });

  it('holds nothing up by a data key that does not open, or that the manifest does not have', async () => {
    const sealed = await captured();
    const { clone } = entryOf(sealed, 'wrapped');
    const noise = a.prng.bytes(40);
    group.blobs.set(sha256Hex(noise), noise);
    const { dataKeys } = sealed.generation;
    for (const given of [
      dataKeys.map((key) => (key.id === clone!.dataKeyId ? { ...key, blobSha256: sha256Hex(noise) } : key)),
      dataKeys.filter(({ id }) => id !== clone!.dataKeyId),
    ]) {
      const generation = withoutNatives({ ...sealed.generation, dataKeys: given });
      const { refused, cloned } = await group.apply(b, await signed(generation));
      expect([refused, cloned]).toEqual([[], []]);
      expect(historyAt(b, 'wrapped')).toEqual(REBUILT);
      b.hsm.objects.splice(
        0,
        b.hsm.objects.length,
        ...b.hsm.objects.filter((one) => labelOf(one).startsWith('antipode ')),
      );
    }
  });
});
