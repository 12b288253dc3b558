/** The driver and the emulated tool as processes: what needs real pipes, files, terminals and signals. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_PROFILE, inRun, type JobPorts, Launcher } from '@antipode/hsm-core/luna';
import { systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { backUp, lunaSite, statesOf } from './support.ts';

const real = { clock: systemClock } as const;
const PROGRAM = join(import.meta.dirname, '../../emulators/lunacm/lunacm');

/** Processes of others report nothing here: they are looked at until the test is over. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(20);
}

function tool(site: LunaSite, ...words: string[]): { text: string; status: number | null } {
  const { stdout, status } = spawnSync(PROGRAM, words, {
    input: '',
    encoding: 'utf8',
    env: { ...process.env, ChrystokiConfigurationPath: site.folder, LUNACM_EMULATOR_NODE: process.execPath },
  });
  return { text: stdout, status };
}

it('backs up through a pipe, and no password is in any file or argument', async () => {
  const site = lunaSite({ ...real, settings: { echo: true } });
  site.addKeys(3);
  expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
  const transcripts = readdirSync(join(site.folder, 'transcripts'));
  expect(transcripts.length).toBeGreaterThanOrEqual(4);
  const texts = transcripts.map((name) => readFileSync(join(site.folder, 'transcripts', name), 'utf8'));
  expect(texts.join('')).toContain('********');
  for (const name of transcripts) expect(statSync(join(site.folder, 'transcripts', name)).mode & 0o777).toBe(0o600);
  expect(site.filesWithPasswords).toEqual([]);
  // The arguments of every process of the tool.
  expect(new Set(site.argv.flat())).toEqual(new Set());
});

it('types passwords into a terminal where the tool asks for them there', async () => {
  const site = lunaSite({ ...real, profile: { passwords: 'prompt' } });
  site.addKeys(1);
  const { objects } = await site.driver.contents(site.source.address, site.source.login);
  expect(objects).toHaveLength(1);
  expect(site.log.filter(({ command }) => command === 'role login').map(({ typed }) => typed)).toEqual([
    'role login -name co',
  ]);
  expect(site.filesWithPasswords).toEqual([]);
});

it('reads both outputs of a tool that writes failures to the other one', async () => {
  const site = lunaSite({ ...real, settings: { errorsTo: 'error' } });
  const job = site.driver.contents(site.source.address, { role: 'co', password: site.secret('wrong') });
  expect((await rejection(job)).code).toBe('PIN_REFUSED');
});

it('25: tells by lists what a run did that was killed', async () => {
  const site = lunaSite({ ...real, logins: 'ped' });
  site.addKeys(6);
  site.fault({ command: 'partition archive backup', at: 4, do: 'die' });
  const report = await backUp(site);
  expect(report).toMatchObject({ verdict: 'partial', why: 'ended' });
  expect(statesOf(report)).toEqual({ moved: 3, missing: 3 });
});

it('26: ends a run that hangs, with all that it has started', async () => {
  const site = lunaSite({ ...real, logins: 'ped' });
  site.addKeys(3);
  site.fault({ command: 'partition archive backup', at: 2, do: 'hang' });
  const ports: JobPorts = {
    ...site.ports,
    // Long enough for a machine that is busy, and no longer than a test can wait.
    settings: { isHaOnly: false, certificates: [], limits: { ...site.ports.settings.limits, cloningMs: 4_000 } },
  };
  site.useDriver(ports);
  expect(await backUp(site)).toMatchObject({ verdict: 'partial', why: 'silent' });
  expect(site.processes()).toEqual([]);
});

it.each(['pipe', 'terminal'] as const)('ends the tool with an agent that is killed, over a %s', async (way) => {
  const site = lunaSite(real);
  site.fault({ command: 'start', at: 0, do: 'hang' });
  const options = { program: PROGRAM, configuration: site.folder, jobs: join(site.folder, 'jobs') };
  const environment = { LUNACM_EMULATOR_NODE: process.execPath };
  const source = `import { Launcher } from '@antipode/hsm-core/luna';
    new Launcher(${JSON.stringify({ ...options, environment })}).launch('${way}').read(() => {});
    setInterval(() => {}, 1000);`;
  const agent = spawn(process.execPath, ['--input-type=module', '-e', source], {
    cwd: join(import.meta.dirname, '../../..'),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  try {
    await until(() => site.argv.length === 1);
    expect(site.processes()).not.toEqual([]);
  } finally {
    agent.kill('SIGKILL');
  }
  await until(() => site.processes().length === 0);
});

it('leaves neither a tool nor a lock when the driver is killed in a backup, and the next one completes', async () => {
  const site = lunaSite({ ...real, logins: 'ped' });
  site.addKeys(5);
  site.fault({ command: 'partition archive backup', at: 3, do: 'hang', run: 1 });
  const { source, vault } = site;
  const launcher = { program: PROGRAM, configuration: site.folder, jobs: join(site.folder, 'jobs') };
  const environment = { LUNACM_EMULATOR_NODE: process.execPath };
  const folders = { stateFolder: join(site.folder, 'login'), lockFolder: join(site.folder, 'locks') };
  const program = `import * as luna from '@antipode/hsm-core/luna';
    import { Secret, systemClock } from '@antipode/runtime';
    const order = ${JSON.stringify({ source: { address: source.address, login: source.login }, vault, keep: 2 })};
    const driver = new luna.LunaDriver({
      launcher: new luna.Launcher(${JSON.stringify({ ...launcher, environment })}),
      clock: systemClock, phrases: luna.readPhrases(), settings: luna.readClientSettings('${site.folder}'),
      profile: luna.DEFAULT_PROFILE, transcripts: { keep: () => {} }, onPed: () => {},
      ...${JSON.stringify(folders)},
    });
    await driver.keepBackups({ ...order, password: new Secret(Buffer.from('not looked at')) }, []);`;
  const agent = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: join(import.meta.dirname, '../../..'),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  try {
    await until(() => site.log.some(({ hangs }) => hangs !== undefined));
  } finally {
    agent.kill('SIGKILL');
  }
  await until(() => site.processes().length === 0);
  const { cutShort } = await site.driver.reviewVault(vault.address);
  expect(cutShort).toMatchObject([{ objectCount: 2 }]);
  const order = { source, vault, password: site.secret('backup'), keep: 2 };
  const approvals = [{ action: 'expire own backups' as const, target: vault.address, keep: 2 }];
  const { backup, deleted } = await site.driver.keepBackups(order, approvals);
  expect([backup.verdict, deleted]).toEqual(['complete', cutShort.map(({ name }) => name)]);
});

describe('27: a tool that writes nothing until it ends', () => {
  it('is given a file that only its owner reads, and that is gone afterwards', async () => {
    const site = lunaSite({ ...real, settings: { buffering: 'block' }, profile: { buffering: 'block' } });
    expect((await site.driver.survey()).slots).toHaveLength(3);
    expect(site.argv).toEqual([['-f', expect.stringMatching(/\.lunacm$/)]]);
    expect(site.modes).toEqual([0o600]);
    expect(readdirSync(join(site.folder, 'jobs'))).toEqual([]);
  });

  it('is driven through a terminal, where it writes lines', async () => {
    const site = lunaSite({
      ...real,
      logins: 'ped',
      settings: { buffering: 'block' },
      profile: { buffering: 'block' },
    });
    site.addKeys(2);
    expect((await site.driver.contents(site.source.address, site.source.login)).objects).toHaveLength(2);
  });
});

it('removes files that a killed agent left', async () => {
  const site = lunaSite(real);
  const options = { program: PROGRAM, configuration: site.folder, jobs: join(site.folder, 'jobs') };
  new Launcher(options);
  const left = join(site.folder, 'jobs', 'left.lunacm');
  writeFileSync(left, 'slot list\n', { mode: 0o600 });
  new Launcher(options);
  expect(existsSync(left)).toBe(false);
});

it('reports a tool that cannot be started as not reached', async () => {
  const site = lunaSite(real);
  const launcher = new Launcher({
    program: '/nowhere/lunacm',
    configuration: site.folder,
    jobs: join(site.folder, 'jobs'),
  });
  const job = inRun('test', { ...site.ports, launcher, profile: DEFAULT_PROFILE }, async () => 1);
  expect((await rejection(job)).code).toBe('LUNA_UNREACHED');
});

it('33: the emulator refuses the launches that the real tool refuses', () => {
  const site = lunaSite(real);
  expect(tool(site, '-c', 'slot list').text).toContain('0x1 Unknown command');
  expect(tool(site, 'slot', 'list').text).toContain('Unknown command-line arguments');
  expect(tool(site, '-c', 'slot', 'list').text).toContain('Command Result : No Error');
  expect(tool(site, '-q', 'slot', 'list').text).not.toContain('Copyright');
  expect(tool(site, '-s', '1', 'partition', 'showinfo').text).toContain('154438865301');
  expect(tool(site, '-q', 'partition', 'clear', '-everything').text).toContain('0x1 Unknown command');
  for (const serial of ['154438865287', '154438865301', '532018']) site.replace(serial, { isReachable: false });
  site.set({ receiveMs: 1 });
  expect(tool(site).status).toBe(12);
});
