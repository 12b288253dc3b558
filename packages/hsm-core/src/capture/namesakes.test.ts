/**
 * Damaged, or replaced? Storage that rots and applications that replace keys under their names, in a simulated token.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Entry, SealedGeneration } from '../model/generation.ts';
import type { ObservedObject } from '../model/object.ts';
import type { Examined } from '../objects/recognise.ts';
import { SimulatedGroup, type SimulatedMember, type StoredObject } from '../testing/index.ts';
import { CaptureMemory } from './capture-memory.ts';
import { judge } from './namesakes.ts';

let group: SimulatedGroup;
let a: SimulatedMember;
let memory: CaptureMemory;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a');
  group = made.group;
  [a] = made.members as [SimulatedMember];
  memory = new CaptureMemory();
});

const capture = (options: Parameters<SimulatedGroup['capture']>[1] = {}) => group.capture(a, { memory, ...options });

async function captured(options: Parameters<SimulatedGroup['capture']>[1] = {}): Promise<SealedGeneration> {
  const { sealed, held } = await capture(options);
  expect(held).toBeUndefined();
  return sealed ?? group.newest!;
}

/** Another worker: other handles, and nothing is remembered. */
async function restart(): Promise<void> {
  await a.reopen();
  memory = new CaptureMemory();
}

function rot(object: StoredObject): void {
  const value = Uint8Array.from(object.value!);
  value[value.length >> 1]! ^= 0x40;
  object.value = value;
}

const summary = ({ generation: { entries, uncaptured, tombstones } }: SealedGeneration) => ({
  entries: entries.length,
  uncaptured: uncaptured.map(({ reason }) => reason),
  tombstones: tombstones.length,
});

const NONE: Uint8Array = new Uint8Array();

describe('a secret with a damaged value', () => {
  it('counts as damaged after a restart: its blob stays, and it is reported', async () => {
    const secret = a.hsm.addSecret('secret');
    const first = await captured();
    rot(secret);
    await restart();
    const second = await captured();
    expect(summary(second)).toEqual({ entries: 1, uncaptured: ['value-changed'], tombstones: 0 });
    expect(second.generation.entries).toEqual(first.generation.entries);
    // And so it stays, until somebody says otherwise.
    await restart();
    expect((await capture()).sealed).toBeUndefined();
    const { objectId } = first.generation.entries[0]!;
    const accepted = await captured({ accepted: new Set([objectId]) });
    expect(summary(accepted)).toEqual({ entries: 1, uncaptured: [], tombstones: 1 });
    expect(accepted.generation.entries[0]!.objectId).not.toBe(objectId);
  });

  it('counts as damaged even without a check value, if nothing else tells', async () => {
    const secret = a.hsm.addSecret('secret', { checkValue: NONE });
    await captured();
    rot(secret);
    await restart();
    expect(summary(await captured())).toEqual({ entries: 1, uncaptured: ['value-changed'], tombstones: 0 });
  });

  it('holds a change of the domain key, which would drop it', async () => {
    const secret = a.hsm.addSecret('secret');
    await captured();
    rot(secret);
    await restart();
    await captured();
    await group.rotate([a], 2);
    const { sealed, held } = await capture();
    expect([sealed, held?.losses.map(({ reason }) => reason)]).toEqual([undefined, ['value-changed']]);
    const accepted = new Set(held!.losses.map(({ objectId }) => objectId));
    expect(summary(await captured({ accepted }))).toEqual({ entries: 1, uncaptured: [], tombstones: 1 });
  });
});

describe('a secret that another one replaces under its names', () => {
  it.each([true, false])('is another one by its check value (in the same process: %s)', async (isKnown) => {
    a.hsm.remove(a.hsm.addSecret('other'));
    const secret = a.hsm.addSecret('secret');
    await captured();
    a.hsm.remove(secret);
    a.hsm.addSecret('secret');
    if (!isKnown) await restart();
    expect(summary(await captured())).toEqual({ entries: 1, uncaptured: [], tombstones: 1 });
  });

  it('is another one by its handle if its token shows no check value', async () => {
    const secret = a.hsm.addSecret('secret', { checkValue: NONE });
    await captured();
    a.hsm.remove(secret);
    a.hsm.addSecret('secret', { checkValue: NONE });
    expect(summary(await captured())).toEqual({ entries: 1, uncaptured: [], tombstones: 1 });
  });

  it('is another one if its check value is gone and nothing was ever restored here', async () => {
    const secret = a.hsm.addSecret('secret');
    await captured();
    a.hsm.remove(secret);
    a.hsm.addSecret('secret', { checkValue: NONE });
    await restart();
    expect(summary(await captured())).toEqual({ entries: 1, uncaptured: [], tombstones: 1 });
  });

  it('needs an operator at a promoted standby, where no key shows a check value', async () => {
    const secret = a.hsm.addSecret('secret');
    await captured();
    a.hsm.remove(secret);
    a.hsm.addSecret('secret', { checkValue: NONE });
    await restart();
    const sealed = await captured({ hasRestored: true });
    expect(summary(sealed)).toEqual({ entries: 1, uncaptured: ['value-changed'], tombstones: 0 });
  });

  it.each([true, false])(
    'by an unextractable one is not in force any more (in the same process: %s)',
    async (isKnown) => {
      const secret = a.hsm.addSecret('secret', { checkValue: NONE });
      await captured();
      a.hsm.remove(secret);
      a.hsm.addSecret('secret', { checkValue: NONE, extractable: false });
      if (!isKnown) await restart();
      expect(summary(await captured())).toEqual({ entries: 0, uncaptured: ['unextractable'], tombstones: 1 });
    },
  );

  it('is another one under a reused handle', async () => {
    const secret = a.hsm.addSecret('old');
    const other = a.hsm.addSecret('new');
    a.hsm.remove(other);
    const first = await captured();
    // The device gives its handle to the next object.
    Object.assign(secret, other);
    const second = await captured();
    expect(summary(second)).toEqual({ entries: 1, uncaptured: [], tombstones: 1 });
    expect(second.generation.entries[0]!.blobSha256).not.toBe(first.generation.entries[0]!.blobSha256);
  });
});

describe('a readable value', () => {
  it('of a certificate is damaged if a few bytes differ, and replaced if most do', async () => {
    const certificate = a.hsm.addCertificate('certificate');
    const first = await captured();
    const value = Uint8Array.from(certificate.attributes.value!);
    value[100]! ^= 1;
    certificate.attributes = { ...certificate.attributes, value };
    await restart();
    const second = await captured();
    expect(summary(second)).toEqual({ entries: 1, uncaptured: ['value-changed'], tombstones: 0 });
    expect(second.generation.entries).toEqual(first.generation.entries);
    a.hsm.remove(certificate);
    a.hsm.addCertificate('certificate');
    await restart();
    expect(summary(await captured())).toEqual({ entries: 1, uncaptured: [], tombstones: 1 });
  });

  it('of a replaced pair is another one, in both halves', async () => {
    a.hsm.addEcPair('pair');
    await captured();
    for (const half of a.hsm.labelled('pair')) a.hsm.remove(half);
    a.hsm.addEcPair('pair');
    await restart();
    expect(summary(await captured())).toEqual({ entries: 2, uncaptured: [], tombstones: 2 });
  });
});

describe('a capture that would lose more than it may', () => {
  const fill = (count: number): StoredObject[] =>
    Array.from({ length: count }, (_, index) => a.hsm.addSecret(`secret ${index}`));

  it('is held until an operator accepts the listed losses', async () => {
    const secrets = fill(6);
    const first = await captured();
    for (const secret of secrets) a.hsm.remove(secret);
    const { sealed, held } = await capture();
    expect([sealed, held?.losses.length, held?.limit]).toEqual([undefined, 6, 5]);
    expect(held?.losses.map(({ reason }) => reason)).toEqual(Array(6).fill('deleted'));
    expect(group.newest).toBe(first);
    const accepted = new Set(held!.losses.map(({ objectId }) => objectId));
    expect(summary(await captured({ accepted }))).toEqual({ entries: 0, uncaptured: [], tombstones: 6 });
  });

  it("is not held for few losses, for a tenth of many, or within the group's limit", async () => {
    const secrets = fill(70);
    await captured();
    for (const secret of secrets.slice(0, 7)) a.hsm.remove(secret);
    expect(summary(await captured())).toMatchObject({ entries: 63, tombstones: 7 });
    for (const secret of secrets.slice(7, 20)) a.hsm.remove(secret);
    expect((await capture()).held?.losses).toHaveLength(13);
    expect((await capture({ lossLimit: { objects: 13, percent: 0 } })).held).toBeUndefined();
  });

  it('is held if everything became unextractable at once', async () => {
    const secrets = fill(6);
    await captured();
    for (const secret of secrets) secret.attributes = { ...secret.attributes, extractable: false };
    expect((await capture()).held?.losses.map(({ reason }) => reason)).toEqual(Array(6).fill('unextractable'));
  });

  it('is held if many keys were replaced, and goes on when that is accepted', async () => {
    const secrets = fill(8);
    await captured();
    for (const secret of secrets) a.hsm.remove(secret);
    fill(8);
    const { sealed, held } = await capture();
    expect([sealed, held?.losses.map(({ reason }) => reason)]).toEqual([undefined, Array(8).fill('replaced')]);
    const accepted = new Set(held!.losses.map(({ objectId }) => objectId));
    expect(summary(await captured({ accepted }))).toMatchObject({ entries: 8, tombstones: 8 });
  });

  it('counts deleted and replaced objects together, and a key pair once', async () => {
    const secrets = fill(3);
    const pairs = Array.from({ length: 3 }, (_, index) => a.hsm.addEcPair(`pair ${index}`));
    await captured();
    for (const secret of secrets) a.hsm.remove(secret);
    for (const [index, pair] of pairs.entries()) {
      for (const half of a.hsm.labelled(`pair ${index}`)) if (half !== pair) a.hsm.remove(half);
      a.hsm.remove(pair);
      a.hsm.addEcPair(`pair ${index}`);
    }
    const reasons = (await capture()).held?.losses.map(({ reason }) => reason).sort();
    expect(reasons).toEqual([...Array(3).fill('deleted'), ...Array(3).fill('replaced')]);
    expect((await capture({ lossLimit: { objects: 6, percent: 0 } })).held).toBeUndefined();
  });

  it('ignores objects that anybody can make and destroy without a PIN', async () => {
    const strangers = Array.from({ length: 90 }, (_, index) => a.hsm.addCertificate(`certificate ${index}`));
    for (const one of strangers) one.attributes = { ...one.attributes, private: false };
    const secrets = fill(6);
    await captured();
    for (const secret of secrets) a.hsm.remove(secret);
    expect((await capture()).held).toMatchObject({ limit: 5, losses: { length: 6 } });
    a.hsm.objects.push(...secrets);
    for (const one of strangers) a.hsm.remove(one);
    expect(summary(await captured())).toEqual({ entries: 6, uncaptured: [], tombstones: 90 });
  });

  it('is held for certificates that only a login shows', async () => {
    const certificates = Array.from({ length: 6 }, (_, index) => a.hsm.addCertificate(`certificate ${index}`));
    for (const one of certificates) one.attributes = { ...one.attributes, private: true };
    await captured();
    for (const one of certificates) a.hsm.remove(one);
    expect((await capture()).held?.losses).toHaveLength(6);
  });

  it('is not held for a few replaced keys, or for renewed certificates', async () => {
    const secrets = fill(5);
    const certificates = Array.from({ length: 8 }, (_, index) => a.hsm.addCertificate(`certificate ${index}`));
    await captured();
    for (const one of [...secrets, ...certificates]) a.hsm.remove(one);
    fill(5);
    for (let index = 0; index < 8; index += 1) a.hsm.addCertificate(`certificate ${index}`);
    expect(summary(await captured())).toMatchObject({ entries: 13, tombstones: 13 });
  });
});

describe('a key with the names of a captured one, without check value or public half', () => {
  const circumstances = { handles: undefined, present: new Set([7n]), reusesHandles: false, hasRestored: true };
  const verdict = (
    objectClass: 'secret-key' | 'private-key',
    object: Partial<ObservedObject>,
    rest: Partial<Examined> = {},
  ): string => {
    const keyType = objectClass === 'secret-key' ? 'generic-secret' : 'rsa';
    const observed = { handle: 7n, objectClass, keyType, sizeBits: 256, attributes: {}, readDigest: '', ...object };
    const entry = { objectId: '01', objectClass, keyType, sizeBits: 256, attributes: {}, blobSha256: '00' };
    return judge({ object: observed as ObservedObject, ...rest }, entry as Entry, circumstances);
  };

  describe.each(['secret-key', 'private-key'] as const)('(%s)', (objectClass) => {
    it.each<[string, Partial<ObservedObject>, Partial<Examined>]>([
      ['does not let it go', { attributes: { extractable: false } }, {}],
      ['lets it go only to a trusted key', { attributes: { wrapWithTrusted: true } }, {}],
      ['lets it go only by a template', { hasTemplate: true }, {}],
      ['refuses it as unextractable', {}, { refusal: 'unextractable' }],
      ['refuses it as not wrappable', {}, { refusal: 'not-wrappable' }],
    ])('is another one where the token %s', (_what, object, rest) => {
      expect(verdict(objectClass, object, rest)).toBe('replaced');
    });

    it('counts as the same if the token could not answer just now', () => {
      expect([verdict(objectClass, {}), verdict(objectClass, {}, { refusal: 'unreadable' })]).toEqual(['same', 'same']);
    });
  });

  it('is another one if wrapping would pad it', () => {
    expect(verdict('secret-key', { sizeBits: 200 })).toBe('replaced');
  });
});
