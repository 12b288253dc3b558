/**
 * A coordinator on a PostgreSQL of somebody else, over TCP and TLS. The commands take a backup of its database and put it
 * back into an empty one. They adopt a group of two into another empty one, when one of the two sites is lost.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy } from '@antipode/protocol';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { antipode, type Ended, operatorConfigOf } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { TlsPostgres } from '../../support/tls-postgres.ts';

vi.setConfig({ testTimeout: 150_000, hookTimeout: 150_000 });

let server: TlsPostgres;
let system: TestSystem;
let config: string;
let backup: string;
const ended: Ended[] = [];

beforeAll(async () => {
  server = await TlsPostgres.start(['used', 'restored', 'rebuilt', 'empty']);
  system = await TestSystem.start({ createGroup: false });
  config = join(system.folder, 'coordinator', 'coordinator.yaml');
  backup = join(system.folder, 'now.backup');
  await system.withHooks(`databaseUrl: ${server.url('used')}\n`);
  const spec = {
    name: GROUP,
    members: ['a', 'b'].map((site) => ({ site, serial: system.site(site).serial })),
    failoverPolicy: FailoverPolicy.MANUAL,
    rpoSeconds: 3_600,
  };
  await system.insistent('the group has its domain key', async () => {
    const { operationId } = await system.operator.createGroup({ spec });
    if (operationId !== '') await system.ended(operationId);
  });
  await system.makeKey('a', '01');
  await system.insistent('the key is replicated', () => system.replicate(['b']));
});
afterAll(async () => {
  await system?.close();
  await server?.close();
});

const use = (url: string): void =>
  writeFileSync(config, readFileSync(config, 'utf8').replace(/^databaseUrl: .*$/m, `databaseUrl: ${url}`));
async function command(...words: string[]): Promise<Ended> {
  const one = await antipode(['coordinator', ...words, '--config', config, '--json']);
  ended.push(one);
  return one;
}
const activeNow = (): string[] =>
  ['a', 'b', 'c'].filter(
    (site) =>
      system
        .site(site)
        .agent?.site.journal.tenure.seats()
        .some(({ role }) => role === 'active') ?? false,
  );
const rebuild = (...words: string[]): Promise<Ended> => {
  const sites = ['a', 'b'].flatMap((site) => ['--site', `${site}=localhost:${ports.get(site)}`]);
  return command('rebuild', ...sites, ...words);
};
const ports = new Map<string, number>();

it('a backup is taken of it while the coordinator works', async () => {
  const { code, stdout, stderr } = await command('backup', '--to', backup);
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout).manifest.groups).toMatchObject([{ group: GROUP, owner: 'a', members: ['a', 'b'] }]);
});

describe('while no coordinator runs', () => {
  beforeAll(() => system.coordinator.close());

  it.each([
    ['a server of another authority', () => server.url('empty', { authority: 'stranger' })],
    ['a connection without TLS', () => server.url('empty', { mode: 'disable' })],
    ['a wrong password', () => server.url('empty', { password: 'another one' })],
  ])('no command works over %s', async (_what, url) => {
    const before = readFileSync(config, 'utf8');
    use(url());
    try {
      for (const words of [
        ['backup', '--to', `${backup}.2`],
        ['restore', backup, '--yes'],
        ['rebuild', '--site', 'a=localhost:1'],
      ])
        expect(await command(...words)).toMatchObject({
          code: 1,
          stderr: expect.stringContaining('DATABASE_UNAVAILABLE'),
        });
    } finally {
      writeFileSync(config, before);
    }
  });

  it('a backup is put back into an empty one, and into no other', async () => {
    expect((await command('restore', backup, '--yes')).stderr).toContain('RESTORE_REFUSED');
    use(server.url('restored'));
    const { code, stdout } = await command('restore', backup, '--yes');
    expect(code).toBe(0);
    expect(JSON.parse(stdout).learned).toMatchObject({ silent: [], groups: [{ group: GROUP }] });
    expect((await command('restore', backup, '--yes')).stderr).toContain('RESTORE_REFUSED');
    await system.startCoordinator();
    await system.makeKey('a', '02');
    await system.insistent('the next key is replicated', () => system.replicate(['b']));
  });
});

it('a group of two is adopted by the site that is left, and the lost one that returns is a standby', async () => {
  const { epoch } = (await system.operator.getGroup({ group: GROUP })).group!;
  for (const site of ['a', 'b']) ports.set(site, system.agent(site).port);
  await system.coordinator.close();
  await system.stopAgent('b');
  use(server.url('rebuilt'));
  // Each partition that is trusted counts as a voter. Site c was to be a member once.
  expect((await rebuild('--lost', 'b', '--all-named', GROUP, '--yes')).stderr).toContain('2 of 3');
  const { configFile } = system.site('a');
  expect(await antipode(['peer', 'distrust', 'c', '--yes', '--config', configFile])).toMatchObject({ code: 0 });
  const refused = await rebuild('--yes');
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('REBUILD_REFUSED')]);
  expect(refused.stderr).toContain('2 of 2');
  const adopted = await rebuild('--lost', 'b', '--all-named', GROUP, '--yes');
  expect(adopted.code).toBe(0);
  expect(JSON.parse(adopted.stdout)).toMatchObject({
    adopted: [GROUP],
    groups: [{ group: GROUP, owner: 'a', epoch: Number(epoch), lost: ['b'] }],
  });
  await system.startCoordinator();
  await system.untilActive('a');
  expect(activeNow()).toEqual(['a']);
  // The lost site returns after all, with its seat in its journal.
  await system.startAgent('b');
  await system.until('it is heard', async () =>
    (await system.operator.getStatus({})).sites.some(({ site, state }) => site === 'b' && state === 'up'),
  );
  await system.makeKey('a', '03');
  await system.insistent('it is a standby again', () => system.replicate(['b']));
  expect(activeNow()).toEqual(['a']);
  expect((await system.operator.getGroup({ group: GROUP })).group).toMatchObject({ epoch, contradiction: '' });
  expect(await system.keysAt('b')).toEqual(['key 01', 'key 02', 'key 03']);
});

it('the lost site is removed, although a new domain key waits for it', async () => {
  await system.stopAgent('b');
  await system.until('it is missed', async () =>
    (await system.operator.getStatus({})).sites.some(({ site, state }) => site === 'b' && state === 'down'),
  );
  const configFile = operatorConfigOf(system.folder).file;
  const ordered = await antipode(['group', 'rotate-domain-key', GROUP, '--timeout', '5'], { configFile });
  expect([ordered.code, ordered.stderr]).toEqual([
    expect.any(Number),
    expect.stringContaining('no standby can be reached'),
  ]);
  const removed = await antipode(['group', 'remove-member', GROUP, 'b', '--yes'], { configFile });
  expect(removed).toMatchObject({ code: 0 });
  expect((await system.operator.getGroup({ group: GROUP })).group!.members).toMatchObject([{ site: 'a' }]);
});

it('no output has the password of the database', () => {
  expect(ended.length).toBeGreaterThan(4);
  for (const { stdout, stderr } of ended) expect(stdout + stderr).not.toContain(server.password);
});
