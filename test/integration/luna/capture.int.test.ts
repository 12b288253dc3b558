/** Commands for people beside the devices: a capture for the driver, and a preflight. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  capture,
  FIRST_STEPS,
  LAST_STEPS,
  NOT_CAPTURED,
  readPhrases,
  recalledFormNames,
  stepsAt,
} from '@antipode/hsm-core/luna';
import { describe, expect, it } from 'vitest';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { lunaSite } from './support.ts';

const captured = async (site: LunaSite) => {
  const folder = join(site.folder, 'capture');
  const { launcher, clock, phrases, settings } = site.ports;
  return site.finish(capture(folder, { launcher, clock, phrases, limits: settings.limits }));
};

const textsOf = (site: LunaSite): string =>
  readdirSync(join(site.folder, 'capture'))
    .filter((name) => name.endsWith('.txt'))
    .map((name) => readFileSync(join(site.folder, 'capture', name), 'utf8'))
    .join('\n');

function siteWithBackup(dialect: string): LunaSite {
  const site = lunaSite({ logins: 'ped', settings: { dialect } });
  site.addKeys(2);
  site.change('532018', ({ archives }) => {
    archives.push({ name: 'payroll of June', hash: '', domain: 'one', totalBytes: 300 });
  });
  site.replace('154438865287', { label: 'payments' });
  site.devices.change((devices) => {
    devices.groups = [{ label: 'both', slot: 5, serials: ['154438865287', '154438865301'] }];
  });
  return site;
}

describe.each(['7.1', '10.7', 'hostile'])('a capture in the dialect %s', (dialect) => {
  it('names nothing of the site, and one thing by one mask', async () => {
    const site = siteWithBackup(dialect);
    await captured(site);
    const text = textsOf(site);
    for (const name of ['154438865287', '154438865301', '532018', 'payments', 'scratch', 'vault', 'payroll', 'a1a1a1'])
      expect(text.includes(name), name).toBe(false);
    const [mask] = /9{11,12}\d/.exec(text) ?? [];
    expect(text.split(mask!).length).toBeGreaterThan(3);
  });

  it('only reads, logs in nowhere and changes nothing', async () => {
    const site = siteWithBackup(dialect);
    const before = site.devices.read().partitions;
    await captured(site);
    expect(site.devices.read().partitions).toEqual(before);
    const words = site.log.map(({ typed = '' }) => typed.split(' ').slice(0, 2).join(' '));
    expect([...new Set(words)].sort()).toEqual([
      ...['hagroup listgroups', 'hsm showinfo', 'hsm showpolicies', 'nosuchcommand', 'partition archive'],
      ...['partition showinfo', 'partition showpolicies', 'role show', 'slot list', 'slot set'],
    ]);
  });
});

it('every recalled text and command is covered by a capture, or named with what would show it', async () => {
  const { covered, notCovered } = await captured(siteWithBackup('10.7'));
  const recalled = Object.entries(readPhrases()).flatMap(([name, { mark }]) => (mark === 'K' ? [name] : []));
  const open = [...recalled, ...recalledFormNames()].filter((name) => !covered.includes(name));
  expect(open.sort()).toEqual(notCovered.toSorted());
  const steps = [...FIRST_STEPS, ...stepsAt(0), ...LAST_STEPS];
  for (const name of steps.flatMap(({ confirms }) => confirms)) expect(NOT_CAPTURED[name]).toBeUndefined();
});

it('ends at a question that it does not answer, and says so', async () => {
  const site = siteWithBackup('10.7');
  site.fault({ command: 'hagroup listgroups', at: 1, do: 'ask' });
  site.fault({ command: 'hagroup listgroups', at: 0, do: 'ask' });
  await captured(site);
  expect(textsOf(site)).toContain('the session was ended here');
  expect(site.log.filter(({ answer }) => answer !== undefined)).toEqual([]);
});

function antipode(site: LunaSite, ...words: string[]): { status: number | null; out: string; error: string } {
  const main = join(import.meta.dirname, '../../../apps/cli/src/main.ts');
  const tool = ['--lunacm', join(import.meta.dirname, '../../emulators/lunacm/lunacm'), '--client-config', site.folder];
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'luna', ...words, ...tool], {
    encoding: 'utf8',
    env: { ...process.env, LUNACM_EMULATOR_NODE: process.execPath },
  });
  return { status, out: stdout, error: stderr };
}

describe('antipode luna preflight', () => {
  it('compares both ends, and fails where one rule will', () => {
    const site = lunaSite();
    const ends = ['--source', '154438865287', '--target', '154438865301'];
    const good = antipode(site, 'preflight', ...ends);
    expect([good.status, good.error]).toEqual([0, '']);
    expect(good.out).toMatch(/cloning domain +not known +no device shows it/);
    site.replace('154438865301', { policies: { 0: 0, 1: 1, 4: 1, 42: 0 } });
    const bad = antipode(site, 'preflight', ...ends, '--json');
    expect(bad.status).toBe(1);
    expect(JSON.parse(bad.out)).toContainEqual(
      expect.objectContaining({ rule: 'private key cloning', verdict: 'will fail' }),
    );
    expect(site.log.filter(({ command }) => command === 'role login')).toEqual([]);
  });

  it.each([
    [['--source', '1']],
    [['--source', '1', '--target', '2', '--vault', '3']],
    [['--vault', '3', '--target', '2']],
    [['--source', '1', '--target', '2', '--archive', 'a']],
  ])('refuses %j', (words) => {
    const { status, error } = antipode(lunaSite(), 'preflight', ...words);
    expect([status, error]).toEqual([2, expect.stringContaining('USAGE')]);
  });
});

it('antipode luna capture writes a new folder, and no other one', () => {
  const site = siteWithBackup('10.7');
  const folder = join(site.folder, 'sent');
  const { status, out, error } = antipode(site, 'capture', folder);
  expect([status, error]).toEqual([0, '']);
  expect(out).toContain('archiveName');
  expect(existsSync(join(folder, 'terminal.txt'))).toBe(true);
  expect(readFileSync(join(folder, 'pipe.txt'), 'utf8')).not.toContain('payments');
  expect(antipode(site, 'capture', folder).error).toContain('FILE_EXISTS');
});
