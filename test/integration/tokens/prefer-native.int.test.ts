/**
 * A group that prefers clones, on SoftHSM: two members of one cloning domain and one outside of it. Keys that can be
 * wrapped keep their history where they are cloned, and are rebuilt elsewhere. pkcs11-tool uses them everywhere.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Attributes,
  CaptureMemory,
  type Entry,
  hasClone,
  ReplicaMemory,
  rehearse,
  type SealedGeneration,
} from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { sha256Hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { CloningDomain, cloning, paired } from '../../support/softhsm-pair.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';

const BOTH = { movement: 'prefer-native' } as const;
const CLONED = { local: true, alwaysSensitive: true };
const REBUILT = { local: false, alwaysSensitive: false };

/** Keys that SoftHSM wraps, and how they are used. The same use gives the same bytes. */
const WRAPPABLE = {
  aes: ['--encrypt', '-m', 'AES-ECB', '--id', '01'],
  rsa: ['--sign', '-m', 'RSA-PKCS', '--id', '02'],
  'odd mac': ['--sign', '-m', 'SHA-1-HMAC', '--id', '03'],
} as const;
const UNWRAPPABLE = {
  'kept aes': ['--encrypt', '-m', 'AES-ECB', '--id', '11'],
  'kept rsa': ['--sign', '-m', 'RSA-PKCS', '--id', '12'],
} as const;

let domain: CloningDomain;
let group: SealedGroup;
let a: TestMember;
let b: TestMember;
let c: TestMember;
let scratch: TestMember;
let first: SealedGeneration;
const memories = new Map<TestMember, ReplicaMemory>();

beforeAll(async () => {
  const tokens = Object.fromEntries(['a', 'b', 'c', 'scratch'].map((label) => [label, makeToken(label)])) as Record<
    'a' | 'b' | 'c' | 'scratch',
    TestToken
  >;
  domain = new CloningDomain(paired(tokens.a));
  for (const one of [tokens.b, tokens.scratch]) await domain.join(paired(one));
  // Each makes clones of its own domain. Partition c is in another one.
  const members = await Promise.all(Object.values(tokens).map((token) => TestMember.on(cloning(token))));
  [a, b, c, scratch] = members as [TestMember, TestMember, TestMember, TestMember];
  group = new SealedGroup();
  await enrolTogether(members, { group: group.name, version: 1 });
  const { tool } = a.token;
  tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--extractable', '--id', '01', '--label', 'aes');
  tool('--keypairgen', '--key-type', 'rsa:2048', '--extractable', '--id', '02', '--label', 'rsa');
  tool('--keygen', '--key-type', 'GENERIC:20', '--sensitive', '--extractable', '--id', '03', '--label', 'odd mac');
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--extractable', '--id', '04', '--label', 'ec');
  tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '11', '--label', 'kept aes');
  tool('--keypairgen', '--key-type', 'rsa:2048', '--id', '12', '--label', 'kept rsa');
});
afterAll(async () => {
  await Promise.all([a, b, c, scratch].map((member) => member?.close()));
});

const labelOf = ({ attributes }: { attributes: Attributes }): string => Buffer.from(attributes.label ?? []).toString();
const both = ({ generation }: SealedGeneration): string[] => generation.entries.filter(hasClone).map(labelOf).sort();
const entryOf = (sealed: SealedGeneration, label: string): Entry =>
  sealed.generation.entries.find((entry) => labelOf(entry) === label && entry.objectClass !== 'public-key')!;

function memoryOf(member: TestMember): ReplicaMemory {
  const memory = memories.get(member) ?? new ReplicaMemory();
  memories.set(member, memory);
  return memory;
}

const historyAt = async (member: TestMember, label: string) => {
  const objects = await member.provider.inventory();
  const key = objects.find((object) => labelOf(object) === label && object.objectClass !== 'public-key');
  const { local, alwaysSensitive } = key?.attributes ?? {};
  return { local, alwaysSensitive };
};

/** The result of a use of a key at a member, hexadecimal. */
function madeBy({ token }: TestMember, use: readonly string[]): string {
  const [input, output] = [join(token.folder, 'input'), join(token.folder, 'output')];
  writeFileSync(input, Buffer.alloc(32, 7));
  token.tool(...use, '-i', input, '-o', output);
  return readFileSync(output, 'hex');
}

/** Applies and proves. Returns the codes of what the member does not take. */
async function brought(
  member: TestMember,
  target: SealedGeneration,
  previous: readonly SealedGeneration[] = [],
): Promise<{ codes: string[]; cloned: number }> {
  const options = { memory: memoryOf(member), previous };
  const { refused, cloned } = await group.apply(member, target, options);
  const objectIds = new Set(refused.map(({ objectId }) => objectId));
  const { contentDigest, proof } = await group.verify(member, target, { ...options, refused: objectIds });
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
  return { codes: refused.map(({ code }) => code), cloned: cloned.length };
}

describe('a group that prefers clones', () => {
  it('captures keys that can be wrapped in both forms, and each of the others natively', async () => {
    first = await group.captured(a, BOTH);
    expect(first.generation.uncaptured).toEqual([]);
    expect(both(first)).toEqual(['aes', 'ec', 'odd mac', 'rsa']);
    const natives = first.generation.entries.filter(({ cloningDomain }) => cloningDomain !== undefined);
    expect(natives.map(labelOf).sort()).toEqual(['kept aes', 'kept rsa']);
    expect((await group.capture(a, BOTH)).sealed).toBeUndefined();
  });

  it('keeps the history at the member that clones, and rebuilds the keys at the other one', async () => {
    expect(await brought(b, first)).toEqual({ codes: [], cloned: 4 });
    expect(await brought(c, first)).toEqual({ codes: ['CLONING_DOMAIN_OTHER', 'CLONING_DOMAIN_OTHER'], cloned: 0 });
    for (const label of ['aes', 'ec', 'odd mac', 'rsa']) {
      expect([label, await historyAt(a, label)]).toEqual([label, CLONED]);
      expect([label, await historyAt(b, label)]).toEqual([label, CLONED]);
      expect([label, await historyAt(c, label)]).toEqual([label, REBUILT]);
    }
  });

  it.each(Object.entries(WRAPPABLE))('gives pkcs11-tool the same at all three members: %s', (_label, use) => {
    const made = madeBy(a, use);
    expect([madeBy(b, use), madeBy(c, use)]).toEqual([made, made]);
  });

  it.each(Object.entries(UNWRAPPABLE))(
    'gives pkcs11-tool the same where a key can only be cloned: %s',
    (_label, use) => {
      expect(madeBy(b, use)).toBe(madeBy(a, use));
    },
  );

  it('is drilled in both forms, without its source', async () => {
    const blobOf = (digest: string) => group.blobs.get(digest)!;
    const rehearsal = await rehearse({ ...scratch, target: first, blobOf });
    expect(rehearsal).toMatchObject({ isEqual: true, isClean: true });
    expect([rehearsal.proof.failed, rehearsal.proof.proved]).toEqual([0, first.generation.entries.length]);
    const lost = entryOf(first, 'aes').clone!.blobSha256;
    const damaged = (digest: string) => (digest === lost ? Buffer.from('damaged') : blobOf(digest));
    const { proof } = await rehearse({ ...scratch, target: first, blobOf: damaged });
    expect(proof.failedObjectIds).toEqual([entryOf(first, 'aes').objectId]);
    const sealedForm = entryOf(first, 'aes').blobSha256!;
    const halved = (digest: string) => (digest === sealedForm ? Buffer.from('damaged') : blobOf(digest));
    const refused = await rejection(rehearse({ ...scratch, target: first, blobOf: halved }));
    expect(refused).toMatchObject({ code: 'BLOB_INVALID', details: { found: sha256Hex(Buffer.from('damaged')) } });
  });

  it('fails over to the member that has rebuilt the keys, which keeps their clones for the others', async () => {
    const unrestored = new Set(
      [entryOf(first, 'kept aes'), entryOf(first, 'kept rsa')].map(({ objectId }) => objectId),
    );
    c.token.tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--extractable', '--id', '05', '--label', 'of c');
    const options = { ...BOTH, epoch: 2n, hasRestored: true, unrestored, memory: new CaptureMemory() };
    const second = await group.captured(c, options);
    expect(both(second)).toEqual(['aes', 'ec', 'odd mac', 'of c', 'rsa']);
    expect(entryOf(second, 'rsa').clone).toEqual(entryOf(first, 'rsa').clone);
    expect(entryOf(second, 'of c').clone!.cloningDomain).not.toBe(entryOf(first, 'rsa').clone!.cloningDomain);
    // A key of c is rebuilt in the domain of a and b.
    expect(await brought(b, second, [first])).toEqual({ codes: [], cloned: 0 });
    expect([await historyAt(b, 'of c'), await historyAt(b, 'rsa')]).toEqual([REBUILT, CLONED]);
    const use = ['--encrypt', '-m', 'AES-ECB', '--id', '05'];
    expect(madeBy(b, use)).toBe(madeBy(c, use));
  });

  it('fails over to the member that has cloned the keys, which gives clones again', async () => {
    const former = group.newest!;
    await b.reopen();
    b.token.tool('--set-id', '21', '--type', 'secrkey', '--id', '01');
    const options = { ...BOTH, epoch: 3n, hasRestored: true, memory: new CaptureMemory() };
    const third = await group.captured(b, options);
    expect(third.generation.uncaptured).toEqual([]);
    expect(both(third)).toContain('aes');
    expect(entryOf(third, 'aes').clone).not.toEqual(entryOf(former, 'aes').clone);
    await a.reopen();
    memories.set(a, new ReplicaMemory());
    expect(await brought(a, third, [former, first])).toMatchObject({ codes: [], cloned: 1 });
    expect(await historyAt(a, 'aes')).toEqual(CLONED);
    const renamed = ['--encrypt', '-m', 'AES-ECB', '--id', '21'];
    expect(madeBy(a, renamed)).toBe(madeBy(b, renamed));
  });

  it('leaves what a member holds when it joins the domain later, and brings it the rest as clones', async () => {
    const former = group.newest!;
    // Its token gets the token key of a.
    await c.provider.close();
    await domain.join(paired(c.token));
    await c.reopen();
    memories.set(c, new ReplicaMemory());
    b.token.tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--extractable', '--id', '06', '--label', 'later');
    await b.reopen();
    const fourth = await group.captured(b, { ...BOTH, epoch: 3n, memory: new CaptureMemory() });
    const { codes, cloned } = await brought(c, fourth, [former, first]);
    expect([codes, cloned]).toEqual([[], expect.any(Number)]);
    expect([await historyAt(c, 'later'), await historyAt(c, 'rsa')]).toEqual([CLONED, REBUILT]);
    for (const use of Object.values(UNWRAPPABLE)) expect(madeBy(c, use)).toBe(madeBy(b, use));
  });

  it('leaves what a member holds when it leaves the domain, and brings it the rest sealed', async () => {
    const former = group.newest!;
    const stranger = makeToken('stranger');
    try {
      await c.provider.close();
      await new CloningDomain(paired(stranger)).join(paired(c.token));
      await c.reopen();
      memories.set(c, new ReplicaMemory());
      b.token.tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--extractable', '--id', '07', '--label', 'last');
      await b.reopen();
      const fifth = await group.captured(b, { ...BOTH, epoch: 3n, memory: new CaptureMemory() });
      expect(both(fifth)).toContain('last');
      expect(await brought(c, fifth, [former, first])).toEqual({ codes: [], cloned: 0 });
      expect([await historyAt(c, 'later'), await historyAt(c, 'last')]).toEqual([CLONED, REBUILT]);
      for (const use of Object.values(UNWRAPPABLE)) expect(madeBy(c, use)).toBe(madeBy(b, use));
    } finally {
      stranger.remove();
    }
  });
});
