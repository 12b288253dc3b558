/**
 * Keys replaced under the names and handles of others, and keys damaged by storage: on real tokens, behind a module
 * that reuses handles, and in the files of SoftHSM.
 */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { ReplicaMemory, type SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { openRawToken, type RawToken } from '../../attacks/support/raw-token.ts';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { lying } from '../../support/devices/lying-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { damageValue, filesOf } from '../../support/raw-token.ts';
import { makeAes, makePair, PORTABLE } from '../../support/token-pair.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const BLOCK = Buffer.alloc(16, 7);

class Pair {
  readonly group = new SealedGroup();
  readonly a: TestMember;
  readonly b: TestMember;
  readonly source: RawToken;
  readonly standby: RawToken;
  readonly #memory = new ReplicaMemory();
  #previous: SealedGeneration | undefined;

  private constructor(members: readonly TestMember[], applications: readonly RawToken[]) {
    [this.a, this.b] = members as [TestMember, TestMember];
    [this.source, this.standby] = applications as [RawToken, RawToken];
  }

  /** @param options.reuses whose device uses handles again; what applications do goes past the module */
  static async make({ reuses }: { reuses?: 'a' | 'b' } = {}): Promise<Pair> {
    const honest = ['a', 'b'].map((name) => makeToken(name)) as [TestToken, TestToken];
    const tokens = honest.map((token) => (token.label === reuses ? lying(token, { lie: 'reuse-handles' }) : token));
    const members = await Promise.all(tokens.map((token) => TestMember.on(token)));
    const applications = await Promise.all(honest.map((token) => openRawToken(token)));
    closing.push(...members.map((member) => () => member.close()));
    closing.push(...applications.map((application) => () => application.close()));
    const pair = new Pair(members, applications);
    await enrolTogether(members, { group: pair.group.name, version: 1 });
    return pair;
  }

  async replicate(options: Parameters<SealedGroup['capture']>[1] = {}): Promise<SealedGeneration> {
    const sealed = await this.group.captured(this.a, options);
    const replica = { memory: this.#memory, previous: this.#previous === undefined ? [] : [this.#previous] };
    await this.group.apply(this.b, sealed, replica);
    const { contentDigest, proof } = await this.group.verify(this.b, sealed, replica);
    expect([contentDigest, proof.failed]).toEqual([sealed.contentDigest, 0]);
    this.#previous = sealed;
    return sealed;
  }
}

/** The output of the one key with this label for one block. */
async function encrypted(token: RawToken, name: string): Promise<string> {
  const keys = await token.find([[CKA.CLASS, CKO.SECRET_KEY], ...label(name)]);
  expect(keys).toHaveLength(1);
  return Buffer.from(await token.encrypt(mechanism(CKM.AES_ECB), keys[0]!, BLOCK)).toString('hex');
}

/** A key that came through C_UnwrapKey: without a check value. */
async function unwrapped(token: RawToken, template: Template): Promise<bigint> {
  const uses = flags({ wrap: true, unwrap: true });
  const wrapping = await token.generateKey(mechanism(CKM.AES_KEY_GEN), [
    [CKA.VALUE_LEN, 32],
    [CKA.TOKEN, false],
    ...uses,
  ]);
  const secret: Template = [
    [CKA.CLASS, CKO.SECRET_KEY],
    [CKA.KEY_TYPE, CKK.AES],
  ];
  const passing = [[CKA.TOKEN, false] as const, ...flags({ extractable: true }), [CKA.VALUE, randomBytes(32)] as const];
  const value = await token.create([...secret, ...passing]);
  const blob = await token.wrapKey(mechanism(CKM.AES_KEY_WRAP_PAD), wrapping, value);
  return token.unwrapKey(mechanism(CKM.AES_KEY_WRAP_PAD), wrapping, blob, [...secret, ...template]);
}

/** Its members, fit to be taken apart. */
async function bound(options: Parameters<typeof Pair.make>[0] = {}) {
  const pair = await Pair.make(options);
  const { a, b, source, standby, group } = pair;
  return { a, b, source, standby, group, replicate: pair.replicate.bind(pair) };
}

const EXTRACTABLE = 0x162;
const names = [...label('key'), ...id(Uint8Array.of(1))];
const uses = flags({ encrypt: true, decrypt: true });

describe('a device that gives the handle of a destroyed key to the next one', () => {
  it.each([
    ['has other names', [...label('new key'), ...id(Uint8Array.of(2))], 'new key'],
    ['has the same names', names, 'key'],
  ])('has the new key captured where it %s, and not the old one again', async (_how, newNames, name) => {
    const { source, standby, replicate } = await bound({ reuses: 'a' });
    const old = await makeAes(source, ...names, ...uses);
    await replicate();
    await source.destroy(old);
    await makeAes(source, ...newNames, ...uses);
    const { generation } = await replicate();
    expect([generation.entries.length, generation.tombstones.length]).toEqual([1, 1]);
    expect(await encrypted(standby, name)).toBe(await encrypted(source, name));
    expect(await standby.find([[CKA.CLASS, CKO.SECRET_KEY], ...uses])).toHaveLength(1);
  });

  it('has a key without a check value captured that looks in everything as the old one did', async () => {
    const { source, standby, replicate } = await bound({ reuses: 'a' });
    const old = await unwrapped(source, [...PORTABLE, ...names, ...uses]);
    await replicate();
    await source.destroy(old);
    await unwrapped(source, [...PORTABLE, ...names, ...uses]);
    // Nothing tells whether it was damaged or replaced: it is named, and an operator says.
    const changed = await replicate();
    expect(changed.generation.uncaptured.map(({ reason }) => reason)).toEqual(['value-changed']);
    await replicate({ accepted: new Set(changed.generation.entries.map(({ objectId }) => objectId)) });
    expect(await encrypted(standby, 'key')).toBe(await encrypted(source, 'key'));
  });

  it('has both halves of a pair captured that was replaced under its names', async () => {
    const { source, standby, replicate } = await bound({ reuses: 'a' });
    const old = await makePair(source, P256_PARAMS, ...names);
    await replicate();
    for (const half of [old.publicKey, old.privateKey]) await source.destroy(half);
    await makePair(source, P256_PARAMS, ...names);
    const { generation } = await replicate();
    expect([generation.entries.length, generation.tombstones.length, generation.uncaptured]).toEqual([2, 2, []]);
    expect(await standby.find([[CKA.CLASS, CKO.PRIVATE_KEY], ...names])).toHaveLength(1);
  });

  it('does not lose the key of an application at a standby', async () => {
    const { b, source, standby, replicate } = await bound({ reuses: 'b' });
    const key = await makeAes(source, ...label('replicated'), ...id(Uint8Array.of(1)), ...uses);
    const gone = await makeAes(source, ...label('deleted'), ...id(Uint8Array.of(2)), ...uses);
    await replicate();
    for (const name of ['replicated', 'deleted']) await standby.destroy((await standby.find(label(name)))[0]!);
    for (const name of ['one', 'two']) await makeAes(standby, ...label(`of an application ${name}`), ...uses);
    await b.provider.look({});
    await source.setAttributeValue(key, label('renamed'));
    await source.destroy(gone);
    await replicate();
    for (const name of ['one', 'two']) expect(await standby.find(label(`of an application ${name}`))).toHaveLength(1);
    expect(await encrypted(standby, 'renamed')).toBe(await encrypted(source, 'renamed'));
  });
});

describe('a key that is replaced by an unextractable one of its names', () => {
  it.each(['generated', 'unwrapped'])('is not in force any more, and not live at the standby (%s)', async (how) => {
    const { a, source, standby, group, replicate } = await bound();
    const old = await makeAes(source, ...names, ...uses);
    await replicate();
    await source.destroy(old);
    const fixed = PORTABLE.map(([type, set]) =>
      type === EXTRACTABLE ? ([type, false] as const) : ([type, set] as const),
    );
    if (how === 'unwrapped') await unwrapped(source, [...fixed, ...names, ...uses]);
    else await source.generateKey(mechanism(CKM.AES_KEY_GEN), [[CKA.VALUE_LEN, 32], ...fixed, ...names, ...uses]);
    const { generation } = await replicate();
    expect([generation.entries, generation.tombstones.length]).toEqual([[], 1]);
    expect(generation.uncaptured.map(({ reason }) => reason)).toEqual(['unextractable']);
    expect(await standby.find(names)).toEqual([]);
    await a.reopen();
    group.captures.forget();
    expect((await group.capture(a)).sealed).toBeUndefined();
  });
});

describe('a key that the storage of the active member damages', () => {
  it('stays as it was in the generations and at the standbys, after a restart too', async () => {
    const { a, source, standby, group, replicate } = await bound();
    const before = filesOf(a.token);
    await makeAes(source, ...names, ...uses);
    await replicate();
    const sound = await encrypted(source, 'key');
    await a.provider.close();
    damageValue([...filesOf(a.token)].find((path) => !before.has(path))!);
    await a.open();
    group.captures.forget();
    const { generation } = await replicate();
    expect([generation.entries.length, generation.tombstones]).toEqual([1, []]);
    expect(generation.uncaptured.map(({ reason }) => reason)).toEqual(['value-changed']);
    expect(await encrypted(standby, 'key')).toBe(sound);
  });
});
