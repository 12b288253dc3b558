/** Captures of a real token that has its moods: nothing that was protected once falls out of a generation unsaid. */
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CaptureMemory, type Handle, type HsmProvider, type ObjectId, type SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { faulty } from '../../support/faulty.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';

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

const idsIn = ({ generation }: SealedGeneration): ObjectId[] =>
  generation.entries.map(({ objectId }) => objectId).sort();
const domainKeyOf = ({ keyring }: TestMember, version = 1): Handle => keyring.domainKey(group.name, version).handle;

/** Runs with some calls of the member's provider replaced. */
async function during<T>(member: TestMember, faults: Partial<HsmProvider>, work: () => Promise<T>): Promise<T> {
  const real = member.provider;
  member.provider = faulty(real, faults);
  try {
    return await work();
  } finally {
    member.provider = real;
  }
}

it('takes a key for new until a generation that has it is durable', async () => {
  a.token.makeAes('01');
  await group.captured(a);
  a.token.makeAes('02');
  const checkFence = (): void => {
    throw new AntipodeError('LEASE_LAPSED', 'no lease');
  };
  expect((await rejection(group.capture(a, { checkFence }))).code).toBe('LEASE_LAPSED');
  expect((await group.captured(a)).generation.entries).toHaveLength(2);
});

describe('a wrap that is refused', () => {
  it('once costs no captured key its place, its blob or its identity', async () => {
    for (const id of ['01', '02']) a.token.makeAes(id);
    const first = await group.captured(a);
    a.token.makeAes('03');
    const real = a.provider;
    const wrap: HsmProvider['wrap'] = async (key, handles) =>
      (await real.wrap(key, handles)).map((outcome, index) =>
        index === 0 ? { handle: outcome.handle, reason: 'unreadable', returnValue: 'CKR_GENERAL_ERROR' } : outcome,
      );
    const second = await during(a, { wrap }, () => group.captured(a));
    expect(second.generation).toMatchObject({ tombstones: [] });
    for (const objectId of idsIn(first)) expect(idsIn(second)).toContain(objectId);
  });

  it('because the domain key is gone ends the capture: no generation is signed without its keys', async () => {
    a.token.makeAes('01');
    await group.captured(a);
    const [key] = (await a.provider.inventory()).filter(({ handle }) => !a.keyring.ownHandles.has(handle));
    const nobody = 999_999n;
    expect(await rejection(a.provider.wrap(nobody, [key!.handle]))).toMatchObject({ code: 'HSM_SESSION_VOID' });
    await a.provider.destroy([domainKeyOf(a)]);
    a.token.makeAes('02');
    const memory = new CaptureMemory();
    expect((await rejection(group.capture(a, { memory }))).code).toBe('HSM_SESSION_VOID');
  });
});

describe('what was deleted', () => {
  it('and is made again is sealed again: data with its data key, a key under the version of the day', async () => {
    const value = join(a.token.folder, 'value');
    writeFileSync(value, 'hello');
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pkcs8 = join(a.token.folder, 'rsa');
    writeFileSync(pkcs8, privateKey.export({ type: 'pkcs8', format: 'der' }));
    const put = (): void => {
      a.token.tool('--write-object', value, '--type', 'data', '--label', 'd1', '--private');
      const rules = ['--id', '01', '--label', 'r', '--private', '--sensitive', '--extractable', '--usage-sign'];
      a.token.tool('--write-object', pkcs8, '--type', 'privkey', ...rules);
    };
    put();
    a.token.makeAes('02');
    const first = await group.captured(a);
    a.token.tool('--delete-object', '--type', 'data', '--label', 'd1');
    a.token.tool('--delete-object', '--type', 'privkey', '--id', '01');
    expect((await group.captured(a)).generation.tombstones).toHaveLength(2);
    await enrolTogether([a, b], { group: group.name, version: 2 });
    await group.captured(a, { domainKeyVersion: 2 });
    put();
    const last = await group.captured(a, { domainKeyVersion: 2 });
    expect(last.generation.entries).toHaveLength(3);
    const rsaIn = ({ generation }: SealedGeneration) => generation.entries.find(({ keyType }) => keyType === 'rsa');
    expect(rsaIn(last)?.objectId).toBe(rsaIn(first)?.objectId);
    // A member that holds nothing yet.
    await group.apply(b, last);
    const { contentDigest, proof } = await group.verify(b, last);
    expect([contentDigest, proof.failed]).toEqual([last.contentDigest, 0]);
  });

  it('and lives on at the next active member is named there, and captures are quiet', async () => {
    for (const id of ['01', '02']) a.token.makeAes(id);
    await group.apply(b, await group.captured(a));
    a.token.tool('--delete-object', '--type', 'secrkey', '--id', '02');
    await group.apply(b, await group.captured(a));
    const memory = new CaptureMemory();
    const { generation } = await group.captured(b, { epoch: 2n, memory });
    expect(generation.uncaptured.map(({ reason }) => reason)).toEqual(['deleted']);
    expect([generation.entries.length, generation.tombstones.length]).toEqual([1, 1]);
    const wrap = async (): Promise<never> => expect.unreachable();
    await during(b, { wrap }, async () => {
      expect((await group.capture(b, { epoch: 2n, memory })).sealed).toBeUndefined();
    });
  });

  it('is not an object that only one of two looks misses', async () => {
    for (const id of ['01', '02']) a.token.makeAes(id);
    const first = await group.captured(a);
    a.token.makeAes('03');
    const real = a.provider;
    let looks = 0;
    const [known] = (await real.inventory()).filter(({ attributes }) => attributes.id?.[0] === 1);
    const look: HsmProvider['look'] = async (options) => {
      const seen = await real.look(options);
      looks += 1;
      return looks === 2 ? { ...seen, handles: seen.handles.filter((handle) => handle !== known!.handle) } : seen;
    };
    const second = await during(a, { look }, () => group.captured(a, { memory: new CaptureMemory() }));
    expect(looks).toBe(2);
    expect([second.generation.tombstones, second.generation.entries.length]).toEqual([[], 3]);
    for (const objectId of idsIn(first)) expect(idsIn(second)).toContain(objectId);
  });
});

it('keeps the identity of an object that changes while all is sealed again', async () => {
  for (const id of ['01', '02']) a.token.makeAes(id);
  const first = await group.captured(a);
  await enrolTogether([a, b], { group: group.name, version: 2 });
  const real = a.provider;
  let looks = 0;
  const look: HsmProvider['look'] = async (options) => {
    looks += 1;
    if (looks === 2) a.token.tool('--type', 'secrkey', '--id', '01', '--set-id', '03');
    return real.look(options);
  };
  const second = await during(a, { look }, () => group.captured(a, { domainKeyVersion: 2 }));
  expect(idsIn(second)).toEqual(idsIn(first));
  expect(idsIn(await group.captured(a, { domainKeyVersion: 2 }))).toEqual(idsIn(first));
});
