/**
 * A group with an archive on a Backup HSM, which the emulator stands for: with coordinator, agents, real tokens and real
 * processes of `lunacm`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentFindings } from '@antipode/cli/testing';
import { ArchiveWork, FailoverPolicy, GroupChangeSchema, Movement } from '@antipode/protocol';
import { listArchived, loadAgentConfig } from '@antipode/site-agent';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SoftHsmToken } from '../../emulators/lunacm/softhsm-token.ts';
import { BackupHsm, VAULT_SERIAL } from '../../support/backup-hsm.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { USER_PIN } from '../../support/tokens.ts';

/** Each job of the driver starts the vendor's program some ten times. */
const LONG_MS = 400_000;

let system: TestSystem;
let hsm: BackupHsm;

beforeAll(async () => {
  system = await TestSystem.start({ createGroup: false, timeoutMs: 300_000 });
  const { token, configFile } = system.site('a');
  token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'ec');
  token.tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '02', '--label', 'aes');
  await system.makeKey('a', '03');
  hsm = await BackupHsm.for(token, USER_PIN);
  hsm.addForeign('of somebody else');
  // Keys that no token wraps, as the tool makes them by default, are in the generations with what shows their value.
  const text = readFileSync(configFile, 'utf8').replace(/^( *)- name: main$/m, '$&\n$1  native: { kind: softhsm }');
  writeFileSync(configFile, text + hsm.section({ partition: 'main', keep: 1 }));
  await system.stopAgent('a');
  await system.startAgent('a');
  await system.createGroup(FailoverPolicy.MANUAL, { rpoSeconds: 3_600 });
  await change({ case: 'settings', value: { movement: Movement.NATIVE } });
  await system.replicate();
}, 180_000);

afterAll(async () => {
  await system?.close();
  hsm?.remove();
}, 120_000);

const group = async () => (await system.operator.getGroup({ group: GROUP })).group!;
const archiveOf = async () => (await group()).archives[0]!;
const change = async (kind: NonNullable<MessageInitShape<typeof GroupChangeSchema>['kind']>) => {
  const wanted = create(GroupChangeSchema, { kind });
  const plan = await system.operator.planGroupChange({ group: GROUP, change: wanted });
  if (plan.obstacle !== '') return undefined;
  await system.operator.changeGroup({ group: GROUP, change: wanted, revision: plan.revision });
  return plan;
};
const ended = async (work: ArchiveWork, backup = '') => {
  const { operationId } = await system.operator.runArchive({ group: GROUP, work, backup });
  return system.until('the work with the vault has ended', async () => {
    const { operation } = await system.operator.getOperation({ operationId });
    return operation !== undefined && operation.status !== 'open' && operation;
  });
};
const run = async (work: ArchiveWork, backup = '') => {
  const operation = await ended(work, backup);
  expect(operation).toMatchObject({ status: 'done', errorCode: '' });
  if (operation.outcome.case !== 'archive') throw new Error('no outcome');
  return operation.outcome.value;
};
const typed = (command: string): string[] => [
  ...new Set(hsm.typed.filter((one) => one.command === command).map(({ serial }) => serial)),
];

it(
  'backs up by itself once the group has the vault',
  async () => {
    const plan = await system.until('the site tells its vault', () =>
      change({ case: 'archives', value: { vaults: [{ site: 'a', serial: VAULT_SERIAL }] } }),
    );
    expect(plan.changes).toEqual([`archives: a=${VAULT_SERIAL} is added`]);
    await change({ case: 'settings', value: { archiveKeep: 1 } });
    const archive = await system.until('the first backup is complete', async () => {
      const now = await archiveOf();
      return now.state !== 'empty' && now;
    });
    expect(archive).toMatchObject({ state: 'current', name: 'vault', lastFailure: '' });
    expect(archive.generation!.generation).toBe((await group()).newest!.generation);
    expect(hsm.backups).toEqual(['of somebody else', archive.backup]);
    const { runs } = await system.operator.listArchives({ group: GROUP });
    expect(runs).toMatchObject([{ verdict: 'complete', errorCode: '', site: 'a' }]);
    expect(JSON.parse(runs[0]!.evidence)).toMatchObject({
      work: 'backup',
      backup: archive.backup,
      vault: VAULT_SERIAL,
    });
    expect(runs[0]!.signature).toHaveLength(64);
  },
  LONG_MS,
);

it(
  'drills from the vault while the partition is gone, and clears the scratch partition alone',
  async () => {
    hsm.setReachable(hsm.source.serial, false);
    expect(await run(ArchiveWork.DRILL)).toMatchObject({ verdict: 'proved', objects: 4 });
    expect(hsm.scratch.tool('--list-objects')).not.toContain('Private Key');
    expect(typed('partition clear')).toEqual([hsm.scratchSerial]);
    const { drills } = await system.operator.listDrills({ group: GROUP, limit: 1 });
    expect(drills[0]).toMatchObject({ passed: true, vault: VAULT_SERIAL, proof: { proved: 4, failed: 0 } });
    expect(JSON.parse(drills[0]!.evidence)).toMatchObject({ work: 'drill', objects: { proved: 4, missingIds: [] } });
    expect(drills[0]!.signature).toHaveLength(64);
    expect(await archiveOf()).toMatchObject({ proven: { generation: (await group()).newest!.generation } });
    hsm.setReachable(hsm.source.serial, true);
  },
  LONG_MS,
);

it(
  'keeps the last backup and those of others, whoever wants them deleted',
  async () => {
    const [other, own] = hsm.backups;
    expect(await ended(ArchiveWork.DELETE, own)).toMatchObject({ status: 'failed', errorCode: 'ARCHIVE_KEPT' });
    expect(await ended(ArchiveWork.DELETE, other)).toMatchObject({ status: 'failed', errorCode: 'NOT_FOUND' });
    expect(typed('partition archive delete')).toEqual([]);
  },
  LONG_MS,
);

it(
  'is late and not lost while the vault is away, and tells so',
  async () => {
    hsm.setReachable(VAULT_SERIAL, false);
    const away = await ended(ArchiveWork.BACKUP);
    expect(away).toMatchObject({ status: 'failed', errorCode: 'PARTITION_NOT_FOUND' });
    expect(await archiveOf()).toMatchObject({
      state: 'current',
      lastFailure: 'PARTITION_NOT_FOUND',
      backup: hsm.backups[1],
    });
    hsm.setReachable(VAULT_SERIAL, true);
  },
  LONG_MS,
);

it(
  'is looked at by the doctor, and its backup is listed with labels at the site alone',
  async () => {
    const { configFile } = system.site('a');
    const found = (await agentFindings(configFile)).filter(({ check }) => check.includes('vault'));
    expect(found).toMatchObject([
      { check: 'password files of vault vault', ok: true },
      { check: 'vault vault', ok: true, detail: expect.stringContaining('attached; nothing speaks against') },
    ]);
    const { backup } = await archiveOf();
    const { objects } = await listArchived({
      config: loadAgentConfig(configFile),
      name: undefined,
      backup,
      log: system.log,
    });
    expect(objects.map(({ label }) => label)).toEqual(expect.arrayContaining(['ec', 'aes', 'key 03']));
    expect(
      JSON.stringify(await system.operator.listArchives({ group: GROUP }), (_name, value: unknown) =>
        typeof value === 'bigint' ? String(value) : value,
      ),
    ).not.toContain('key 03');
  },
  LONG_MS,
);

it(
  'tells the truth of a power cut in the middle of a backup, and the next one completes',
  async () => {
    const before = await archiveOf();
    hsm.fault({ command: 'partition archive backup', at: 3, do: 'die' });
    const cut = await ended(ArchiveWork.BACKUP);
    expect(cut.status).toBe('failed');
    expect(['ARCHIVE_INCOMPLETE', 'LUNA_OUTCOME_UNKNOWN']).toContain(cut.errorCode);
    expect(await archiveOf()).toMatchObject({ backup: before.backup, state: 'current', lastFailure: cut.errorCode });
    hsm.fault();
    const made = await run(ArchiveWork.BACKUP);
    expect(made.verdict).toBe('complete');
    // The older one and the one that was cut short are gone, and nothing of others.
    expect(hsm.backups).toEqual(['of somebody else', made.backup]);
    expect(await archiveOf()).toMatchObject({ backup: made.backup, lastFailure: '' });
  },
  LONG_MS,
);

it(
  'does not call a backup proved whose keys programs would not find',
  async () => {
    const { token } = system.site('a');
    const setId = (from: string, to: string) => token.tool('--type', 'secrkey', '--id', from, '--set-id', to);
    // The generation has it under its old id, and nothing is captured before the backup.
    setId('02', '22');
    await run(ArchiveWork.BACKUP);
    expect(await ended(ArchiveWork.DRILL)).toMatchObject({ status: 'failed', errorCode: 'OBJECT_UNPROVEN' });
    const [drill] = (await system.operator.listDrills({ group: GROUP, limit: 1 })).drills;
    expect(drill).toMatchObject({ passed: false, proof: { failed: 1 } });
    expect(JSON.parse(drill!.evidence)).toMatchObject({ objects: { missingIds: [], altered: 1 } });
    setId('22', '02');
    await run(ArchiveWork.BACKUP);
  },
  LONG_MS,
);

it(
  'brings the keys back into the partition that lost them, after a backup of what is there',
  async () => {
    const { token } = system.site('a');
    const before = hsm.backups;
    // Everything is gone, the keys of the agent included, and a program has made a key since.
    new SoftHsmToken(join(token.folder, 'tokens')).clear();
    await system.makeKey('a', '07');
    // A backup of what is left takes the place of none.
    expect(await ended(ArchiveWork.BACKUP)).toMatchObject({ status: 'failed', errorCode: 'ARCHIVE_INCOMPLETE' });
    const lacking = hsm.backups.at(-1);
    expect(hsm.backups).toEqual([...before, lacking]);
    const { safetyBackup, verdict, objects } = await run(ArchiveWork.RESTORE);
    expect(verdict).toBe('complete');
    expect(hsm.backups).toEqual([...before, lacking, safetyBackup]);
    expect(typed('partition clear')).toEqual([hsm.scratchSerial]);
    expect(await system.keysAt('a')).toEqual(expect.arrayContaining(['key 03', 'key 07']));
    const [restored] = (await system.operator.listArchives({ group: GROUP, limit: 1 })).runs;
    expect(restored).toMatchObject({ objects, proof: { proved: 4, failed: 0 } });
    // The agent finds its own keys again, and captures.
    await system.insistent('the partition is captured again', () => system.replicate([]));
  },
  LONG_MS,
);
