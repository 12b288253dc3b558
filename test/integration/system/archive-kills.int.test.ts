/**
 * The agent is killed at every object of a backup to a Backup HSM, which the emulator stands for. Its tool dies with it.
 * Afterwards nobody takes the torn backup for a whole one, and the next run has everything.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ArchiveWork, FailoverPolicy, GroupChangeSchema, Movement } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BackupHsm, VAULT_SERIAL } from '../../support/backup-hsm.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { USER_PIN } from '../../support/tokens.ts';

/** Of programs. The keys of the agent are in the partition too. */
const KEYS = 20;

let system: TestSystem;
let hsm: BackupHsm;

beforeAll(async () => {
  system = await TestSystem.start({ createGroup: false, timeoutMs: 300_000 });
  const { token, configFile } = system.site('a');
  for (let at = 0; at < KEYS; at += 1) {
    const id = at.toString(16).padStart(2, '0');
    token.tool('--keygen', '--key-type', 'AES:32', '--id', id, '--label', `key ${id}`);
  }
  hsm = await BackupHsm.for(token, USER_PIN);
  const text = readFileSync(configFile, 'utf8').replace(/^( *)- name: main$/m, '$&\n$1  native: { kind: softhsm }');
  writeFileSync(configFile, text + hsm.section({ partition: 'main', keep: 1 }));
  await system.stopAgent('a');
  await system.startAgent('a', { asProcess: true });
  await system.createGroup(FailoverPolicy.MANUAL, { rpoSeconds: 36_000 });
  await change({ case: 'settings', value: { movement: Movement.NATIVE } });
  await system.replicate();
  await system.until('the site tells its vault', () =>
    change({ case: 'archives', value: { vaults: [{ site: 'a', serial: VAULT_SERIAL }] } }),
  );
  await change({ case: 'settings', value: { archiveKeep: 1 } });
  await system.until('the first backup is complete', async () => (await archiveOf()).state !== 'empty');
}, 300_000);

afterAll(async () => {
  await system?.close();
  hsm?.remove();
}, 120_000);

const archiveOf = async () => (await system.operator.getGroup({ group: GROUP })).group!.archives[0]!;

async function change(kind: NonNullable<MessageInitShape<typeof GroupChangeSchema>['kind']>): Promise<boolean> {
  const wanted = create(GroupChangeSchema, { kind });
  const plan = await system.operator.planGroupChange({ group: GROUP, change: wanted });
  if (plan.obstacle !== '') return false;
  await system.operator.changeGroup({ group: GROUP, change: wanted, revision: plan.revision });
  return true;
}

const start = async (): Promise<string> =>
  (await system.operator.runArchive({ group: GROUP, work: ArchiveWork.BACKUP, backup: '' })).operationId;

const ended = (operationId: string) =>
  system.until('the backup has ended', async () => {
    const { operation } = await system.operator.getOperation({ operationId });
    return operation !== undefined && operation.status !== 'open' && operation;
  });

const hangs = (): number =>
  readFileSync(join(hsm.folder, 'log.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"hangs"')).length;

/** Processes of the tool. */
const tools = (): string[] =>
  readdirSync('/proc').filter((name) => {
    try {
      return (
        /^\d+$/.test(name) && readFileSync(`/proc/${name}/environ`, 'utf8').includes(`ConfigurationPath=${hsm.folder}`)
      );
    } catch {
      // It has ended, or belongs to another user.
      return false;
    }
  });

it.each(Array.from({ length: KEYS }, (_, at) => at + 1))(
  'tells the truth of an agent that was killed at object %i, and the next run has everything',
  async (at) => {
    const before = await archiveOf();
    const sound = hsm.backups.filter((name) => name === before.backup);
    expect(sound).toHaveLength(1);
    const seen = hangs();
    hsm.fault({ command: 'partition archive backup', at, do: 'hang' });
    const operationId = await start();
    await system.until('the tool is at the object', async () => hangs() > seen);
    await system.site('a').process!.killAll();
    hsm.fault();
    await system.until('the tool has died with its agent', async () => tools().length === 0);
    const torn = hsm.backups.filter((name) => name !== before.backup);
    await system.startAgent('a', { asProcess: true });
    const cut = await ended(operationId);
    const told = await archiveOf();
    if (cut.status === 'done') expect(torn).not.toContain(told.backup);
    else {
      // Nobody counts what is torn: the backup before it is the newest one.
      expect([told.backup, told.state]).toEqual([before.backup, 'current']);
      expect(told.lastFailure).not.toBe('');
    }
    const next = await ended(await start());
    expect(next).toMatchObject({ status: 'done', errorCode: '' });
    const whole = await archiveOf();
    expect(whole).toMatchObject({ lastFailure: '', state: 'current' });
    expect(whole.backup).not.toBe(before.backup);
    // The torn one is gone, and so is the older one that is not to be kept.
    expect(hsm.backups).toEqual([whole.backup]);
    const { runs } = await system.operator.listArchives({ group: GROUP, limit: 1 });
    expect(runs[0]!.verdict).toBe('complete');
    expect(runs[0]!.objects).toBeGreaterThanOrEqual(KEYS);
  },
  300_000,
);
