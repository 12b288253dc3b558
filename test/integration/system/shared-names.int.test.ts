/**
 * Two objects under one name in a whole system, with real tokens and the commands of operators. `pkcs11-tool` is the
 * judge of what a name stands for at each site.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy, type GroupState } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

const SITES = ['a', 'b', 'c'];

let system: TestSystem;
beforeAll(async () => {
  // No capture of the coordinator's own may come in between.
  system = await TestSystem.start({ rpoSeconds: 86_400, failoverPolicy: FailoverPolicy.MANUAL });
  writeFileSync(join(system.folder, 'block'), Buffer.alloc(16, 7));
});
afterAll(() => system?.close());

const tool = (site: string, ...args: string[]): Promise<string> => system.site(site).token.toolAsync(...args);

/** A key as an application makes it. */
const make = (site: string, id: string, label: string): Promise<string> =>
  tool(site, '--keygen', '--key-type', 'aes:32', '--sensitive', '--extractable', '--id', id, '--label', label);

/** One block, encrypted by the first key that a search by CKA_ID gives. */
async function encrypted(site: string, id: string): Promise<string> {
  const [input, output] = ['block', `block-${site}`].map((name) => join(system.folder, name)) as [string, string];
  await tool(site, '--encrypt', '--id', id, '-m', 'AES-ECB', '--input-file', input, '--output-file', output);
  return readFileSync(output).toString('hex');
}

/** How many secret keys a site has under this CKA_ID, and under this label. */
async function standsFor(site: string, { id, label }: { id: string; label: string }): Promise<number[]> {
  const listed = await tool(site, '--list-objects', '--type', 'secrkey');
  const count = (line: RegExp): number => [...listed.matchAll(line)].length;
  return [count(new RegExp(`ID: +${id}$`, 'gm')), count(new RegExp(`label: +${label}$`, 'gm'))];
}

const operator = (...args: string[]) => antipode(args, { configFile: operatorConfigOf(system.folder).file });

const ofNames = ({ concerns }: GroupState) =>
  concerns.filter(({ kind }) => kind === 'names').map(({ site, errorCode, message }) => ({ site, errorCode, message }));

/** The objects that the command at a site lists with shared names. */
async function listedAt(site: string): Promise<string[]> {
  const { configFile } = system.site(site);
  const args = ['partition', 'objects', 'main', '--shared-names', '--config', configFile];
  const { stdout, code } = await antipode([...args, '--json']);
  expect(code).toBe(0);
  const { objects } = JSON.parse(stdout) as {
    objects: { label: string; ckaId: string; sharedNames: readonly string[] }[];
  };
  const told = (await antipode(args)).stdout;
  expect(told.includes('[NAMES_SHARED]')).toBe(objects.length > 0);
  return objects.map(({ label, ckaId, sharedNames }) => `${ckaId} ${label}: ${sharedNames.join(', ')}`).sort();
}

const SHARED = ['70 key 70: id', '70 of b: id'];

it('a key that an application makes at a standby under a CKA_ID of the group is reported by the next scrub', async () => {
  await system.makeKey('a', '70');
  await system.replicate();
  await system.untilProtection('protected');
  await make('b', '70', 'of b');
  expect((await operator('scrub', 'run', GROUP, '--site', 'b')).code).toBe(0);
  const seen = await system.untilProtection('partially-protected');
  expect(ofNames(seen)).toMatchObject([{ site: 'b', errorCode: 'NAMES_SHARED' }]);
  expect(await Promise.all(SITES.map((site) => standsFor(site, { id: '70', label: 'key 70' })))).toEqual([
    [1, 1],
    [2, 1],
    [1, 1],
  ]);
  expect(await listedAt('b')).toEqual(SHARED);
  expect(await listedAt('a')).toEqual([]);
});

it('the plan of a move tells of it, and after the move the group is not protected while both keys are in it', async () => {
  const former = await encrypted('a', '70');
  const plan = await operator('switchover', GROUP, '--to', 'b', '--dry-run');
  expect(plan.stdout + plan.stderr).toContain('holds 1 other objects with the label or CKA_ID');
  await system.moveTo('b');
  await system.replicate(['a', 'c']);
  const seen = await system.untilProtection('partially-protected');
  const [concern, ...others] = ofNames(seen);
  expect(others).toEqual([]);
  expect(concern).toMatchObject({ site: '', errorCode: 'NAMES_SHARED' });
  expect(concern!.message).toContain('2 share a CKA_ID');
  const countedAt = async () => {
    const { members } = (await system.operator.getGroup({ group: GROUP })).group!;
    return members.map(({ site, sharedIdObjects, sharedLabelObjects }) => [site, sharedIdObjects, sharedLabelObjects]);
  };
  // The next heartbeat of each member tells it.
  await expect.poll(countedAt, { timeout: 60_000 }).toEqual(SITES.map((site) => [site, 2, 0]));

  for (const site of SITES) {
    expect(await standsFor(site, { id: '70', label: 'of b' })).toEqual([2, 1]);
    expect(await listedAt(site)).toEqual(SHARED);
  }
  // Each site answers with one of two keys. Nothing says with which.
  const answers = new Set(await Promise.all(SITES.map((site) => encrypted(site, '70'))));
  await tool('b', '--delete-object', '--type', 'secrkey', '--label', 'key 70');
  const another = await encrypted('b', '70');
  expect(another).not.toBe(former);
  for (const answer of answers) expect([former, another]).toContain(answer);

  const back = await operator('switchover', GROUP, '--to', 'a', '--dry-run');
  expect(back.stdout + back.stderr).toContain('2 objects of the group share a label or CKA_ID');
  const shown = await operator('group', 'show', GROUP);
  expect(shown.stdout).toContain('[NAMES_SHARED]');
  // Labels stay at the sites.
  expect(shown.stdout).not.toContain('of b');
});

it('the group is protected again when the key that nobody needs is destroyed at the active site', async () => {
  await system.replicate(['a', 'c']);
  expect(ofNames(await system.untilProtection('protected'))).toEqual([]);
  const [one, ...others] = await Promise.all(SITES.map((site) => encrypted(site, '70')));
  expect(others).toEqual([one, one]);
  for (const site of SITES) {
    expect(await standsFor(site, { id: '70', label: 'of b' })).toEqual([1, 1]);
    expect(await listedAt(site)).toEqual([]);
  }
});

it('two keys under one label count too, and a new label at the active site ends it everywhere', async () => {
  await make('b', '71', 'pay');
  await make('b', '72', 'pay');
  await system.replicate(['a', 'c']);
  const seen = await system.untilProtection('partially-protected');
  expect(ofNames(seen)).toMatchObject([{ site: '', message: expect.stringContaining('2 share a label') }]);
  expect(await listedAt('a')).toEqual(['71 pay: label', '72 pay: label']);
  await tool('b', '--delete-object', '--type', 'secrkey', '--id', '72');
  await make('b', '72', 'pay later');
  await system.replicate(['a', 'c']);
  await system.untilProtection('protected');
  for (const site of SITES) expect(await standsFor(site, { id: '72', label: 'pay' })).toEqual([1, 1]);
});
