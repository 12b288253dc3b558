/** Keys that devices copy among themselves: captured without a blob, copied, compared, proved, deleted and drilled. */
import { sha256 } from '@antipode/runtime';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CaptureOptions } from '../capture/capture-context.ts';
import { CaptureMemory } from '../capture/capture-memory.ts';
import { type Entry, isByDevice, isNative, type SealedGeneration } from '../model/generation.ts';
import { encodeManifest } from '../model/manifest/manifest-writer.ts';
import { MemoryJournal } from '../testing/memory-journal.ts';
import { SimulatedGroup } from '../testing/simulated-group.ts';
import type { SimulatedMember } from '../testing/simulated-member.ts';
import { rehearse } from './rehearsal.ts';
import { ReplicaMemory } from './replica.ts';
import { setAside } from './set-aside.ts';

const CLONING_KEY = sha256(Buffer.from('one cloning domain'));
const UNEXTRACTABLE = { extractable: false, neverExtractable: true };

let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;
let c: SimulatedMember;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b', 'c');
  group = made.group;
  [a, b, c] = made.members as [SimulatedMember, SimulatedMember, SimulatedMember];
  for (const { hsm } of [a, b, c]) hsm.cloningKey = CLONING_KEY;
  a.hsm.sees = [b.hsm];
  b.hsm.sees = [a.hsm];
  c.hsm.sees = [a.hsm, b.hsm];
  a.hsm.addSecret('wrapped');
  a.hsm.addSecret('secret', UNEXTRACTABLE);
  a.hsm.addEcPair('pair', UNEXTRACTABLE);
});

async function captured(member = a, options: Partial<CaptureOptions> = {}): Promise<SealedGeneration> {
  const { sealed, held } = await group.capture(member, { movement: 'native', ...options });
  if (sealed === undefined) throw new Error(`nothing new, ${held?.losses.length ?? 0} losses`);
  return sealed;
}

const labelOf = ({ attributes }: Pick<Entry, 'attributes'>): string => Buffer.from(attributes.label ?? []).toString();
const devices = ({ generation }: SealedGeneration): Entry[] => generation.entries.filter(isByDevice);
const labels = (sealed: SealedGeneration): string[] => devices(sealed).map(labelOf).sort();
const codesOf = (refused: readonly { code: string }[]): string[] => refused.map(({ code }) => code);

describe('a capture', () => {
  it('says of keys that no token wraps that their devices move them, and makes no blob of them', async () => {
    const sealed = await captured();
    expect([labels(sealed), sealed.generation.uncaptured]).toEqual([['pair', 'secret'], []]);
    for (const entry of devices(sealed)) {
      expect([entry.blobSha256, entry.dataKeyId, entry.blobSize, isNative(entry)]).toEqual([
        undefined,
        undefined,
        0,
        true,
      ]);
      expect(entry.objectClass === 'secret-key' ? entry.vectors?.length : entry.publicHalf?.length).toBeGreaterThan(0);
    }
    expect(sealed.generation.dataKeys).toEqual([]);
    // The format is the second byte of a manifest.
    expect(encodeManifest(sealed.generation)[1]).toBe(5);
  });

  it('keeps the entry of an unchanged key, and takes it again when its partition gives blobs', async () => {
    const before = await captured();
    expect((await group.capture(a, { movement: 'native' })).sealed).toBeUndefined();
    a.hsm.sees = undefined;
    const sealed = await captured(a, { previous: before, memory: new CaptureMemory() });
    expect(devices(sealed)).toEqual([]);
    expect(sealed.generation.entries.filter(isNative)).toHaveLength(2);
    const ids = (one: SealedGeneration): string[] => one.generation.entries.map(({ objectId }) => objectId).sort();
    expect(ids(sealed)).toEqual(ids(before));
  });
});

describe('a standby', () => {
  it('has the devices copy the keys, and proves them', async () => {
    const sealed = await captured();
    const { refused } = await group.apply(b, sealed);
    expect([refused, b.hsm.contents()]).toEqual([[], a.hsm.contents()]);
    const { contentDigest, proof } = await group.verify(b, sealed);
    expect([contentDigest, proof.failed, proof.proved]).toEqual([sealed.contentDigest, 0, 4]);
    expect((await group.apply(b, sealed, { previous: [sealed] })).applied).toEqual([]);
  });

  it('has everything that is sealed while its source is away, and the rest when it is back', async () => {
    const sealed = await captured();
    a.hsm.isReached = false;
    const away = await group.apply(b, sealed);
    expect([codesOf(away.refused), away.applied.length]).toEqual([
      ['NATIVE_SOURCE_UNREACHED', 'NATIVE_SOURCE_UNREACHED'],
      2,
    ]);
    a.hsm.isReached = true;
    const { refused } = await group.apply(b, sealed);
    expect([refused, b.hsm.contents()]).toEqual([[], a.hsm.contents()]);
  });

  it('leaves the devices to its caller, who applies again with what they said', async () => {
    const sealed = await captured();
    const first = await group.apply(b, sealed, { copies: new Map() });
    expect([codesOf(first.refused), first.applied.length]).toEqual([['NATIVE_CLONING', 'NATIVE_CLONING'], 2]);
    expect(b.hsm.labelled('secret')).toEqual([]);
    const [secret, pair] = first.uncopied;
    const outcomes = await b.provider.cloneNative({
      domainKey: b.keyring.domainKey(sealed.generation.group, sealed.generation.domainKeyVersion).handle,
      source: a.serial,
      items: [secret!.item],
    });
    expect(outcomes).toHaveLength(1);
    const copies = new Map([[pair!.objectId, { code: 'NATIVE_SOURCE_UNREACHED' as const }]]);
    const second = await group.apply(b, sealed, { copies });
    expect(codesOf(second.refused)).toEqual(['NATIVE_SOURCE_UNREACHED']);
    expect(second.uncopied.map(({ objectId }) => objectId)).toEqual([pair!.objectId]);
    expect((await group.apply(b, sealed)).refused).toEqual([]);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
  });

  it('has an exception for a key that its source does not have any more', async () => {
    const sealed = await captured();
    a.hsm.remove(a.hsm.labelled('secret')[0]!);
    const { refused } = await group.apply(b, sealed);
    expect(codesOf(refused)).toEqual(['NATIVE_NOT_CLONED']);
  });

  it('is not failed as a whole where nothing but its devices could move anything', async () => {
    for (const object of [...a.hsm.labelled('wrapped'), ...a.hsm.labelled('pair')])
      if (object.objectClass !== 'private-key') a.hsm.remove(object);
    const sealed = await captured();
    expect(sealed.generation.entries).toHaveLength(2);
    a.hsm.isReached = false;
    expect((await group.apply(b, sealed)).refused).toHaveLength(2);
  });

  it('copies from another member that its client sees, if the active one is away', async () => {
    const sealed = await captured();
    await group.apply(b, sealed);
    a.hsm.isReached = false;
    expect((await group.apply(c, sealed)).refused).toEqual([]);
    expect(c.hsm.contents()).toEqual(a.hsm.contents());
  });

  it('keeps nothing that differs from the manifest', async () => {
    const sealed = await captured();
    Object.assign(a.hsm.labelled('secret')[0]!.attributes, { wrap: true });
    const { refused } = await group.apply(b, sealed);
    expect(codesOf(refused)).toEqual(['NATIVE_MISMATCH']);
    expect(b.hsm.labelled('secret')).toEqual([]);
  });

  it('keeps nothing that has another value', async () => {
    const sealed = await captured();
    const { value: _value, ...rest } = a.hsm.labelled('secret')[0]!;
    a.hsm.remove(a.hsm.labelled('secret')[0]!);
    a.hsm.objects.push({ ...rest, value: a.hsm.prng.bytes(32) });
    const { refused } = await group.apply(b, sealed);
    expect(codesOf(refused)).toEqual(['OBJECT_UNPROVEN']);
    expect(b.hsm.labelled('secret')).toEqual([]);
  });

  it('gets everything else where its partition moves keys in another way', async () => {
    const sealed = await captured();
    for (const [change, code] of [
      [{ cloningKey: sha256(Buffer.from('another')) }, 'CLONING_DOMAIN_OTHER'],
      [{ cloningKey: CLONING_KEY, sees: undefined }, 'NATIVE_UNAVAILABLE'],
      [{ cloningKey: undefined }, 'NATIVE_UNAVAILABLE'],
    ] as const) {
      Object.assign(b.hsm, change);
      const { refused } = await group.apply(b, sealed);
      expect(codesOf(refused)).toEqual([code, code]);
    }
  });

  it('gives its copy the attributes that its source has now, without a second copy', async () => {
    const before = await captured();
    await group.apply(b, before);
    const label = Buffer.from('renamed');
    Object.assign(a.hsm.labelled('secret')[0]!.attributes, { label, wrap: true });
    const sealed = await captured(a, { previous: before });
    a.hsm.isReached = false;
    const { refused, applied } = await group.apply(b, sealed, { previous: [before] });
    expect([refused, applied.length, b.hsm.contents()]).toEqual([[], 1, a.hsm.contents()]);
  });

  it('tells keys apart that are alike in everything but their values', async () => {
    for (let count = 0; count < 3; count += 1) a.hsm.addSecret('alike', UNEXTRACTABLE);
    const sealed = await captured();
    const { refused } = await group.apply(b, sealed);
    expect([refused, b.hsm.contents()]).toEqual([[], a.hsm.contents()]);
  });

  it('goes on as the active member with the same entries', async () => {
    const before = await captured();
    await group.apply(b, before);
    const sealed = await captured(b, { epoch: 2n, hasRestored: true });
    const plain = (one: SealedGeneration): Entry[] => devices(one).map((entry) => ({ ...entry }));
    expect([plain(sealed), sealed.generation.tombstones]).toEqual([plain(before), []]);
    await group.apply(a, sealed, { previous: [before] });
    expect(a.hsm.contents()).toEqual(b.hsm.contents());
  });

  it('that lacks keys as the active member loses none to a new domain key unless an operator says so', async () => {
    const first = await captured();
    a.hsm.isReached = false;
    await group.apply(b, first);
    a.hsm.isReached = true;
    const { refused } = await group.apply(c, first);
    expect(refused).toEqual([]);
    const [secret, pair] = ['secret', 'pair'].map((label) => devices(first).find((one) => labelOf(one) === label)!);
    // A token can refuse what the manifest itself has, too.
    const shown = first.generation.entries.find(({ objectClass }) => objectClass === 'public-key')!;
    b.hsm.remove(b.hsm.objects.find(({ objectClass }) => objectClass === 'public-key')!);
    const unrestored = new Set([secret!.objectId, pair!.objectId, shown.objectId]);
    await group.rotate([a, b, c], 2);
    const order = { epoch: 2n, hasRestored: true, unrestored, memory: new CaptureMemory() };
    // The tags that show the secret are under the former domain key. Nothing of the private key is.
    const { sealed, held } = await group.capture(b, { movement: 'native', ...order });
    expect([sealed?.generation.number, held?.losses]).toEqual([
      undefined,
      [{ objectId: secret!.objectId, reason: 'unreadable' }],
    ]);
    const ids = (one: SealedGeneration): string[] => one.generation.entries.map(({ objectId }) => objectId).sort();
    const moved = await captured(c, { epoch: 3n, hasRestored: true, previous: first, memory: new CaptureMemory() });
    expect([ids(moved), moved.generation.uncaptured]).toEqual([ids(first), []]);
    group.newest = first;
    const accepted = new Set([secret!.objectId]);
    const second = await captured(b, { ...order, accepted });
    expect([labels(second), second.generation.tombstones]).toEqual([['pair'], []]);
    expect(ids(second)).toEqual(ids(first).filter((objectId) => objectId !== secret!.objectId));
    expect({ ...devices(second)[0]! }).toEqual({ ...pair! });
    const reported = second.generation.uncaptured.map(({ objectId, reason }) => [objectId, reason]).sort();
    expect(reported).toEqual([...unrestored].map((objectId) => [objectId, 'unreadable']).sort());
    const before = c.hsm.labelled('pair');
    const atC = await group.apply(c, second, { previous: [first] });
    await group.bury(c, second, { previous: [first] });
    expect(atC.divergent).toBe(1);
    expect([atC.refused, c.hsm.labelled('pair'), c.hsm.labelled('secret').length]).toEqual([[], before, 1]);
    expect((await group.verify(c, second)).proof.failed).toBe(0);
  });

  it('destroys what was deleted at the source, and does not ask for a blob of it', async () => {
    const first = await captured();
    await group.apply(b, first);
    a.hsm.remove(a.hsm.labelled('secret')[0]!);
    const second = await captured();
    await group.apply(b, second, { previous: [first] });
    const { buried } = await group.bury(b, second, { previous: [first] });
    expect([buried.length, b.hsm.labelled('secret')]).toEqual([1, []]);
  });

  it('does not set aside a key that is sealed nowhere', async () => {
    const first = await captured();
    await group.apply(b, first);
    // Another key has its name, so it would have to give way.
    const mine = b.hsm.addSecret('secret', UNEXTRACTABLE);
    const newest = await captured(a, { epoch: 2n });
    const stored: unknown[] = [];
    const { left } = await setAside({
      ...b,
      target: newest,
      previous: [first],
      memory: new ReplicaMemory(),
      journal: new MemoryJournal(),
      checkFence: () => {},
      wasActive: true,
      movement: 'native',
      store: async (sealed) => void stored.push(sealed),
    });
    expect([left, stored, b.hsm.objects.includes(mine)]).toEqual([1, [], true]);
  });
});

describe('a drill', () => {
  it('copies into the scratch partition, uses every key, and empties it', async () => {
    const sealed = await captured();
    const { hsm } = c;
    const own = hsm.objects.length;
    const { proof, isEqual, isClean } = await rehearse({
      ...c,
      target: sealed,
      blobOf: (digest) => group.blobs.get(digest)!,
    });
    expect([proof.proved, proof.failed, isEqual, isClean]).toEqual([4, 0, true, true]);
    expect(hsm.objects).toHaveLength(own);
  });

  it('does not pass while no partition is reached that the keys could come from', async () => {
    const sealed = await captured();
    a.hsm.isReached = false;
    const { proof, isClean } = await rehearse({ ...c, target: sealed, blobOf: (digest) => group.blobs.get(digest)! });
    expect([proof.failed, isClean]).toEqual([2, true]);
  });
});
