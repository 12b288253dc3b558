/**
 * The folder of a SoftHSM token is damaged, or an older copy takes its place. SoftHSM shows an object whose file it cannot
 * read as little as a deleted one. Judged by pkcs11-tool in both tokens.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CaptureMemory, ReplicaMemory, type SealedGeneration } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { CloningDomain, cloning, paired } from '../../support/softhsm-pair.ts';
import { makeToken } from '../../support/tokens.ts';

const NATIVE = { movement: 'native' } as const;

let a: TestMember;
let b: TestMember;
let paths: { a: string; b: string };
let group: SealedGroup;
let memory: ReplicaMemory;
const older: SealedGeneration[] = [];

beforeAll(async () => {
  const [source, standby] = [makeToken('a'), makeToken('b')];
  const domain = new CloningDomain(paired(source));
  await domain.join(paired(standby));
  paths = { a: paired(source).path, b: paired(standby).path };
  [a, b] = [await TestMember.on(cloning(source)), await TestMember.on(cloning(standby))];
  group = new SealedGroup();
  memory = new ReplicaMemory();
  await enrolTogether([a, b], { group: group.name, version: 1 });
});
afterAll(async () => {
  await Promise.all([a, b].map((member) => member?.close()));
});

/** Makes an unextractable key at the source. Returns the file that it is in. */
function makeKey(label: string): string {
  const before = new Set(readdirSync(paths.a));
  a.token.tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '01', '--label', label);
  const [made] = readdirSync(paths.a).filter((name) => name.endsWith('.object') && !before.has(name));
  return join(paths.a, made!);
}

/** As an agent does after a restart. */
async function captured(): Promise<SealedGeneration> {
  await a.reopen();
  const former = group.newest;
  const { sealed, held } = await group.capture(a, { ...NATIVE, memory: new CaptureMemory() });
  expect(held).toBeUndefined();
  if (sealed !== undefined && former !== undefined) older.unshift(former);
  return group.newest!;
}

async function applied(target: SealedGeneration): Promise<void> {
  const options = { memory, previous: older };
  await group.apply(b, target, options);
  const { contentDigest, proof } = await group.verify(b, target, options);
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
}

const labelsOf = (sealed: SealedGeneration): string[] =>
  sealed.generation.entries.map(({ attributes }) => Buffer.from(attributes.label ?? []).toString()).sort();
const reasonsOf = (sealed: SealedGeneration): string[] =>
  sealed.generation.uncaptured.map(({ objectClass, reason }) => `${objectClass}: ${reason}`).sort();
const labelsAt = ({ token }: TestMember): string[] =>
  [...token.tool('--list-objects', '--type', 'secrkey').matchAll(/label: +(\S+)$/gm)].map(([, label]) => label!).sort();

describe('a damaged file at the active member', () => {
  const files = new Map<string, string>();
  let sound: Buffer;

  beforeAll(async () => {
    for (const label of ['cut', 'emptied', 'zeroed', 'other']) files.set(label, makeKey(label));
    await applied(await captured());
  });

  it('is not a deletion: the standby keeps the key, whatever is left of the file', async () => {
    sound = readFileSync(files.get('cut')!);
    truncateSync(files.get('cut')!, 100);
    truncateSync(files.get('emptied')!, 0);
    writeFileSync(files.get('zeroed')!, Buffer.alloc(sound.length));
    expect(labelsAt(a)).toEqual(['other']);
    // Each capture is the first after a restart, which remembers nothing.
    for (let turn = 0; turn < 2; turn += 1) {
      const sealed = await captured();
      expect([labelsOf(sealed), sealed.generation.tombstones]).toEqual([['cut', 'emptied', 'other', 'zeroed'], []]);
      expect(reasonsOf(sealed).filter((reason) => reason === 'secret-key: unreadable')).toHaveLength(3);
      await applied(sealed);
    }
    expect(labelsAt(b)).toEqual(['cut', 'emptied', 'other', 'zeroed']);
  });

  it('holds up no deletion of another key once it is reported', async () => {
    a.token.tool('--delete-object', '--type', 'secrkey', '--label', 'other');
    const sealed = await captured();
    expect(labelsOf(sealed)).toEqual(['cut', 'emptied', 'zeroed']);
    await applied(sealed);
    expect(labelsAt(b)).toEqual(['cut', 'emptied', 'zeroed']);
  });

  it('is reported no more when it is sound again, or an operator accepts the key as gone', async () => {
    writeFileSync(files.get('cut')!, sound);
    const { generation } = await captured();
    expect(generation.uncaptured.filter(({ objectClass }) => objectClass === 'secret-key')).toHaveLength(2);
    const { objectId } = generation.entries.find(
      ({ attributes }) => Buffer.from(attributes.label ?? []).toString() === 'zeroed',
    )!;
    const { sealed } = await group.capture(a, {
      ...NATIVE,
      memory: new CaptureMemory(),
      accepted: new Set([objectId]),
    });
    expect(labelsOf(sealed!)).toEqual(['cut', 'emptied']);
  });

  it('is a deletion when somebody has taken the files away', async () => {
    for (const label of ['emptied', 'zeroed']) rmSync(files.get(label)!);
    const sealed = await captured();
    expect([labelsOf(sealed), sealed.generation.uncaptured]).toEqual([['cut'], []]);
    await applied(sealed);
    expect(labelsAt(b)).toEqual(['cut']);
  });
});

describe('an older copy of the store at a standby', () => {
  it('brings no deleted key back, although SoftHSM hides it from the agent', async () => {
    const copy = join(b.token.folder, 'copy');
    cpSync(paths.b, copy, { recursive: true });
    makeKey('later');
    a.token.tool('--delete-object', '--type', 'secrkey', '--label', 'cut');
    const target = await captured();
    await applied(target);
    for (const name of readdirSync(paths.b)) rmSync(join(paths.b, name));
    cpSync(copy, paths.b, { recursive: true });
    // A program that starts now finds the key. The module of the agent has destroyed it under this name, and never will.
    expect(labelsAt(b)).toEqual(['cut']);
    const options = { memory, previous: older };
    await group.apply(b, target, options).catch(() => undefined);
    expect(await rejection(group.verify(b, target, options))).toMatchObject({ code: 'HSM_SESSION_VOID' });
    await b.reopen();
    memory = new ReplicaMemory();
    await applied(target);
    expect(labelsAt(b)).toEqual(['later']);
  });
});

describe('an older copy of the store at the active member', () => {
  const put = (from: string): void => {
    for (const name of readdirSync(paths.a)) rmSync(join(paths.a, name), { recursive: true });
    cpSync(from, paths.a, { recursive: true });
  };
  const copyTo = (name: string): string => {
    const copy = join(a.token.folder, name);
    cpSync(paths.a, copy, { recursive: true });
    return copy;
  };
  /** Stamps the store as an agent does, unless the capture is held. Then it returns why. */
  async function stamped(): Promise<string[] | undefined> {
    const former = group.newest;
    const { sealed, held, isOlderCopy } = await group.capture(a, NATIVE);
    if (held !== undefined) return held.losses.map(({ reason }) => reason).sort();
    if (sealed !== undefined && former !== undefined) older.unshift(former);
    const { epoch, number } = group.newest!.generation;
    const stamp = { group: group.name, epoch, number, replacesOlder: isOlderCopy === true };
    expect(await a.provider.stampStore(stamp)).toBe(true);
    return undefined;
  }
  let [first, second] = ['', ''];

  beforeAll(async () => {
    await a.reopen();
    makeKey('deleted-later');
    await stamped();
    first = copyTo('first');
    makeKey('made-later');
    a.token.tool('--delete-object', '--type', 'secrkey', '--label', 'deleted-later');
    await stamped();
    await applied(group.newest!);
    second = copyTo('second');
  });

  it('loses no key and brings no deleted one back, whether the agent runs meanwhile or starts later', async () => {
    put(first);
    expect(labelsAt(a)).toContain('deleted-later');
    // The copy may come right after a look that has seen the newer store.
    const { epoch, number } = group.newest!.generation;
    expect(await a.provider.stampStore({ group: group.name, epoch, number, replacesOlder: false })).toBe(false);
    // The module itself may say at first that it does not show all of its store.
    const held = await stamped().catch(() => a.reopen().then(stamped));
    expect(held).toEqual(['deleted', 'revived']);
    await a.reopen();
    expect(await stamped()).toEqual(['deleted', 'revived']);
    expect(labelsOf(group.newest!)).toContain('made-later');
    expect(labelsAt(b)).toEqual(labelsOf(group.newest!));
  });

  it('holds the capture although a program has made as much since as was lost', async () => {
    makeKey('made-in-the-copy');
    a.token.tool('--delete-object', '--type', 'secrkey', '--label', 'deleted-later');
    await a.reopen();
    expect(await stamped()).toEqual(['deleted']);
  });

  it('ends when the newer copy is put back', async () => {
    put(second);
    await a.reopen();
    expect(await stamped()).toBeUndefined();
    expect(labelsAt(a)).toEqual(labelsOf(group.newest!));
    await applied(group.newest!);
    expect(labelsAt(b)).toEqual(labelsAt(a));
  });

  it.each([
    ['a folder', (path: string) => mkdirSync(path)],
    ['a loop of links', (path: string) => symlinkSync(path, path)],
    ['a pipe', (path: string) => execFileSync('mkfifo', [path])],
    ['something else', (path: string) => writeFileSync(path, 'no stamp')],
  ])('is supposed where %s is in the place of the stamp, and no capture ends by it', async (_what, place) => {
    const name = readdirSync(paths.a).find((one) => one.startsWith('antipode-captured-'))!;
    const stamp = join(paths.a, name);
    const saved = readFileSync(stamp);
    rmSync(stamp);
    place(stamp);
    await a.reopen();
    const { held, isOlderCopy } = await group.capture(a, NATIVE);
    expect([held, isOlderCopy]).toEqual([undefined, true]);
    rmSync(stamp, { recursive: true });
    writeFileSync(stamp, saved);
  });
});

describe('a damaged store in a group whose keys are sealed', () => {
  /** Keys that the token wraps, and the files that they are in. */
  async function sealedMember(isSeen: boolean) {
    const token = makeToken('sealed');
    const { path } = paired(token);
    const member = await TestMember.on(isSeen ? cloning(token) : token);
    const ofMember = new SealedGroup();
    await enrolTogether([member], { group: ofMember.name, version: 1 });
    const files = ['1', '2', '3', '4', '5', '6'].map((id) => {
      const before = new Set(readdirSync(path));
      token.tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--extractable', '--id', `0${id}`, '--label', id);
      return join(path, readdirSync(path).find((name) => name.endsWith('.object') && !before.has(name))!);
    });
    await ofMember.captured(member);
    const captureAfterRestart = async () => {
      await member.reopen();
      return ofMember.capture(member, { memory: new CaptureMemory() });
    };
    return { member, ofMember, files, captureAfterRestart };
  }

  it('is held beyond the loss limit, even if nobody sees the store', async () => {
    const { member, ofMember, files, captureAfterRestart } = await sealedMember(false);
    for (const file of files) truncateSync(file, 0);
    const { held } = await captureAfterRestart();
    expect([held?.losses.length, held?.limit]).toEqual([6, 5]);
    expect(ofMember.newest!.generation.tombstones).toEqual([]);
    await member.close();
  });

  it('buries no key at all if the partition has a cloner, and reports each', async () => {
    const { member, ofMember, files, captureAfterRestart } = await sealedMember(true);
    truncateSync(files[0]!, 0);
    truncateSync(files[1]!, 100);
    expect((await captureAfterRestart()).held).toBeUndefined();
    const { generation } = ofMember.newest!;
    expect([generation.entries.length, generation.tombstones]).toEqual([6, []]);
    expect(reasonsOf(ofMember.newest!).filter((reason) => reason === 'secret-key: unreadable')).toHaveLength(2);
    await member.close();
  });
});
