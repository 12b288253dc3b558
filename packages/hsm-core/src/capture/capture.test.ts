import { AntipodeError, hex, sha256Hex } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Entry, SealedGeneration } from '../model/generation.ts';
import { openSigned } from '../model/manifest/signed-manifest.ts';
import { type UncapturedReason, VALUE_BYTES_MAX } from '../model/object.ts';
import { enrolTogether, privateKey, type SimulatedHsm, SimulatedMember, type StoredObject } from '../testing/index.ts';
import { type CaptureResult, captureGeneration } from './capture.ts';
import type { CaptureOptions } from './capture-context.ts';
import { CaptureMemory } from './capture-memory.ts';
import { matchesPattern } from './filter.ts';

const GROUP = 'payments';
const NO_FILTER = { excludeIds: [], excludeLabels: [], excludeClasses: [] };

let clock: FakeClock;
let a: SimulatedMember;
let memory: CaptureMemory;
let newest: SealedGeneration | undefined;
const blobs = new Map<string, Uint8Array>();

beforeEach(async () => {
  clock = new FakeClock();
  a = await SimulatedMember.make('a', { clock });
  await enrolTogether([a], { group: GROUP, version: 1 });
  memory = new CaptureMemory();
  newest = undefined;
  blobs.clear();
});

async function capture(options: Partial<CaptureOptions> = {}): Promise<CaptureResult> {
  const result = await captureGeneration({
    ...a,
    clock,
    memory,
    group: GROUP,
    epoch: 1n,
    number: (newest?.generation.number ?? 0n) + 1n,
    domainKeyVersion: 1,
    previous: newest,
    filter: NO_FILTER,
    checkFence: () => {},
    ...options,
  });
  for (const [digest, blob] of result.blobs) blobs.set(digest, blob);
  newest = result.sealed ?? newest;
  return result;
}

const captured = async (options: Partial<CaptureOptions> = {}): Promise<SealedGeneration> =>
  (await capture(options)).sealed!;
const labelOf = ({ attributes }: Entry): string => Buffer.from(attributes.label ?? []).toString();
const entryOf = (sealed: SealedGeneration, label: string): Entry =>
  sealed.generation.entries.find((entry) => labelOf(entry) === label)!;
const reasonsOf = (sealed: SealedGeneration): string[] =>
  sealed.generation.uncaptured.map(({ reason }) => reason).sort();

describe('a capture', () => {
  it('seals every application object, and signs with the identity of the partition', async () => {
    a.hsm.addSecret('secret');
    a.hsm.addEcPair('pair');
    a.hsm.addCertificate('certificate');
    a.hsm.addData('data', Buffer.from('value'));
    await clock.advance(5_000);
    const { sealed, captureStartedMs, sealedObjects } = await capture();
    expect(sealed!.generation.entries.map(labelOf).sort()).toEqual(['certificate', 'data', 'pair', 'pair', 'secret']);
    expect(sealed!.generation).toMatchObject({
      group: GROUP,
      epoch: 1n,
      number: 1n,
      previousDigest: '',
      uncaptured: [],
    });
    expect([sealedObjects, captureStartedMs, a.provider.sessionObjectCount]).toEqual([3, clock.wallMs(), 0]);
    const needed = [...sealed!.generation.dataKeys, ...sealed!.generation.entries].flatMap(
      ({ blobSha256 }) => blobSha256 ?? [],
    );
    expect([...blobs.keys()].sort()).toEqual([...needed].sort());
    for (const [digest, blob] of blobs) expect(sha256Hex(blob)).toBe(digest);
    const opened = openSigned(sealed!.signed, {
      group: GROUP,
      isPinned: (identity) => identity === a.keyring.identity.sha256,
      expectedDigest: sealed!.digest,
    });
    expect(opened.contentDigest).toBe(sealed!.contentDigest);
  });

  it('puts no secret value into the manifest or the blobs', async () => {
    const secret = a.hsm.addSecret('secret').value!;
    const scalar = Buffer.from(privateKey(a.hsm.addEcPair('pair')).export({ format: 'jwk' }).d!, 'base64url');
    const data = a.hsm.addData('data', Buffer.from('0123456789abcdef')).value!;
    const sealed = await captured();
    const everything = [sealed.signed, ...blobs.values()].map(hex).join(' ');
    expect(everything).toContain(hex(Buffer.from('secret')));
    for (const value of [secret, scalar, data]) expect(everything).not.toContain(hex(value));
  });

  it('makes no generation without a change, and moves the recovery point on', async () => {
    a.hsm.addSecret('secret');
    a.hsm.addData('data', Buffer.from('value'));
    await capture();
    await clock.advance(60_000);
    const unchanged = { sealedObjects: 0, blobs: new Map(), notCarried: new Map() };
    expect(await capture()).toEqual({ captureStartedMs: clock.wallMs(), ...unchanged });
    await a.reopen();
    memory = new CaptureMemory();
    expect((await capture()).sealed).toBeUndefined();
  });

  it('looks once and wraps nothing without a change', async () => {
    a.hsm.addSecret('secret');
    a.hsm.addSecret('fixed', { extractable: false });
    await capture();
    let passes = 0;
    a.hsm.onInventory = () => {
      passes += 1;
    };
    a.provider.wrap = async () => expect.unreachable();
    expect((await capture()).sealed).toBeUndefined();
    expect(passes).toBe(1);
  });

  it('seals only new objects, and keeps every other entry', async () => {
    a.hsm.addSecret('old');
    a.hsm.addData('data', Buffer.from('value'));
    const first = await captured();
    a.hsm.addSecret('new');
    const { sealed, sealedObjects, blobs: added } = await capture();
    expect([sealedObjects, added.size]).toEqual([1, 1]);
    for (const label of ['old', 'data']) expect(entryOf(sealed!, label)).toEqual(entryOf(first, label));
    expect(sealed!.generation).toMatchObject({
      number: 2n,
      previousDigest: first.digest,
      dataKeys: first.generation.dataKeys,
    });
  });

  it('asks the token only about the one new object among many', async () => {
    for (const label of ['one', 'two']) a.hsm.addSecret(label);
    a.hsm.addEcPair('pair');
    a.hsm.addData('data', Buffer.from('value'));
    a.hsm.addSecret('fixed', { extractable: false });
    await capture();
    const calls: string[] = [];
    const { wrap, tagData, look } = a.provider;
    a.provider.wrap = (key, handles) => {
      calls.push(`wrap ${handles.length}`);
      return wrap.call(a.provider, key, handles);
    };
    a.provider.tagData = (key, handles) => {
      calls.push(`tag ${handles.length}`);
      return tagData.call(a.provider, key, handles);
    };
    a.provider.look = async (options) => {
      const seen = await look.call(a.provider, options);
      calls.push(`look at ${options.handles?.length ?? 'all'}, told ${seen.objects.length}`);
      return seen;
    };
    a.hsm.addSecret('new');
    const { generation } = await captured();
    expect([generation.entries.length, generation.uncaptured.length]).toEqual([6, 1]);
    // The uncaptured object is read whole, since its name depends on all objects like it.
    expect(calls).toEqual(['look at all, told 1', 'wrap 1', 'tag 0', 'look at 2, told 0']);
  });

  it('finds changes even if it remembers the handles of another session', async () => {
    const [one] = ['one', 'two'].map((label) => a.hsm.addSecret(label));
    const first = await captured();
    await a.reopen();
    one!.attributes = { ...one!.attributes, decrypt: false };
    for (let look = 0; look < 5; look += 1) await a.provider.inventory();
    const second = await captured();
    expect(entryOf(second, 'one')).toMatchObject({
      objectId: entryOf(first, 'one').objectId,
      attributes: { decrypt: false },
    });
    expect(entryOf(second, 'two')).toEqual(entryOf(first, 'two'));
    expect(second.generation).toMatchObject({ tombstones: [], uncaptured: [] });
  });

  it('seals nothing again for a changed attribute: identity and blob stay', async () => {
    const secret = a.hsm.addSecret('old name');
    const before = entryOf(await captured(), 'old name');
    secret.attributes = { ...secret.attributes, label: Buffer.from('new name') };
    const { sealed, sealedObjects } = await capture();
    expect(sealedObjects).toBe(0);
    expect(entryOf(sealed!, 'new name')).toEqual({
      ...before,
      attributes: { ...before.attributes, label: Uint8Array.from(Buffer.from('new name')) },
    });
  });

  it('gives each equal copy of a key its own identity, and keeps them apart', async () => {
    const original = a.hsm.addSecret('original');
    const copy = a.hsm.addSecret('copy');
    copy.value = Uint8Array.from(original.value!);
    const first = await captured();
    expect(new Set(first.generation.entries.map(({ objectId }) => objectId)).size).toBe(2);
    await a.reopen();
    memory = new CaptureMemory();
    a.hsm.remove(original);
    const second = await captured();
    expect(entryOf(second, 'copy').objectId).toBe(entryOf(first, 'copy').objectId);
    expect(second.generation.tombstones.map(({ entry }) => entry.objectId)).toEqual([
      entryOf(first, 'original').objectId,
    ]);
  });

  it('checks the fence right before it signs, and returns nothing if that throws', async () => {
    a.hsm.addSecret('secret');
    const checkFence = (): void => {
      throw new AntipodeError('EPOCH_STALE', 'the tenure is over');
    };
    expect((await rejection(capture({ checkFence }))).code).toBe('EPOCH_STALE');
    await capture();
    expect((await capture({ checkFence })).sealed).toBeUndefined();
  });

  it('throws DOMAIN_KEY_MISSING for a version that the partition does not hold', async () => {
    a.hsm.addSecret('secret');
    expect((await rejection(capture({ domainKeyVersion: 2 }))).code).toBe('DOMAIN_KEY_MISSING');
  });
});

describe('a secret that wrapping would change', () => {
  const ODD = { keyType: 'generic-secret', bytes: 13 } as const;

  it('is sealed under a data key, once, and known by its tag whatever becomes of its names', async () => {
    const odd = a.hsm.addSecret('odd', ODD);
    a.hsm.addSecret('even', { keyType: 'generic-secret', bytes: 16 });
    const first = await captured();
    expect(reasonsOf(first)).toEqual([]);
    expect(entryOf(first, 'odd')).toMatchObject({ sizeBits: 104, dataKeyId: first.generation.dataKeys[0]!.id });
    expect(entryOf(first, 'even')).not.toHaveProperty('dataKeyId');
    expect(a.provider.sessionObjectCount).toBe(0);
    odd.attributes = { ...odd.attributes, label: Buffer.from('renamed') };
    const { sealed, sealedObjects } = await capture();
    expect([entryOf(sealed!, 'renamed').blobSha256, sealedObjects]).toEqual([entryOf(first, 'odd').blobSha256, 0]);
    // A token that has forgotten its length still has the same secret.
    odd.sizeBits = 0;
    await a.reopen();
    memory = new CaptureMemory();
    expect((await capture()).sealed).toBeUndefined();
  });

  it('is another secret when zeros follow it', async () => {
    const odd = a.hsm.addSecret('odd', ODD);
    const longer = a.hsm.addSecret('longer', { keyType: 'generic-secret', bytes: 16 });
    longer.value = Buffer.concat([odd.value!, Buffer.alloc(3)]);
    const first = await captured();
    for (const one of [odd, longer]) one.sizeBits = 0;
    await a.reopen();
    memory = new CaptureMemory();
    expect((await capture()).sealed).toBeUndefined();
    expect(entryOf(first, 'odd').valueTag).toBeDefined();
    expect(entryOf(first, 'longer').valueTag).toBeUndefined();
  });

  it('stays captured while the token gives no tag of it, and is not taken for deleted', async () => {
    // Nothing else shows its value either.
    delete a.hsm.addSecret('odd', ODD).attributes.checkValue;
    const first = await captured();
    a.hsm.offersExact = false;
    await a.reopen();
    memory = new CaptureMemory();
    const second = await captured();
    expect(entryOf(second, 'odd')).toEqual(entryOf(first, 'odd'));
    expect([reasonsOf(second), second.generation.tombstones]).toEqual([['length-not-multiple-of-8'], []]);
    a.hsm.offersExact = true;
    const third = await captured();
    expect([entryOf(third, 'odd'), reasonsOf(third)]).toEqual([entryOf(first, 'odd'), []]);
    expect((await capture()).sealed).toBeUndefined();
  });

  it('is captured as soon as the token carries it, although nothing else changes', async () => {
    a.hsm.offersExact = false;
    a.hsm.addSecret('odd', ODD);
    a.hsm.addSecret('kept');
    expect(reasonsOf(await captured())).toEqual(['length-not-multiple-of-8']);
    a.hsm.offersExact = true;
    const second = await captured();
    expect([labelOf(entryOf(second, 'odd')), reasonsOf(second)]).toEqual(['odd', []]);
    expect((await capture()).sealed).toBeUndefined();
  });

  it('is sealed again with the domain key, and when its blob or that of its data key is lost', async () => {
    a.hsm.addSecret('odd', ODD);
    const first = await captured();
    const [dataKey] = first.generation.dataKeys;
    const repaired = await captured({ lost: new Set([dataKey!.blobSha256]) });
    expect(repaired.generation.dataKeys).not.toEqual(first.generation.dataKeys);
    await enrolTogether([a], { group: GROUP, version: 2 });
    const again = await captured({ domainKeyVersion: 2 });
    expect(entryOf(again, 'odd').objectId).toBe(entryOf(first, 'odd').objectId);
    expect(entryOf(again, 'odd').valueTag).not.toEqual(entryOf(first, 'odd').valueTag);
    expect(blobs.has(again.generation.dataKeys[0]!.blobSha256)).toBe(true);
  });

  it('is carried by a larger key if it is longer, and only then', async () => {
    const made: number[] = [];
    const generateExactKey = a.provider.generateExactKey.bind(a.provider);
    a.provider.generateExactKey = (domainKey, modulusBits) => {
      made.push(modulusBits);
      return generateExactKey(domainKey, modulusBits);
    };
    const secretOf = (label: string, bytes: number): StoredObject => a.hsm.addSecret(label, { ...ODD, bytes });
    secretOf('short', 342);
    const first = await captured();
    expect([made, first.generation.dataKeys.length]).toEqual([[3072], 1]);
    secretOf('long', 470);
    // Their lengths are not told.
    secretOf('unknown', 342).sizeBits = 0;
    secretOf('unknown and long', 470).sizeBits = 0;
    const second = await captured();
    expect([made, second.generation.dataKeys.length]).toEqual([[3072, 3072, 4096], 3]);
    expect([second.generation.entries.length, reasonsOf(second)]).toEqual([4, []]);
    expect(entryOf(second, 'long').dataKeyId).toBe(entryOf(second, 'unknown and long').dataKeyId);
  });

  it('is asked for ever more seldom while the token does not carry it, and at once if another one is new', async () => {
    a.hsm.addSecret('odd', ODD);
    const asked: number[] = [];
    let captures = 0;
    a.provider.generateExactKey = async () => {
      asked.push(captures);
      return undefined;
    };
    for (captures = 1; captures <= 20; captures += 1) await capture();
    a.hsm.addSecret('another', ODD);
    for (; captures <= 25; captures += 1) await capture();
    expect(asked).toEqual([1, 2, 4, 8, 16, 21, 22, 24]);
  });

  it('holds a change of the domain key while the token does not carry it', async () => {
    a.hsm.addSecret('odd', ODD);
    const first = await captured();
    await enrolTogether([a], { group: GROUP, version: 2 });
    a.hsm.offersExact = false;
    const { objectId } = entryOf(first, 'odd');
    const { sealed, held } = await capture({ domainKeyVersion: 2 });
    expect([sealed, held?.losses]).toEqual([undefined, [{ objectId, reason: 'length-not-multiple-of-8' }]]);
    const accepted = await captured({ domainKeyVersion: 2, accepted: new Set([objectId]) });
    expect(reasonsOf(accepted)).toEqual(['length-not-multiple-of-8']);
  });

  it('holds a change of the domain key while the token fails to give it', async () => {
    a.hsm.addSecret('odd', ODD);
    const first = await captured();
    await enrolTogether([a], { group: GROUP, version: 2 });
    const sealSecrets = a.provider.sealSecrets.bind(a.provider);
    a.provider.sealSecrets = async ({ items }) => items.map(({ handle }) => ({ handle, reason: 'unreadable' }));
    const { sealed, held } = await capture({ domainKeyVersion: 2 });
    a.provider.sealSecrets = sealSecrets;
    const { objectId } = entryOf(first, 'odd');
    expect([sealed, held?.losses]).toEqual([undefined, [{ objectId, reason: 'unreadable' }]]);
    const again = await captured({ domainKeyVersion: 2 });
    expect(entryOf(again, 'odd').objectId).toBe(objectId);
  });

  it('leaves the manifest in the older format when it is gone for good', async () => {
    const odd = a.hsm.addSecret('odd', ODD);
    a.hsm.addSecret('kept');
    const formatOf = ({ signed }: SealedGeneration): number => signed[signed.indexOf(0x08) + 1]!;
    expect(formatOf(await captured())).toBe(3);
    a.hsm.remove(odd);
    expect(formatOf(await captured())).toBe(3);
    expect(formatOf(await captured({ isExpired: () => true }))).toBe(2);
  });
});

describe('what cannot be captured is named with its reason:', () => {
  const withoutExact = (): SimulatedHsm => Object.assign(a.hsm, { offersExact: false });

  it.each<[string, () => void]>([
    ['unextractable', () => a.hsm.addSecret('x', { extractable: false })],
    ['wrap-with-trusted', () => a.hsm.addSecret('x', { wrapWithTrusted: true })],
    ['length-not-multiple-of-8', () => withoutExact().addSecret('x', { keyType: 'generic-secret', bytes: 13 })],
    ['length-unknown', () => (withoutExact().addSecret('x', { keyType: 'generic-secret' }).sizeBits = 0)],
    ['length-not-multiple-of-8', () => a.hsm.addSecret('x', { keyType: 'generic-secret', bytes: 471 })],
    ['too-large', () => a.hsm.addData('x', new Uint8Array(VALUE_BYTES_MAX + 1))],
    ['unsupported-attribute', () => (a.hsm.addSecret('x').hasTemplate = true)],
    ['unreadable', () => delete a.hsm.addSecret('x').value],
    ['unreadable', () => delete a.hsm.addCertificate('x').attributes.value],
    ['unsupported-type', () => a.hsm.objects.push({ objectClass: 'other', attributes: {}, sizeBits: 0 })],
    [
      'unsupported-type',
      () => a.hsm.objects.push({ objectClass: 'secret-key', keyType: 'unsupported', attributes: {}, sizeBits: 0 }),
    ],
  ])('%s', async (reason, make) => {
    a.hsm.addSecret('good');
    make();
    const sealed = await captured();
    expect(sealed.generation.entries.map(labelOf)).toEqual(['good']);
    expect(reasonsOf(sealed)).toEqual([reason]);
    // Its name is stable, so that nothing has changed next time, whoever asks.
    await a.reopen();
    memory = new CaptureMemory();
    expect((await capture()).sealed).toBeUndefined();
  });

  it('each by its own name, even if hundreds look the same', async () => {
    for (let copy = 0; copy < 300; copy += 1) a.hsm.addSecret('twin', { extractable: false });
    const { uncaptured } = (await captured()).generation;
    expect(new Set(uncaptured.map(({ objectId }) => objectId)).size).toBe(300);
    a.hsm.addSecret('another');
    expect((await captured()).generation.uncaptured).toEqual(uncaptured);
  });

  it('excluded, by class, id or label, as soon as the filter says so', async () => {
    a.hsm.addSecret('app-1');
    const kept = a.hsm.addSecret('kept');
    a.hsm.addCertificate('kept certificate');
    await capture();
    const label = await captured({ filter: { ...NO_FILTER, excludeLabels: ['app-?'] } });
    expect([reasonsOf(label), label.generation.entries.length]).toEqual([['excluded'], 2]);
    const byClass = await captured({ filter: { ...NO_FILTER, excludeClasses: ['certificate'] } });
    expect([reasonsOf(byClass), byClass.generation.entries.map(labelOf).sort()]).toEqual([
      ['excluded'],
      ['app-1', 'kept'],
    ]);
    const id = hex(kept.attributes.id!).toUpperCase();
    expect(reasonsOf(await captured({ filter: { ...NO_FILTER, excludeIds: [id] } }))).toEqual(['excluded']);
    expect(reasonsOf(await captured())).toEqual([]);
  });
});

describe('what changes while a capture looks', () => {
  it('is reported as settling if only the second look sees it', async () => {
    await capture();
    memory = new CaptureMemory();
    a.hsm.addSecret('known');
    await capture();
    memory = new CaptureMemory();
    a.hsm.onInventory = (look) => {
      if (look === 6) a.hsm.addSecret('just made');
    };
    expect(reasonsOf(await captured())).toEqual(['settling']);
    expect((await captured()).generation.entries.map(labelOf).sort()).toEqual(['just made', 'known']);
  });

  it('is left to the next capture if it was made after the first look', async () => {
    a.hsm.onInventory = (look) => {
      if (look === 2) a.hsm.addSecret('just made');
    };
    expect((await captured()).generation).toMatchObject({ entries: [], uncaptured: [] });
    expect((await captured()).generation.entries.map(labelOf)).toEqual(['just made']);
  });

  it('is not captured half made: an object that differs between two looks waits', async () => {
    const fresh = a.hsm.addSecret('');
    a.hsm.onInventory = (pass) => {
      if (pass === 2) fresh.attributes = { ...fresh.attributes, label: Buffer.from('now named') };
    };
    const { sealed, blobs: given } = await capture();
    expect([reasonsOf(sealed!), given.size]).toEqual([['settling'], 0]);
    expect((await captured()).generation.entries.map(labelOf)).toEqual(['now named']);
  });

  it('keeps its captured entry if it is known, and changes at the next capture', async () => {
    const secret = a.hsm.addSecret('before');
    const first = await captured();
    a.hsm.onInventory = (pass) => {
      if (pass >= 3) secret.attributes = { ...secret.attributes, label: Buffer.from(`pass ${pass}`) };
    };
    a.hsm.addSecret('another');
    const second = await captured();
    expect(entryOf(second, 'before')).toEqual(entryOf(first, 'before'));
    a.hsm.onInventory = () => {};
    const third = await captured();
    expect(entryOf(third, 'pass 4').objectId).toBe(entryOf(first, 'before').objectId);
  });
});

describe('a deleted object', () => {
  it('becomes one tombstone with its entry, and stays one', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('kept');
    const entry = entryOf(await captured(), 'secret');
    a.hsm.remove(secret);
    await clock.advance(1_000);
    const second = await captured();
    const sealed = { domainKeyVersion: 1, retentionMs: 30 * 86_400_000 };
    const tombstone = { entry, epoch: 1n, generation: 2n, deletedMs: clock.wallMs(), ...sealed };
    expect(second.generation.tombstones).toEqual([tombstone]);
    expect((await capture()).sealed).toBeUndefined();
    a.hsm.addSecret('more');
    expect((await captured()).generation.tombstones).toEqual([tombstone]);
  });

  it('keeps its identity if the same key comes back in the same tenure', async () => {
    const secret = a.hsm.addSecret('secret');
    const first = await captured();
    a.hsm.remove(secret);
    await capture();
    a.hsm.objects.push({ ...secret });
    const third = await captured();
    expect(third.generation.tombstones).toEqual([]);
    expect(entryOf(third, 'secret').objectId).toBe(entryOf(first, 'secret').objectId);
  });

  it('is sealed again when it comes back, since its old blob may be unusable', async () => {
    const data = a.hsm.addData('data', Buffer.from('value'));
    const pair = a.hsm.addEcPair('pair');
    const first = await captured();
    for (const object of [data, pair]) a.hsm.remove(object);
    await capture();
    await enrolTogether([a], { group: GROUP, version: 2 });
    await capture({ domainKeyVersion: 2 });
    a.hsm.objects.push({ ...data }, { ...pair });
    const { sealedObjects, sealed } = await capture({ domainKeyVersion: 2 });
    expect([sealedObjects, sealed!.generation.dataKeys.length]).toEqual([2, 1]);
    const privateKeys = [first, sealed!].map(
      ({ generation }) => generation.entries.find(({ objectClass }) => objectClass === 'private-key')!,
    );
    expect(privateKeys[1]!.objectId).toBe(privateKeys[0]!.objectId);
    expect(privateKeys[1]!.blobSha256).not.toBe(privateKeys[0]!.blobSha256);
  });

  it('is reported as deleted while a later active member holds it, in quiet captures', async () => {
    const secret = a.hsm.addSecret('secret');
    const { objectId } = entryOf(await captured(), 'secret');
    a.hsm.remove(secret);
    await capture();
    a.hsm.objects.push(secret);
    const epoch = 2n;
    expect((await captured({ epoch })).generation).toMatchObject({
      entries: [],
      uncaptured: [{ objectId, objectClass: 'secret-key', keyType: 'aes', reason: 'deleted' }],
      tombstones: [{ epoch: 1n }],
    });
    a.provider.wrap = async () => expect.unreachable();
    expect((await capture({ epoch })).sealed).toBeUndefined();
  });

  it('is reported as deleted by a later active member, even under a new domain key', async () => {
    const kept = [a.hsm.addSecret('secret'), a.hsm.addData('data', Buffer.from('value'))];
    const first = await captured();
    for (const object of kept) a.hsm.remove(object);
    await capture();
    for (const domainKeyVersion of [2, 3]) {
      await enrolTogether([a], { group: GROUP, version: domainKeyVersion });
      await capture({ domainKeyVersion });
    }
    a.hsm.objects.push(...kept);
    const { generation } = await captured({ epoch: 2n, domainKeyVersion: 3 });
    expect(generation.entries).toEqual([]);
    expect(new Set(generation.uncaptured.map(({ objectId, reason }) => `${objectId} ${reason}`))).toEqual(
      new Set(first.generation.entries.map(({ objectId }) => `${objectId} deleted`)),
    );
  });

  it('leaves the generations one by one when its retention is over', async () => {
    const secrets = [a.hsm.addSecret('one'), a.hsm.addSecret('two')];
    const first = await captured();
    for (const secret of secrets) a.hsm.remove(secret);
    await capture();
    const { objectId } = entryOf(first, 'one');
    const isExpired = ({ entry }: { entry: { objectId: string } }): boolean => entry.objectId === objectId;
    a.hsm.addSecret('another');
    const labels = (await captured({ isExpired })).generation.tombstones.map(({ entry }) => labelOf(entry));
    expect(labels).toEqual(['two']);
  });

  it('stays reported as deleted when another object changes', async () => {
    const secret = a.hsm.addSecret('secret');
    await capture();
    a.hsm.remove(secret);
    await capture();
    a.hsm.objects.push(secret);
    const epoch = 2n;
    await capture({ epoch });
    a.hsm.addSecret('other');
    const { generation } = await captured({ epoch });
    expect([generation.entries.length, generation.uncaptured.map(({ reason }) => reason)]).toEqual([1, ['deleted']]);
  });

  it('is captured if it was made again under a later active member without it', async () => {
    const secret = a.hsm.addSecret('secret');
    const { objectId } = entryOf(await captured(), 'secret');
    a.hsm.remove(secret);
    await capture();
    const epoch = 2n;
    await capture({ epoch });
    a.hsm.objects.push({ ...secret });
    const { generation } = await captured({ epoch });
    expect(generation.entries.map((entry) => entry.objectId)).toEqual([objectId]);
    expect([generation.uncaptured, generation.tombstones]).toEqual([[], []]);
  });

  it('is captured if an operator restored it, whichever tenure deleted it', async () => {
    const secret = a.hsm.addSecret('secret');
    const { objectId } = entryOf(await captured(), 'secret');
    a.hsm.remove(secret);
    await capture();
    a.hsm.objects.push({ ...secret });
    const epoch = 2n;
    await capture({ epoch });
    const { generation } = await captured({ epoch, restored: new Set([objectId]) });
    expect(generation.entries.map((entry) => entry.objectId)).toEqual([objectId]);
    expect([generation.uncaptured, generation.tombstones]).toEqual([[], []]);
  });
});

describe('an older copy of the token', () => {
  const OLDER = 'revived';

  /** Copies the store of the token. The result puts the copy back. */
  const copied = (): (() => void) => {
    const [objects, stamps] = [[...a.hsm.objects], [...a.hsm.stamps]];
    return () => {
      a.hsm.objects.splice(0, a.hsm.objects.length, ...objects);
      a.hsm.stamps.clear();
      for (const [group, stamp] of stamps) a.hsm.stamps.set(group, stamp);
    };
  };
  /** As an agent does with a capture that goes on. */
  const stamped = async (options: Partial<CaptureOptions> = {}): Promise<CaptureResult> => {
    const result = await capture(options);
    const { epoch, number } = newest!.generation;
    if (result.held === undefined)
      await a.provider.stampStore({ group: GROUP, epoch, number, replacesOlder: result.isOlderCopy === true });
    return result;
  };
  /** A stamped store with one key more than its copy. @returns puts the copy in its place */
  const withNewer = async (): Promise<() => void> => {
    a.hsm.hasStore = true;
    a.hsm.addSecret('old');
    await stamped();
    const putBack = copied();
    a.hsm.addSecret('new');
    await stamped();
    return putBack;
  };
  const reasons = ({ held }: CaptureResult): string[] | undefined => held?.losses.map(({ reason }) => reason).sort();

  it('loses nothing where the store has the stamp of an earlier capture, however few keys it lacks', async () => {
    const putBack = await withNewer();
    putBack();
    const result = await stamped();
    expect([reasons(result), result.held]).toEqual([
      ['deleted'],
      expect.objectContaining({ limit: 0, isOlderCopy: true }),
    ]);
    expect(newest!.generation.tombstones).toEqual([]);
    // As after a restart, and as often as it is asked.
    memory = new CaptureMemory();
    expect(reasons(await stamped())).toEqual(['deleted']);
  });

  it('brings no deleted key back where the store has the stamp of an earlier capture', async () => {
    a.hsm.hasStore = true;
    const secret = a.hsm.addSecret('secret');
    await stamped();
    const putBack = copied();
    a.hsm.remove(secret);
    await stamped();
    putBack();
    expect(reasons(await stamped())).toEqual([OLDER]);
    expect(newest!.generation.entries).toEqual([]);
  });

  it('shows without any stamp if it lacks some keys and has deleted ones again', async () => {
    const secret = a.hsm.addSecret('secret');
    await capture();
    const putBack = copied();
    a.hsm.remove(secret);
    a.hsm.addSecret('new');
    await capture();
    putBack();
    const result = await capture();
    expect([reasons(result), result.held?.isOlderCopy]).toEqual([['deleted', OLDER], true]);
  });

  it('goes on when an operator accepts what is gone and what is back, and counts as the newest from then on', async () => {
    a.hsm.hasStore = true;
    const secret = a.hsm.addSecret('secret');
    const { objectId } = entryOf((await stamped()).sealed!, 'secret');
    const putBack = copied();
    a.hsm.remove(secret);
    a.hsm.addSecret('new');
    await stamped();
    putBack();
    const { held } = await stamped();
    const lost = held!.losses.find(({ reason }) => reason === 'deleted')!.objectId;
    expect(reasons(await stamped({ accepted: new Set([lost]) }))).toEqual([OLDER]);
    const { sealed } = await stamped({ accepted: new Set([lost, objectId]) });
    expect(sealed!.generation.entries.map(labelOf)).toEqual(['secret']);
    expect(sealed!.generation.tombstones.map(({ entry }) => labelOf(entry))).toEqual(['new']);
    a.hsm.remove(secret);
    expect((await stamped()).sealed!.generation.tombstones).toHaveLength(2);
  });

  it('goes on where an operator has restored the key that is back', async () => {
    a.hsm.hasStore = true;
    const secret = a.hsm.addSecret('secret');
    const { objectId } = entryOf((await stamped()).sealed!, 'secret');
    const putBack = copied();
    a.hsm.remove(secret);
    await stamped();
    putBack();
    expect((await stamped({ restored: new Set([objectId]) })).sealed?.generation.entries.map(labelOf)).toEqual([
      'secret',
    ]);
  });

  it('holds nothing if nothing differs, and a later deletion is one', async () => {
    a.hsm.hasStore = true;
    const secret = a.hsm.addSecret('secret');
    await stamped();
    const putBack = copied();
    const added = a.hsm.addCertificate('certificate');
    await stamped();
    a.hsm.remove(added);
    await stamped();
    putBack();
    expect(await stamped()).toMatchObject({ isOlderCopy: true });
    expect((await stamped()).isOlderCopy).toBeUndefined();
    a.hsm.remove(secret);
    expect((await stamped()).held).toBeUndefined();
  });

  it('gets no newer stamp if it has come into its place since the look', async () => {
    const putBack = await withNewer();
    const { epoch, number } = newest!.generation;
    putBack();
    expect(await a.provider.stampStore({ group: GROUP, epoch, number, replacesOlder: false })).toBe(false);
    expect(reasons(await stamped())).toEqual(['deleted']);
  });
});

describe('what was captured before', () => {
  /** One look, counted from now, does not see these, though they are there. */
  const missing = (wanted: number, objects: readonly StoredObject[]): void => {
    let looks = 0;
    a.hsm.onInventory = () => {
      looks += 1;
      if (looks === wanted) for (const object of objects) a.hsm.remove(object);
      if (looks === wanted + 1) a.hsm.objects.push(...objects);
    };
  };

  const refusing = (reason: UncapturedReason) => {
    const wrap = a.provider.wrap.bind(a.provider);
    a.provider.wrap = async (domainKey, handles) =>
      (await wrap(domainKey, handles)).map(({ handle }) => ({ handle, reason }));
    return () => {
      a.provider.wrap = wrap;
    };
  };

  it.each([true, false])(
    'stays when the token does not give it just now (known by its handle: %s)',
    async (isKnown) => {
      a.hsm.addSecret('secret');
      const first = await captured();
      if (!isKnown) memory = new CaptureMemory();
      a.hsm.addCertificate('new');
      const answerAgain = refusing('unreadable');
      const { generation } = await captured();
      expect(entryOf(newest!, 'secret')).toEqual(entryOf(first, 'secret'));
      expect([generation.uncaptured, generation.tombstones]).toEqual([[], []]);
      answerAgain();
      expect((await capture()).sealed).toBeUndefined();
    },
  );

  it.each([true, false])(
    'keeps its last blob and is marked when it becomes unextractable (known: %s)',
    async (isKnown) => {
      const secret = a.hsm.addSecret('secret');
      const first = entryOf(await captured(), 'secret');
      secret.attributes = { ...secret.attributes, extractable: false };
      if (!isKnown) memory = new CaptureMemory();
      const { generation } = await captured();
      expect(generation.entries).toEqual([first]);
      const marked = { objectId: first.objectId, objectClass: 'secret-key', keyType: 'aes', reason: 'unextractable' };
      expect(generation.uncaptured).toEqual([marked]);
      expect((await capture()).sealed).toBeUndefined();
      a.hsm.addCertificate('new');
      expect((await captured()).generation.uncaptured).toEqual([marked]);
    },
  );

  it('is reported and not kept if it became unextractable before a reseal', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('other');
    const { objectId } = entryOf(await captured(), 'secret');
    secret.attributes = { ...secret.attributes, extractable: false };
    await captured();
    await enrolTogether([a], { group: GROUP, version: 2 });
    const { generation } = await captured({ domainKeyVersion: 2 });
    expect(generation.entries.map(labelOf)).toEqual(['other']);
    expect([generation.uncaptured, generation.tombstones]).toMatchObject([[{ objectId, reason: 'unextractable' }], []]);
  });

  it.each([
    [1, true],
    [1, false],
    [2, true],
    [2, false],
  ])('is not taken for gone when only look %i misses it (known: %s)', async (look, isKnown) => {
    const missed = [a.hsm.addSecret('secret'), a.hsm.addData('data', Buffer.from('value'))];
    await capture();
    const entries = newest!.generation.entries;
    if (!isKnown) memory = new CaptureMemory();
    a.hsm.addCertificate('new');
    missing(look, missed);
    const { generation } = await captured();
    expect([generation.tombstones, generation.entries.length]).toEqual([[], 3]);
    expect(generation.entries).toEqual(expect.arrayContaining([...entries]));
    expect((await capture()).sealed).toBeUndefined();
    a.hsm.onInventory = () => {};
    for (const object of missed) a.hsm.remove(object);
    expect((await captured()).generation.tombstones).toHaveLength(2);
  });

  it('is gone at the next capture if it was deleted between two looks', async () => {
    const secret = a.hsm.addSecret('secret');
    await capture();
    a.hsm.addCertificate('new');
    a.hsm.onInventory = (pass) => {
      if (pass === 4) a.hsm.remove(secret);
    };
    expect((await captured()).generation.tombstones).toEqual([]);
    expect((await captured()).generation.tombstones).toHaveLength(1);
  });

  it.each([
    ['between two looks', 4],
    ['after the second look', 5],
  ])('leaves with a tombstone if it was deleted %s of a reseal', async (_when, pass) => {
    const [secret] = [a.hsm.addSecret('secret'), a.hsm.addSecret('other')];
    const certificate = a.hsm.addCertificate('certificate');
    const first = await captured();
    await enrolTogether([a], { group: GROUP, version: 2 });
    const deleting = (): void => {
      a.hsm.onInventory = () => {};
      a.hsm.remove(secret);
      if (pass === 4) a.hsm.remove(certificate);
    };
    if (pass === 4)
      a.hsm.onInventory = (one) => {
        if (one === pass) deleting();
      };
    else {
      const wrap = a.provider.wrap.bind(a.provider);
      const { handle } = a.keyring.domainKey(GROUP, 2);
      a.provider.wrap = async (domainKey, handles) => {
        if (domainKey === handle && a.hsm.objects.includes(secret)) deleting();
        return wrap(domainKey, handles);
      };
    }
    const { generation } = await captured({ domainKeyVersion: 2 });
    expect(generation.entries.map(labelOf)).toEqual(pass === 4 ? ['other'] : ['other', 'certificate']);
    expect(generation.uncaptured).toEqual([]);
    const tombstone = generation.tombstones.find(({ entry }) => labelOf(entry) === 'secret');
    expect(tombstone).toMatchObject({ domainKeyVersion: 1, entry: entryOf(first, 'secret') });
    expect(generation.tombstones).toHaveLength(pass === 4 ? 2 : 1);
  });

  it('stays in the manifest if a reseal finds another object in place of a public half', async () => {
    a.hsm.addSecret('secret');
    a.hsm.addEcPair('pair');
    const half = a.hsm.labelled('pair').find(({ objectClass }) => objectClass === 'public-key')!;
    const first = await captured();
    const isHalf = ({ objectClass }: Entry): boolean => objectClass === 'public-key';
    // As anybody makes it without a PIN: a point that is on no curve.
    a.hsm.remove(half);
    const { publicHalf: _half, ...rest } = half;
    a.hsm.objects.push({ ...rest, attributes: { ...half.attributes, ecPoint: new Uint8Array(67) } } as StoredObject);
    memory = new CaptureMemory();
    await enrolTogether([a], { group: GROUP, version: 2 });
    const { sealed, held } = await capture({ domainKeyVersion: 2 });
    expect(held).toBeUndefined();
    expect(sealed!.generation.entries.find(isHalf)).toEqual(first.generation.entries.find(isHalf));
    expect([reasonsOf(sealed!), sealed!.generation.tombstones]).toEqual([['value-changed'], []]);
  });

  it('holds a reseal if the token does not show what it is, and keeps no old blob', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('other');
    const { objectId } = entryOf(await captured(), 'secret');
    memory = new CaptureMemory();
    await enrolTogether([a], { group: GROUP, version: 2 });
    const look = a.provider.look.bind(a.provider);
    a.provider.look = async (options) => {
      const { objects, ...rest } = await look(options);
      const isSecret = ({ attributes: { label } }: (typeof objects)[number]): boolean =>
        Buffer.from(label ?? []).toString() === 'secret';
      const namelessOf = ({ keyType: _keyType, ...one }: (typeof objects)[number]): (typeof objects)[number] => ({
        ...one,
        objectClass: 'other',
        attributes: {},
        isPartlyRead: true,
      });
      return {
        ...rest,
        objects: objects.map((one) => (isSecret(one) ? namelessOf(one) : one)),
      };
    };
    const { sealed, held } = await capture({ domainKeyVersion: 2 });
    expect([sealed, held?.losses]).toEqual([undefined, [{ objectId, reason: 'unreadable' }]]);
    a.provider.look = look;
    expect((await captured({ domainKeyVersion: 2 })).generation.entries).toHaveLength(2);
    expect(a.hsm.objects).toContain(secret);
  });

  it('stays while it may lie hidden in the store, and is reported', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('other');
    await captured();
    a.hsm.objects.splice(a.hsm.objects.indexOf(secret), 1);
    const look = a.provider.look.bind(a.provider);
    let hidden = [{ id: 'ff'.repeat(16), hasContent: true, seenTwice: false }];
    a.provider.look = async (options) => ({ ...(await look(options)), hidden });
    const labels = ({ generation }: SealedGeneration): string[] => generation.entries.map(labelOf).sort();
    // Another process may be making what only one look saw. Nobody knows yet, so nothing is buried.
    const first = await captured();
    expect([labels(first), reasonsOf(first)]).toEqual([['other', 'secret'], ['unreadable']]);
    hidden = hidden.map((one) => ({ ...one, seenTwice: true }));
    const second = await captured();
    expect([labels(second), reasonsOf(second)]).toEqual([
      ['other', 'secret'],
      ['unreadable', 'unreadable'],
    ]);
    expect((await capture()).sealed).toBeUndefined();
    memory = new CaptureMemory();
    expect((await capture()).sealed).toBeUndefined();
    const later = { domainKeyVersion: 2 };
    await enrolTogether([a], { group: GROUP, version: 2 });
    const { objectId } = entryOf(second, 'secret');
    expect((await capture(later)).held?.losses).toEqual([{ objectId, reason: 'unreadable' }]);
    hidden = [];
    const gone = await captured();
    expect([labels(gone), gone.generation.tombstones.map(({ entry }) => labelOf(entry))]).toEqual([
      ['other'],
      ['secret'],
    ]);
  });

  it('is deleted although something lies hidden in the store that lay there before', async () => {
    const secret = a.hsm.addSecret('secret');
    const look = a.provider.look.bind(a.provider);
    const hidden = [{ id: 'ff'.repeat(16), hasContent: false, seenTwice: true }];
    a.provider.look = async (options) => ({ ...(await look(options)), hidden });
    expect(reasonsOf(await captured())).toEqual([]);
    a.hsm.objects.splice(a.hsm.objects.indexOf(secret), 1);
    expect((await captured()).generation.entries).toEqual([]);
  });

  it('stays if only the second look of a reseal misses it', async () => {
    const secret = a.hsm.addSecret('secret');
    const first = entryOf(await captured(), 'secret');
    await enrolTogether([a], { group: GROUP, version: 2 });
    missing(2, [secret]);
    const read = a.provider.read.bind(a.provider);
    a.provider.read = async (handles, ...rest) => {
      if (!a.hsm.objects.includes(secret)) a.hsm.objects.push(secret);
      return read(handles, ...rest);
    };
    const { generation } = await captured({ domainKeyVersion: 2 });
    expect(generation.entries).toMatchObject([{ objectId: first.objectId }]);
    expect([generation.uncaptured, generation.tombstones]).toEqual([[], []]);
  });

  it('is sealed again if a data object has another value under the same handle', async () => {
    const data = a.hsm.addData('data', Buffer.from('value'));
    const first = entryOf(await captured(), 'data');
    data.value = Buffer.from('other');
    const { sealedObjects, sealed } = await capture();
    const second = entryOf(sealed!, 'data');
    expect([sealedObjects, second.objectId]).toEqual([1, first.objectId]);
    expect(second.blobSha256).not.toBe(first.blobSha256);
    expect(second.valueTag).not.toEqual(first.valueTag);
  });

  it('holds a reseal if the token fails to give it', async () => {
    a.hsm.addSecret('secret');
    const { objectId } = entryOf(await captured(), 'secret');
    await enrolTogether([a], { group: GROUP, version: 2 });
    const answerAgain = refusing('unreadable');
    const { sealed, held } = await capture({ domainKeyVersion: 2 });
    expect([sealed, held?.losses]).toEqual([undefined, [{ objectId, reason: 'unreadable' }]]);
    answerAgain();
    expect(entryOf(await captured({ domainKeyVersion: 2 }), 'secret').objectId).toBe(objectId);
  });

  it('keeps its entry if a data object with another value is not given, and the rest goes on', async () => {
    const data = a.hsm.addData('data', Buffer.from('value'));
    const first = await captured();
    data.value = Buffer.from('other');
    a.hsm.addData('more', Buffer.from('more'));
    const sealData = a.provider.sealData.bind(a.provider);
    a.provider.sealData = async (options) =>
      (await sealData(options)).map((outcome, index) =>
        index === 0 ? { handle: outcome.handle, reason: 'unreadable' } : outcome,
      );
    const { sealed, sealedObjects } = await capture();
    expect([entryOf(sealed!, 'data'), sealedObjects]).toEqual([entryOf(first, 'data'), 1]);
    expect([labelOf(entryOf(sealed!, 'more')), reasonsOf(sealed!)]).toEqual(['more', ['unreadable']]);
    a.provider.sealData = sealData;
    const next = await captured();
    expect(entryOf(next, 'data').blobSha256).not.toBe(entryOf(first, 'data').blobSha256);
    expect(reasonsOf(next)).toEqual([]);
  });

  it('keeps its entry if a data object grows too large, and is reported', async () => {
    const data = a.hsm.addData('data', Buffer.from('value'));
    const first = await captured();
    data.value = new Uint8Array(VALUE_BYTES_MAX + 1);
    const second = await captured();
    expect([second.generation.entries, reasonsOf(second)]).toEqual([first.generation.entries, ['too-large']]);
  });

  it('keeps its identity if an attribute changes before a reseal', async () => {
    const secret = a.hsm.addSecret('before');
    const first = entryOf(await captured(), 'before');
    await enrolTogether([a], { group: GROUP, version: 2 });
    a.hsm.onInventory = (pass) => {
      if (pass === 4) secret.attributes = { ...secret.attributes, label: Buffer.from('after') };
    };
    const second = await captured({ domainKeyVersion: 2 });
    const { blobSha256, ...same } = entryOf(second, 'before');
    expect({ ...same, blobSha256: first.blobSha256 }).toEqual(first);
    expect(blobSha256).not.toBe(first.blobSha256);
    expect(entryOf(await captured({ domainKeyVersion: 2 }), 'after').objectId).toBe(first.objectId);
  });
});

describe('a generation that was signed and not stored', () => {
  it('leaves no trace: the next capture finds the same objects to be new', async () => {
    a.hsm.addSecret('old');
    const first = await captured();
    a.hsm.addSecret('new');
    const checkFence = (): void => {
      throw new AntipodeError('LEASE_LAPSED', 'no lease');
    };
    expect((await rejection(capture({ checkFence }))).code).toBe('LEASE_LAPSED');
    // And one that the disk did not take: the generation before is still the newest.
    await capture();
    newest = first;
    const { sealedObjects, sealed } = await capture();
    expect([sealedObjects, sealed!.generation.entries.map(labelOf).sort()]).toEqual([1, ['new', 'old']]);
    expect(entryOf(sealed!, 'old')).toEqual(entryOf(first, 'old'));
  });
});

describe('a new domain key version', () => {
  it('seals everything again, and objects keep their identity', async () => {
    a.hsm.addSecret('secret');
    a.hsm.addEcPair('pair');
    a.hsm.addData('data', Buffer.from('value'));
    const first = await captured();
    await enrolTogether([a], { group: GROUP, version: 2 });
    const second = await captured({ domainKeyVersion: 2 });
    const ids = (sealed: SealedGeneration) => sealed.generation.entries.map((entry) => entry.objectId);
    expect(ids(second)).toEqual(ids(first));
    const sealedBy = (sealed: SealedGeneration) =>
      new Set(sealed.generation.entries.flatMap(({ blobSha256 }) => blobSha256 ?? []));
    expect(sealedBy(first).intersection(sealedBy(second)).size).toBe(0);
    expect(second.generation.dataKeys).toHaveLength(1);
    expect(second.generation.dataKeys).not.toEqual(first.generation.dataKeys);
    expect((await capture({ domainKeyVersion: 2 })).sealed).toBeUndefined();
  });
});

describe('a shell pattern', () => {
  const alphabet = fc.constantFrom('a', 'b', '.', '\n');
  const label = fc.string({ unit: fc.oneof(alphabet, fc.constantFrom('*', '?')), maxLength: 8 });
  const pattern = fc.string({ unit: fc.oneof(alphabet, fc.constantFrom('*', '?')), maxLength: 6 });

  it('matches what the same regular expression matches', () => {
    fc.assert(
      fc.property(label, pattern, (text, wanted) => {
        const source = wanted.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.');
        expect(matchesPattern(text, wanted)).toBe(new RegExp(`^${source}$`, 's').test(text));
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes a question mark or an asterisk in a label literally', () => {
    expect(matchesPattern('*', '?')).toBe(true);
    expect(matchesPattern('a', '\\*')).toBe(false);
    expect(matchesPattern('a*c', 'a*c')).toBe(true);
  });

  it('stays fast where a regular expression would not end', () => {
    expect(matchesPattern('a'.repeat(5_000), `${'*a'.repeat(50)}*b`)).toBe(false);
  });
});

it('takes certificates and public keys while the manifest has room, and keeps them', async () => {
  const certificates = Array.from({ length: 4 }, (_, index) => a.hsm.addCertificate(`certificate ${index}`));
  a.hsm.addSecret('secret');
  const first = await capture({ shownBytesMax: 2_000 });
  expect(first.sealed?.generation.entries).toHaveLength(5);
  for (let index = 4; index < 12; index += 1) a.hsm.addCertificate(`certificate ${index}`);
  a.hsm.addSecret('another');
  const second = await capture({ shownBytesMax: 2_000 });
  const { entries, uncaptured } = second.sealed!.generation;
  const left = uncaptured.map(({ objectClass, reason }) => `${objectClass} ${reason}`);
  expect(new Set(left)).toEqual(new Set(['certificate too-large']));
  expect(entries.filter(({ objectClass }) => objectClass === 'secret-key')).toHaveLength(2);
  const before = new Set(first.sealed!.generation.entries.map(({ objectId }) => objectId));
  expect(entries.filter(({ objectId }) => before.has(objectId))).toHaveLength(5);
  expect(entries.length - 2 + left.length).toBe(12);
  // Room that becomes free is used.
  for (const one of certificates) a.hsm.remove(one);
  const third = await capture({ shownBytesMax: 20_000 });
  expect(third.sealed?.generation.uncaptured).toEqual([]);
});
