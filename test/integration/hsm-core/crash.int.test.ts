/** The leftovers of a crash in a real token, how the next apply treats them, and what it never touches. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA, CKM, mechanism, P256_PARAMS } from '@antipode/cryptoki';
import { ReplicaMemory } from '@antipode/hsm-core';
import { intentOf, MemoryJournal, proofItem, SealedGroup } from '@antipode/hsm-core/testing';
import { AntipodeError, hex, seededPrng, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { flags, id } from '../../attacks/support/templates.ts';
import { childStartedBy } from '../../support/children.ts';
import { faulty } from '../../support/faulty.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { halveKeys, onToken } from '../../support/raw-token.ts';
import { PORTABLE } from '../../support/token-pair.ts';

let a: TestMember;
let b: TestMember;
let group: SealedGroup;

beforeEach(async () => {
  [a, b] = await Promise.all([TestMember.make('a'), TestMember.make('b')]);
  group = new SealedGroup();
  await enrolTogether([a, b], { group: group.name, version: 1 });
});

afterEach(async () => {
  await Promise.all([a, b].map((member) => member?.close()));
});

const others = async ({ provider, keyring }: TestMember) =>
  (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));
const labels = async (member: TestMember): Promise<string[]> =>
  (await others(member)).map(({ attributes }) => Buffer.from(attributes.label ?? []).toString()).sort();
describe('half-made keys', () => {
  it('are destroyed, of every type, by the apply after, or by reading back; and nothing else is', async () => {
    const usable = ['--sensitive', '--extractable'];
    a.token.tool(
      '--keypairgen',
      '--key-type',
      'EC:prime256v1',
      '--id',
      '01',
      '--label',
      'ec',
      '--usage-sign',
      '--extractable',
    );
    a.token.tool(
      '--keypairgen',
      '--key-type',
      'rsa:2048',
      '--id',
      '02',
      '--label',
      'rsa',
      '--usage-sign',
      '--extractable',
    );
    a.token.tool('--keygen', '--key-type', 'aes:32', '--id', '03', '--label', 'aes', ...usable);
    a.token.tool('--keygen', '--key-type', 'GENERIC:32', '--id', '04', '--label', 'generic', ...usable);
    a.token.tool('--keygen', '--key-type', 'GENERIC:77', '--id', '05', '--label', 'odd', ...usable);
    const target = await group.captured(a);
    await group.apply(b, target);
    await b.provider.close();
    halveKeys(b.token);
    // Keys of applications, without a name, that little or nothing can be tried with.
    const foreign = onToken(b.token, (cryptoki, session) => {
      const flags = [0x104, 0x105, 0x106, 0x107, 0x108, 0x10a, 0x10c].map((flag) => [flag, false] as const);
      const key = (bytes: number, type: number, ...uses: number[]) =>
        cryptoki.generateKey(session, { type }, [
          [0x161, bytes],
          [0x001, true],
          [0x103, true],
          [0x162, false],
          ...flags.filter(([flag]) => !uses.includes(flag)),
          ...uses.map((flag) => [flag, true] as const),
          ...(uses.includes(0x107) ? [[0x40000212, [[0x103, true]]] as const] : []),
        ]);
      return [key(32, 0x1080, 0x106, 0x107), key(32, 0x1080, 0x10c), key(32, 0x1080), key(16, 0x350, 0x108)].length;
    });
    await b.open();
    const journal = new MemoryJournal();
    journal.begin(target.generation.entries.map(intentOf));
    const before = (await others(b)).length;
    const { proof } = await group.verify(b, target, { journal });
    expect([proof.failed, before - (await others(b)).length]).toEqual([5, 5]);
    const { applied, unaccounted } = await group.apply(b, target, { journal });
    expect([applied.length, unaccounted, journal.openIntents()]).toEqual([5, foreign, []]);
    expect((await group.verify(b, target)).proof.failed).toBe(0);
  });

  it('cannot end the worker, however they are looked at: SoftHSM crashes when one agrees or decrypts', async () => {
    const pairs = [
      ['EC:prime256v1', '--usage-derive'],
      ['EC:secp384r1', '--usage-sign', '--usage-derive'],
      ['rsa:2048', '--usage-decrypt', '--usage-wrap'],
    ];
    for (const [index, [type, ...uses]] of pairs.entries())
      a.token.tool('--keypairgen', '--key-type', type!, '--id', `0${index}`, '--extractable', ...uses);
    // Which pkcs11-tool does not make: a key that agrees and does not sign, so that its public half is found by agreeing.
    onToken(a.token, (cryptoki, session) =>
      cryptoki.generateKeyPair(
        session,
        mechanism(CKM.EC_KEY_PAIR_GEN),
        [[CKA.TOKEN, true], [CKA.EC_PARAMS, P256_PARAMS], ...id(Buffer.from('agrees'))],
        [...PORTABLE, ...flags({ sign: false, derive: true }), ...id(Buffer.from('agrees'))],
      ),
    );
    const target = await group.captured(a);
    await group.apply(b, target);
    await b.provider.close();
    halveKeys(b.token);
    await b.open();
    const half = (await others(b)).filter(({ objectClass }) => objectClass === 'private-key');
    const domainKey = b.keyring.domainKey(group.name, 1).handle;
    const items = half.map(({ handle, attributes: { id } }) => {
      const entry = target.generation.entries.find(
        ({ objectClass, attributes }) => objectClass === 'private-key' && hex(attributes.id!) === hex(id!),
      )!;
      return proofItem(entry, handle);
    });
    const each = <T>(one: T): T[] => Array<T>(pairs.length + 1).fill(one);
    expect(half.map(({ publicHalf }) => publicHalf)).toEqual(each(undefined));
    expect((await b.provider.prove(domainKey, items)).map(({ proved }) => proved)).toEqual(each(false));
    const handles = half.map(({ handle }) => handle);
    expect(await b.provider.challenge(domainKey, handles)).toEqual(each('refuses'));
  });

  it('are none that ask more of what they unwrap than a throw-away key gives: such a key works', async () => {
    const id = Buffer.from('kek');
    onToken(b.token, (cryptoki, session) =>
      cryptoki.generateKey(session, { type: 0x1080 }, [
        [0x161, 32],
        [0x001, true],
        [0x102, id],
        [0x103, true],
        [0x162, false],
        [0x106, true],
        [0x107, true],
        [0x40000212, [[0x103, true]]],
      ]),
    );
    await b.reopen();
    const [kek] = await others(b);
    const domainKey = b.keyring.domainKey(group.name, 1).handle;
    const attributes = { wrap: true, unwrap: true };
    const item = { handle: kek!.handle, objectClass: 'secret-key', keyType: 'aes', sizeBits: 256, attributes } as const;
    const [outcome] = await b.provider.prove(domainKey, [item]);
    expect(outcome?.checks.map(({ use, outcome: how }) => `${use} ${how}`)).toEqual([
      'wrap proved',
      'unwrap not-exercised',
    ]);
    expect(await b.provider.challenge(domainKey, [kek!.handle])).toEqual(['works']);
  });

  it('are none after kill -9 at any moment of an apply, and the apply is whole when it is repeated', async () => {
    for (let index = 0; index < 12; index += 1) {
      const id = (0x20 + index).toString(16);
      await a.token.toolAsync(
        '--keypairgen',
        '--key-type',
        'EC:prime256v1',
        '--id',
        id,
        '--label',
        id,
        '--usage-sign',
        '--extractable',
      );
      a.token.makeAes(id);
    }
    const target = await group.captured(a);
    const prng = seededPrng('kill');
    await b.provider.close();
    let worker = await childStartedBy(() => b.open());
    for (let kill = 0; kill < 12; kill += 1) {
      const begun = Promise.withResolvers<void>();
      const journal = new MemoryJournal(() => (step) => {
        if (step === 'begun') begun.resolve();
      });
      const first = group.apply(b, target, { journal }).catch((error: AntipodeError) => error.code);
      await begun.promise;
      await systemClock.sleep(prng.bytes(1)[0]! / 5);
      process.kill(worker, 'SIGKILL');
      expect(['HSM_WORKER_LOST', expect.any(Object)]).toContainEqual(await first);
      worker = await childStartedBy(() => b.open());
      await group.apply(b, target, { journal });
      expect(await others(b)).toHaveLength(target.generation.entries.length);
      const { contentDigest, proof } = await group.verify(b, target);
      expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
      await b.provider.destroy((await others(b)).map(({ handle }) => handle));
    }
  });
});

describe('an object of equal value that an application made', () => {
  it('is left alone and counted, also when ours beside it is replaced', async () => {
    const file = join(a.token.folder, 'value');
    writeFileSync(file, Buffer.alloc(32, 7));
    const put = (member: TestMember, label: string, id: string): void => {
      const rules = ['--type', 'secrkey', '--key-type', 'AES:32', '--private', '--sensitive', '--extractable'];
      member.token.tool('--write-object', file, '--id', id, '--label', label, ...rules);
    };
    put(a, 'card key', '01');
    put(b, 'of an application', '77');
    const first = await group.captured(a);
    expect(await group.apply(b, first)).toMatchObject({ unaccounted: 1 });
    expect(await labels(b)).toEqual(['card key', 'of an application']);
    a.token.tool('--type', 'secrkey', '--id', '01', '--set-id', '02');
    const next = await group.captured(a);
    expect(await group.apply(b, next, { previous: [first] })).toMatchObject({ unaccounted: 1 });
    expect((await others(b)).map(({ attributes }) => hex(attributes.id!)).sort()).toEqual(['02', '77']);
  });
});

describe('an apply that fails on a real token', () => {
  const lost = new AntipodeError('HSM_WORKER_LOST', 'a crash');

  it('leaves one object when it fails before the replaced one is destroyed', async () => {
    a.token.makeAes('01');
    const first = await group.captured(a);
    await group.apply(b, first);
    a.token.tool('--type', 'secrkey', '--id', '01', '--set-id', '02');
    const next = await group.captured(a);
    const real = b.provider;
    const journal = new MemoryJournal();
    b.provider = faulty(real, { destroy: () => Promise.reject(lost) });
    expect(await rejection(group.apply(b, next, { previous: [first], journal }))).toBe(lost);
    b.provider = real;
    await b.reopen();
    expect(await group.apply(b, next, { previous: [first], journal })).toMatchObject({ applied: [], unaccounted: 0 });
    expect((await others(b)).map(({ attributes }) => hex(attributes.id!))).toEqual(['02']);
  });

  it('has everything used that was made and never proved', async () => {
    for (const id of ['01', '02']) a.token.makeAes(id);
    const target = await group.captured(a);
    const real = b.provider;
    b.provider = faulty(real, {
      prove: async (key, items) => (await real.prove(key, items)).map((outcome) => ({ ...outcome, proved: false })),
      destroy: () => Promise.reject(new AntipodeError('HSM_UNAVAILABLE', 'busy')),
    });
    const journal = new MemoryJournal();
    expect((await rejection(group.apply(b, target, { journal }))).code).toBe('HSM_UNAVAILABLE');
    b.provider = real;
    const { applied, unproven } = await group.apply(b, target, { journal });
    expect([applied, unproven.length]).toEqual([[], 2]);
    const { proof } = await group.verify(b, target, { objectIds: unproven });
    expect(proof).toMatchObject({ proved: 2, failed: 0 });
  });

  it('replaces an indestructible key once, and a new domain key version replaces none', async () => {
    onToken(a.token, (cryptoki, session) => {
      const names = [
        [0x003, Buffer.from('stays')],
        [0x102, Uint8Array.of(1)],
      ] as const;
      const rules = [
        [0x161, 32],
        [0x001, true],
        [0x103, true],
        [0x162, true],
        [0x172, false],
      ] as const;
      cryptoki.generateKey(session, { type: 0x1080 }, [...names, ...rules]);
    });
    const memory = new ReplicaMemory();
    const first = await group.captured(a);
    await group.apply(b, first, { memory });
    await group.verify(b, first, { memory });
    await enrolTogether([a, b], { group: group.name, version: 2 });
    const second = await group.captured(a, { domainKeyVersion: 2 });
    const options = { memory, previous: [first], proved: first };
    expect((await group.apply(b, second, options)).applied).toEqual([]);
    expect(await others(b)).toHaveLength(1);
    a.token.tool('--type', 'secrkey', '--id', '01', '--set-id', '02');
    const third = await group.captured(a, { domainKeyVersion: 2 });
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await b.reopen();
      expect(await group.apply(b, third, { previous: [second] })).toMatchObject({ unaccounted: 1 });
      expect(await others(b)).toHaveLength(2);
    }
  });
});
