/** `antipode luna prepare-vault`: a device in factory state is taken into use, and one that has something is not. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { verificationOf } from '../../emulators/lunacm/commands/hsm.ts';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { lunaSite } from './support.ts';

const VAULT = '532018';
const RANDOM = 'A1B2-C3D4-E5F6-G7H8';
const CLI = join(import.meta.dirname, '../../../apps/cli/src/main.ts');

let site: LunaSite;

/** The files of a site with this vault, beside the emulated devices. */
function prepared({ isInTransport = false }: { isInTransport?: boolean } = {}): string {
  site = lunaSite();
  site.makeFactoryVault({ isInTransport });
  const folder = join(site.folder, 'site');
  mkdirSync(folder);
  const secret = (name: string, text: string): void => writeFileSync(join(folder, name), `${text}\n`, { mode: 0o600 });
  secret('officer.pin', site.passwords.vault);
  secret('backup.pin', site.passwords.backup);
  secret('domain.pin', site.passwords.domain);
  secret('random.txt', RANDOM);
  secret('told.txt', verificationOf(site.partition(VAULT), RANDOM));
  writeFileSync(
    join(folder, 'agent.yaml'),
    `site: a
listen: localhost:0
coordinator: { id: main, address: 'localhost:1' }
tls: { ca: ca.pem, certificate: a.pem, key: a.key }
dataFolder: data
partitions:
  - { name: main, module: /no/module.so, tokenLabel: main, pinFile: main.pin }
luna:
  lunacm: ${join(import.meta.dirname, '../../emulators/lunacm/lunacm')}
  configuration: ${site.folder}
  environment: { LUNACM_EMULATOR_NODE: ${process.execPath}, NODE_NO_WARNINGS: '1' }
vaults:
  - name: vault
    serial: '${VAULT}'
    label: vault
    officerPasswordFile: officer.pin
    backupPasswordFile: backup.pin
    partition: { name: main, serial: '154438865287', label: par0 }
`,
  );
  return folder;
}

function prepare(folder: string, ...more: string[]): { status: number | null; stdout: string; stderr: string } {
  const given = ['--config', join(folder, 'agent.yaml'), '--domain-file', join(folder, 'domain.pin')];
  return spawnSync(process.execPath, [CLI, 'luna', 'prepare-vault', 'vault', ...given, ...more], {
    encoding: 'utf8',
    input: '',
  });
}

const typed = (): string[] => site.log.flatMap(({ typed: line }) => line ?? []);
const initialisations = (): string[] => typed().filter((line) => line.startsWith('hsm init'));

it('ends the transport mode, initialises, sets policy 55, and does nothing at its second run', () => {
  const folder = prepared({ isInTransport: true });
  const strings = ['random-user-string', 'verification-string'].flatMap((name) => [
    `--${name}-file`,
    join(folder, name === 'random-user-string' ? 'random.txt' : 'told.txt'),
  ]);
  const without = prepare(folder, '--serial', VAULT, '--yes');
  expect([without.status, without.stderr]).toEqual([1, expect.stringContaining('LUNA_HUMAN_NEEDED')]);
  const { status, stdout } = prepare(folder, '--serial', VAULT, '--yes', '--json', ...strings);
  expect([status, JSON.parse(stdout)]).toMatchObject([0, { verdict: 'ready' }]);
  expect(site.partition(VAULT)).toMatchObject({ label: 'vault', isZeroized: false, policies: { 55: 1 } });
  expect(prepare(folder, '--serial', VAULT, '--yes').status).toBe(0);
  expect(initialisations()).toHaveLength(1);
  const told = [readFileSync(join(site.folder, 'log.jsonl'), 'utf8'), stdout, ...site.argv.flat()].join('\n');
  for (const password of [site.passwords.vault, site.passwords.domain]) expect(told).not.toContain(password);
}, 120_000);

it('types nothing without a confirmation, or for another device than the one in the configuration', () => {
  const folder = prepared();
  expect(prepare(folder, '--serial', VAULT).status).toBe(2);
  expect(prepare(folder, '--serial', '532019', '--yes')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('Compare the number on the device'),
  });
  expect(typed()).toEqual([]);
}, 60_000);

it('initialises no device that has a backup or another label', () => {
  const folder = prepared();
  site.change(VAULT, ({ archives }) => {
    archives.push({ name: 'of somebody', hash: '', domain: 'one', totalBytes: 300 });
  });
  expect(prepare(folder, '--serial', VAULT, '--yes')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('LUNA_REFUSED'),
  });
  site.change(VAULT, ({ archives }) => void archives.splice(0));
  site.replace(VAULT, { label: 'of others', isZeroized: false });
  expect(prepare(folder, '--serial', VAULT, '--yes').status).not.toBe(0);
  expect(initialisations()).toEqual([]);
}, 120_000);
