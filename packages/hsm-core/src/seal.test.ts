import { AntipodeError, hex, sha256Hex } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Entry, openSigned, type SealedGeneration } from './model/generation.ts';
import { CaptureMemory, matchesPattern, type SealOptions, type SealResult, seal } from './seal.ts';
import { enrolTogether, privateKey, SimulatedMember } from './testing/index.ts';

fc.configureGlobal({ seed: 2026 });

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

async function capture(options: Partial<SealOptions> = {}): Promise<SealResult> {
  const result = await seal({
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

const captured = async (options: Partial<SealOptions> = {}): Promise<SealedGeneration> =>
  (await capture(options)).sealed!;
const labelOf = ({ attributes }: Entry): string => Buffer.from(attributes.label ?? []).toString();
const entryOf = (sealed: SealedGeneration, label: string): Entry =>
  sealed.generation.entries.find((entry) => labelOf(entry) === label)!;
const reasonsOf = (sealed: SealedGeneration): string[] =>
  sealed.generation.uncaptured.map(({ reason }) => reason).sort();

describe('a capture', () => {
  it('seals every object with all it needs, signed by the identity of the partition, and nothing of its own', async () => {
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
    expect([sealedObjects, captureStartedMs]).toEqual([3, clock.wallMs()]);
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

  it('puts no value that is secret into manifest or blobs', async () => {
    const secret = a.hsm.addSecret('secret').value!;
    const scalar = Buffer.from(privateKey(a.hsm.addEcPair('pair')).export({ format: 'jwk' }).d!, 'base64url');
    const data = a.hsm.addData('data', Buffer.from('0123456789abcdef')).value!;
    const sealed = await captured();
    const everything = [sealed.signed, ...blobs.values()].map(hex).join(' ');
    expect(everything).toContain(hex(Buffer.from('secret')));
    for (const value of [secret, scalar, data]) expect(everything).not.toContain(hex(value));
  });

  it('says nothing new when nothing has changed, also after a restart, and the recovery point moves on', async () => {
    a.hsm.addSecret('secret');
    a.hsm.addData('data', Buffer.from('value'));
    await capture();
    await clock.advance(60_000);
    expect(await capture()).toEqual({ captureStartedMs: clock.wallMs(), sealedObjects: 0, blobs: new Map() });
    await a.reopen();
    memory = new CaptureMemory();
    expect((await capture()).sealed).toBeUndefined();
  });

  it('seals only what is new, and keeps every other entry as it was', async () => {
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

  it('seals nothing anew for a changed attribute: identity and blob stay', async () => {
    const secret = a.hsm.addSecret('old name');
    const before = entryOf(await captured(), 'old name');
    secret.attributes = { ...secret.attributes, label: Buffer.from('new name') };
    const { sealed, sealedObjects } = await capture();
    expect(sealedObjects).toBe(0);
    expect(entryOf(sealed!, 'new name')).toEqual({
      ...before,
      attributes: { ...before.attributes, label: Buffer.from('new name') },
    });
  });

  it('gives equal copies of one key an identity each, and keeps them apart', async () => {
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

  it('asks for the fence right before it signs, and gives nothing when that throws', async () => {
    a.hsm.addSecret('secret');
    const checkFence = (): void => {
      throw new AntipodeError('EPOCH_STALE', 'the tenure is over');
    };
    expect((await rejection(capture({ checkFence }))).code).toBe('EPOCH_STALE');
    await capture();
    expect((await capture({ checkFence })).sealed).toBeUndefined();
  });

  it('throws DOMAIN_KEY_MISSING under a version that the partition does not hold', async () => {
    a.hsm.addSecret('secret');
    expect((await rejection(capture({ domainKeyVersion: 2 }))).code).toBe('DOMAIN_KEY_MISSING');
  });
});

describe('what cannot be captured is named with its reason:', () => {
  it.each<[string, () => void]>([
    ['unextractable', () => a.hsm.addSecret('x', { extractable: false })],
    ['wrap-with-trusted', () => a.hsm.addSecret('x', { wrapWithTrusted: true })],
    ['length-not-multiple-of-8', () => a.hsm.addSecret('x', { keyType: 'generic-secret', bytes: 13 })],
    ['length-unknown', () => (a.hsm.addSecret('x', { keyType: 'generic-secret' }).sizeBits = 0)],
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

  it('excluded, by class, id or label, from the moment the filter says so', async () => {
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
  it('waits as settling when it is new, and is captured whole the next time', async () => {
    a.hsm.onInventory = (pass) => {
      if (pass === 2) a.hsm.addSecret('just made');
    };
    const first = await captured();
    expect([reasonsOf(first), first.generation.entries]).toEqual([['settling'], []]);
    expect((await captured()).generation.entries.map(labelOf)).toEqual(['just made']);
  });

  it('is not captured half made: an object that differs between two looks waits too', async () => {
    const fresh = a.hsm.addSecret('');
    a.hsm.onInventory = (pass) => {
      if (pass === 2) fresh.attributes = { ...fresh.attributes, label: Buffer.from('now named') };
    };
    expect(reasonsOf(await captured())).toEqual(['settling']);
    expect((await captured()).generation.entries.map(labelOf)).toEqual(['now named']);
  });

  it('stays as it was captured before when it is known, and changes the next time', async () => {
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
  it('becomes a tombstone with its entry, once, and stays one', async () => {
    const secret = a.hsm.addSecret('secret');
    a.hsm.addSecret('kept');
    const entry = entryOf(await captured(), 'secret');
    a.hsm.remove(secret);
    await clock.advance(1_000);
    const second = await captured();
    const tombstone = { entry, epoch: 1n, generation: 2n, deletedMs: clock.wallMs() };
    expect(second.generation.tombstones).toEqual([tombstone]);
    expect((await capture()).sealed).toBeUndefined();
    a.hsm.addSecret('more');
    expect((await captured()).generation.tombstones).toEqual([tombstone]);
  });

  it('is itself again when the same key comes back in the same tenure', async () => {
    const secret = a.hsm.addSecret('secret');
    const first = await captured();
    a.hsm.remove(secret);
    await capture();
    a.hsm.objects.push({ ...secret });
    const third = await captured();
    expect(third.generation.tombstones).toEqual([]);
    expect(entryOf(third, 'secret').objectId).toBe(entryOf(first, 'secret').objectId);
  });
});

describe('a new domain key version', () => {
  it('seals everything anew, and objects keep their identity', async () => {
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
  const label = fc.string({ unit: alphabet, maxLength: 8 });
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

  it('takes a question mark or an asterisk in a label for itself', () => {
    expect(matchesPattern('*', '?')).toBe(true);
    expect(matchesPattern('a', '\\*')).toBe(false);
    expect(matchesPattern('a*c', 'a*c')).toBe(true);
  });

  it('stays quick where a regular expression would not end', () => {
    expect(matchesPattern('a'.repeat(5_000), `${'*a'.repeat(50)}*b`)).toBe(false);
  });
});
