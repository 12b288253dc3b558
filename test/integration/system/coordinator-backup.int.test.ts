/**
 * The database of the coordinator is put back from a backup that is older than the last failover, by the commands, while
 * the new active member serves. A whole system on real tokens.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let system: TestSystem;
let config: string;
let dataFolder: string;
let older: string;
let newer: string;

beforeAll(async () => {
  system = await TestSystem.start({ processes: ['coordinator'], rpoSeconds: 86_400 });
  config = join(system.folder, 'coordinator', 'coordinator.yaml');
  dataFolder = join(system.folder, 'coordinator', 'data');
  [older, newer] = [join(system.folder, 'older.backup'), join(system.folder, 'newer.backup')];
  await system.makeKey('a', '01');
  await system.replicate();
});
afterAll(() => system?.close());

const command = (...words: string[]) => antipode(['coordinator', ...words, '--config', config, '--json']);
const roles = () =>
  ['a', 'b', 'c'].map((site) => {
    const [seat] = system.agent(site).site.journal.tenure.seats();
    return [site, seat?.role, system.agent(site).site.journal.tenure.fence(GROUP)?.epoch] as const;
  });
const activeNow = () => roles().flatMap(([site, role]) => (role === 'active' ? [site] : []));

it('a backup is taken while the coordinator works, and the file says what is in it', async () => {
  const { code, stdout, stderr } = await command('backup', '--to', older);
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toMatchObject({
    path: older,
    manifest: { groups: [{ group: GROUP, epoch: '1', owner: 'a', generation: '1', members: ['a', 'b', 'c'] }] },
  });
  expect((await command('backup', '--to', older)).stderr).toContain('FILE_EXISTS');
});

it('is not put back while the coordinator runs, nor from a damaged file, and nothing is changed then', async () => {
  const before = readdirSync(dataFolder).sort();
  expect(await command('restore', older, '--yes')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('"FILE_EXISTS"'),
  });
  const damaged = join(system.folder, 'damaged.backup');
  writeFileSync(damaged, readFileSync(older).subarray(0, -20));
  expect((await command('restore', damaged, '--yes')).stderr).toContain('"BACKUP_INVALID"');
  expect(readdirSync(dataFolder).sort()).toEqual(before);
});

it('that is older than a failover says what the sites know beyond it, and makes no second active member', async () => {
  await system.moveTo('b');
  await system.makeKey('b', '02');
  await system.replicate(['a', 'c']);
  expect((await command('backup', '--to', newer)).code).toBe(0);
  const { epoch } = (await system.operator.getGroup({ group: GROUP })).group!;
  await system.coordinatorProcess!.stop();
  // How many captures there were depends on when the key was seen.
  const agent = system.order('b');
  const generation = Number((await agent.describe({})).members[0]?.captured?.generation);
  agent.close();
  expect(generation).toBeGreaterThanOrEqual(2);

  const planned = await command('restore', older, '--dry-run');
  expect(planned).toMatchObject({ code: 0, stderr: expect.stringContaining('is not deleted') });
  expect(existsSync(join(dataFolder, 'postgres.replaced-1'))).toBe(false);

  const { code, stdout } = await command('restore', older, '--yes');
  expect(code).toBe(0);
  const { learned, movedTo, manifest } = JSON.parse(stdout);
  expect(existsSync(movedTo)).toBe(true);
  expect(learned).toMatchObject({
    silent: [],
    groups: [
      {
        group: GROUP,
        verdict: 'contradicted',
        recorded: { epoch: 1, owner: 'a', generation: 1 },
        told: { epoch: Number(epoch), owner: 'b', generation },
        silent: [],
      },
    ],
  });
  expect(learned.term).toBeGreaterThanOrEqual(Number(manifest.term));

  await system.startCoordinator({ asProcess: true });
  // A database of before the move would have made a active again. It orders nothing, and sends nobody anywhere.
  const refused = await system.until('the contradiction is seen', async () => {
    const error = await rejection(system.operator.resolve({ group: GROUP }));
    return error.code === 'GROUP_CONTRADICTED' && error;
  });
  expect(refused.message).toContain('epoch');
  expect(activeNow()).toEqual(['b']);
  expect((await rejection(system.operator.replicate({ group: GROUP }))).code).toBe('GROUP_CONTRADICTED');

  const reseated = await antipode(['group', 'reseat', GROUP, '--yes'], {
    configFile: operatorConfigOf(system.folder).file,
  });
  expect(reseated).toMatchObject({ code: 0, stdout: expect.stringContaining('site b is active') });
  await system.untilActive('b');
  expect((await system.operator.getGroup({ group: GROUP })).group!.epoch).toBeGreaterThan(epoch);
  await system.makeKey('b', '03');
  await system.insistent('the next key is replicated', () => system.replicate(['a', 'c']));
  for (const site of ['a', 'b', 'c']) expect(await system.keysAt(site)).toEqual(['key 01', 'key 02', 'key 03']);
  expect(activeNow()).toEqual(['b']);
});

it('that agrees with the sites needs no further step, and an agent that is away is named', async () => {
  expect((await command('backup', '--to', join(system.folder, 'now.backup'))).code).toBe(0);
  await system.coordinatorProcess!.stop();
  await system.stopAgent('c');
  const { code, stdout } = await command('restore', join(system.folder, 'now.backup'), '--yes');
  expect(code).toBe(0);
  expect(JSON.parse(stdout).learned).toMatchObject({
    silent: [{ site: 'c' }],
    groups: [{ group: GROUP, verdict: 'agrees', silent: ['c'] }],
  });
  expect(JSON.parse(stdout).movedTo).toMatch(/replaced-2$/);
  await system.startAgent('c');
  await system.startCoordinator({ asProcess: true });
  await system.untilActive('b');
  await system.makeKey('b', '04');
  await system.insistent('the next key is replicated', () => system.replicate(['a', 'c']));
});
