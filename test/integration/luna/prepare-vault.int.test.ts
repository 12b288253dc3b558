/** `antipode luna prepare-vault`: a device in factory state is taken into use, and one that has something is not. */
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { approvalFileText, parseApprovalBytes, type SignedApproval } from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { systemClock } from '@antipode/runtime';
import { preparationOf } from '@antipode/site-agent';
import { Journal } from '@antipode/site-agent/testing';
import { describe, expect, it } from 'vitest';
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

describe('where the site guards the group of the partition', () => {
  const operators = new SomeOperators();
  const SERIAL = '0154438865287';
  const EPOCH = 3n;

  /** The site with a seat in each group, and with rules about approvals. */
  const guarded = (...groups: string[]): string => {
    const folder = prepared();
    const journal = Journal.open(join(folder, 'data'), { site: 'a' });
    journal.identities.add('main', { serial: SERIAL, ckaId: Buffer.from('id'), publicHalf: Buffer.from('half') });
    for (const group of groups) {
      journal.tenure.raise(group, { epoch: EPOCH, owner: 'a' });
      journal.tenure.setSeat(group, SERIAL, 'standby');
    }
    journal.close();
    const list = operators.policy.operators.map(({ name, key }) => ({
      name,
      key: key.export({ type: 'spki', format: 'der' }).toString('base64'),
    }));
    appendFileSync(join(folder, 'agent.yaml'), `approvals: ${JSON.stringify({ required: 2, operators: list })}\n`);
    return folder;
  };
  const request = (changes: Parameters<typeof someRequest>[0] = {}, fromMs = systemClock.wallMs() - 1_000) =>
    someRequest(
      {
        action: 'restore',
        partitions: [{ site: 'a', serial: SERIAL, role: 'member', identity: '' }],
        epochs: { from: Number(EPOCH), to: Number(EPOCH) },
        limits: { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] },
        objects: [preparationOf({ serial: VAULT, label: 'vault' })],
        ...changes,
      },
      fromMs,
    );
  const fileOf = (folder: string, { request: bytes, signatures }: SignedApproval): string => {
    const path = join(folder, 'approval.json');
    writeFileSync(path, approvalFileText(parseApprovalBytes(bytes), signatures));
    return path;
  };
  const uses = (folder: string): number => {
    const journal = Journal.open(join(folder, 'data'), { site: 'a' });
    const { length } = journal.approvals.latest(9);
    journal.close();
    return length;
  };
  const ordered = (folder: string, approval?: SignedApproval) =>
    prepare(
      folder,
      ...['--serial', VAULT, '--yes'],
      ...(approval === undefined ? [] : ['--approval', fileOf(folder, approval)]),
    );

  it('types nothing without an approval, and says what it would have to name', () => {
    const folder = guarded('payments');
    const { stderr, status } = ordered(folder);
    expect([status, stderr]).toEqual([expect.any(Number), expect.stringContaining('APPROVAL_REQUIRED')]);
    expect(stderr).toContain(preparationOf({ serial: VAULT, label: 'vault' }));
    expect([typed(), uses(folder)]).toEqual([[], 0]);
  }, 60_000);

  it.each([
    [
      'APPROVAL_MISMATCH',
      'another label',
      () => operators.sign(request({ objects: [preparationOf({ serial: VAULT, label: 'other' })] })),
    ],
    [
      'APPROVAL_MISMATCH',
      'another device',
      () => operators.sign(request({ objects: [preparationOf({ serial: '1', label: 'vault' })] })),
    ],
    ['APPROVAL_MISMATCH', 'another group', () => operators.sign(request({ group: 'cards' }))],
    ['APPROVAL_MISMATCH', 'another epoch', () => operators.sign(request({ epochs: { from: 4, to: 9 } }))],
    [
      'APPROVAL_MISMATCH',
      'another site',
      () => operators.sign(request({ partitions: [{ site: 'b', serial: SERIAL, role: 'member', identity: '' }] })),
    ],
    ['APPROVAL_INSUFFICIENT', 'one signature less', () => operators.sign(request(), ['alice', 'bob'])],
    ['APPROVAL_EXPIRED', 'yesterday', () => operators.sign(request({}, systemClock.wallMs() - 86_400_000))],
    [
      'APPROVAL_INVALID',
      'a signature under the name of another',
      () => {
        const approval = operators.sign(request(), ['alice', 'bob']);
        return {
          ...approval,
          signatures: [...approval.signatures, operators.signature(approval.request, 'carol', 'bob')],
        };
      },
    ],
  ])(
    'is refused with %s by an approval for %s, and the device is not asked',
    (code, _what, approval) => {
      const folder = guarded('payments');
      expect(ordered(folder, approval())).toMatchObject({ stderr: expect.stringContaining(`[${code}]`) });
      expect([typed(), uses(folder)]).toEqual([[], 0]);
    },
    60_000,
  );

  it('uses its approval before the device is changed, and goes on with it after a cut', () => {
    const folder = guarded('payments');
    const approval = operators.sign(request());
    site.fault({ command: 'hsm init', at: 0, do: 'die', run: 1 });
    expect(ordered(folder, approval).status).not.toBe(0);
    expect(uses(folder)).toBe(1);
    expect(ordered(folder, approval)).toMatchObject({ status: 0 });
    expect(uses(folder)).toBe(1);
    expect(site.partition(VAULT)).toMatchObject({ label: 'vault', isZeroized: false, policies: { 55: 1 } });
  }, 120_000);
});
