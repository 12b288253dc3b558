/**
 * Keys that SoftHSM wraps for nobody, in a group whose keys move natively: captured in one token, cloned into another of
 * its cloning domain, and used there by pkcs11-tool. One pair of tokens serves all cases.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CaptureMemory, ReplicaMemory, type SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { CloningDomain, paired } from '../../support/softhsm-pair.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';

const NATIVE = { movement: 'native' } as const;

let a: TestMember;
let b: TestMember;
let group: SealedGroup;
let memory: ReplicaMemory;
let first: SealedGeneration;

/** Of one cloning domain, and configured for it. */
async function cloning(...labels: string[]): Promise<TestToken[]> {
  const tokens = labels.map((label) => makeToken(label));
  const [source, ...others] = tokens.map(paired);
  const domain = new CloningDomain(source!);
  for (const other of others) await domain.join(other);
  return tokens.map((token) => ({ ...token, config: { ...token.config, native: { kind: 'softhsm' } } }));
}

beforeAll(async () => {
  [a, b] = (await Promise.all((await cloning('a', 'b')).map((token) => TestMember.on(token)))) as [
    TestMember,
    TestMember,
  ];
  group = new SealedGroup();
  memory = new ReplicaMemory();
  await enrolTogether([a, b], { group: group.name, version: 1 });
  const { tool } = a.token;
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'ec');
  tool('--keypairgen', '--key-type', 'rsa:2048', '--id', '02', '--label', 'rsa');
  tool('--keypairgen', '--key-type', 'EC:edwards25519', '--id', '03', '--label', 'ed');
  tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '04', '--label', 'aes');
  tool('--keygen', '--key-type', 'GENERIC:32', '--sensitive', '--id', '05', '--label', 'mac');
  tool('--keygen', '--key-type', 'GENERIC:20', '--sensitive', '--id', '06', '--label', 'odd mac');
  tool('--keygen', '--key-type', 'AES:16', '--sensitive', '--id', '07', '--label', 'gone');
  a.token.makeAes('08');
});

afterAll(async () => {
  await Promise.all([a, b].map((member) => member?.close()));
});

const labelsOf = (sealed: SealedGeneration): string[] =>
  sealed.generation.entries
    .filter(({ cloningDomain }) => cloningDomain !== undefined)
    .map(({ attributes }) => Buffer.from(attributes.label ?? []).toString())
    .sort();

/** The result of a use of a key at a member, hexadecimal. */
function madeBy({ token }: TestMember, ...use: string[]): string {
  const [input, output] = [join(token.folder, 'input'), join(token.folder, 'output')];
  writeFileSync(input, Buffer.alloc(32, 7));
  token.tool(...use, '-i', input, '-o', output);
  return readFileSync(output, 'hex');
}

describe('a group whose keys move natively', () => {
  it('captures every key of a tool that makes them unextractable', async () => {
    first = await group.captured(a, NATIVE);
    expect(first.generation.uncaptured).toEqual([]);
    expect(labelsOf(first)).toEqual(['aes', 'ec', 'ed', 'gone', 'mac', 'odd mac', 'rsa']);
    expect((await group.capture(a, NATIVE)).sealed).toBeUndefined();
  });

  it('has them at the standby as they are: unextractable, made in a token, proved by use', async () => {
    const { applied, refused } = await group.apply(b, first, { memory });
    expect([applied.length, refused]).toEqual([first.generation.entries.length, []]);
    const { contentDigest, proof } = await group.verify(b, first, { memory });
    expect([contentDigest, proof.failed]).toEqual([first.contentDigest, 0]);
    const objects = (await b.provider.inventory()).filter(({ handle }) => !b.keyring.ownHandles.has(handle));
    const kept = objects.filter(({ attributes }) => attributes.extractable === false);
    expect(kept).toHaveLength(7);
    for (const { attributes } of kept) expect(attributes).toMatchObject({ local: true, neverExtractable: true });
  });

  it.each([
    ['aes', ['--encrypt', '-m', 'AES-ECB', '--id', '04']],
    ['mac', ['--sign', '-m', 'SHA256-HMAC', '--id', '05']],
    ['rsa', ['--sign', '-m', 'RSA-PKCS', '--id', '02']],
  ])('gives pkcs11-tool the same at both sites: %s', (_label, use) => {
    expect(madeBy(b, ...use)).toBe(madeBy(a, ...use));
  });

  it('captures at the promoted standby what was captured before, and after a restart nothing else', async () => {
    await b.reopen();
    const options = { ...NATIVE, epoch: 2n, hasRestored: true, memory: new CaptureMemory() };
    const sealed = await group.captured(b, options);
    group.newest = first;
    const ids = ({ generation }: SealedGeneration) => generation.entries.map(({ objectId }) => objectId);
    expect([ids(sealed), sealed.contentDigest]).toEqual([ids(first), first.contentDigest]);
    expect(sealed.generation.uncaptured).toEqual([]);
  });

  it('takes a key again that was renamed, and a deleted one out of the standby', async () => {
    a.token.tool('--delete-object', '--type', 'secrkey', '--id', '07');
    a.token.tool('--set-id', '14', '--type', 'secrkey', '--id', '04');
    const second = await group.captured(a, NATIVE);
    expect(labelsOf(second)).toEqual(['aes', 'ec', 'ed', 'mac', 'odd mac', 'rsa']);
    expect(second.generation.tombstones).toHaveLength(1);
    const options = { memory, previous: [first] };
    await b.reopen();
    memory = new ReplicaMemory();
    const { applied, refused, unaccounted } = await group.apply(b, second, { ...options, memory });
    expect([applied.length, refused, unaccounted]).toEqual([1, [], 0]);
    const { contentDigest, proof } = await group.verify(b, second, { ...options, memory });
    expect([contentDigest, proof.failed]).toEqual([second.contentDigest, 0]);
    const listed = b.token.tool('--list-objects', '--type', 'secrkey');
    expect([listed.includes('gone'), listed.match(/label: +aes/g)?.length]).toEqual([false, 1]);
  });
});
