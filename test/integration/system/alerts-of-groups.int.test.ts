/**
 * The alerts of groups, each by its cause in a running system. Keys have no copy, go away or rot. Drills and failovers
 * fail, a standby is behind, a journal and a row are not as they were.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { acceptDeleted, loadAgentConfig } from '@antipode/site-agent';
import pg from 'pg';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type LyingToken, lying } from '../../support/devices/lying-token.ts';
import { LiveAlerts } from '../../support/live-alerts.ts';
import { damageValue, filesOf } from '../../support/raw-token.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/** Two sites, whose identities nobody has pinned for it. */
const OTHER = 'ledger';
/** A standby lags after so long, and the busiest machine captures more often. */
const RPO_SECONDS = 20;

let system: TestSystem;
let alerts: LiveAlerts;
const devices = new Map<string, LyingToken>();
const device = (label: string): LyingToken => devices.get(label)!;

beforeAll(async () => {
  system = await TestSystem.start({
    createGroup: false,
    spare: true,
    health: true,
    // The fast one is for systems of three sites, of which nobody takes notice.
    timings: 'default',
    timeoutMs: 120_000,
    disguise: (_site, token) => {
      if (!['payments-b', 'scratch-c'].includes(token.label)) return token;
      devices.set(token.label, lying(token));
      return device(token.label);
    },
  });
  alerts = await LiveAlerts.watch(system);
});
afterAll(async () => {
  await alerts?.close();
  await system?.close();
});

const seat = (site: string) => ({ site, serial: system.site(site).serial });
const common = { failoverPolicy: FailoverPolicy.MANUAL, rpoSeconds: RPO_SECONDS };
const atA = () => ({ config: loadAgentConfig(system.site('a').configFile), group: GROUP });
const replicated = () => system.insistent('it is replicated', () => system.replicate(['b']));

it('a group without a domain key, and a key that nobody can copy', async () => {
  await alerts.raised(
    () => system.operator.createGroup({ spec: { ...common, name: OTHER, members: ['c', 'd'].map(seat) } }),
    'AntipodeOperationWaits',
    'AntipodeGroupUnprotected',
    'AntipodeNeverProven',
    'AntipodeRecoveryPointUnknown',
  );
  const { token } = system.site('a');
  await token.toolAsync('--keygen', '--key-type', 'aes:32', '--sensitive', '--id', '02', '--label', 'key 02');
  await alerts.raised(
    async () => {
      const members = ['a', 'b'].map(seat);
      const scratch = [{ site: 'c', serial: system.site('c').scratchSerial }];
      const deletions = { retentionMs: 0n, lossObjects: 1, lossPercent: 10 };
      const spec = { ...common, name: GROUP, members, scratch, deletions };
      const { operationId } = await system.operator.createGroup({ spec });
      await system.ended(operationId);
      for (const id of ['01', '03', '04', '05']) await system.makeKey('a', id);
      await replicated();
    },
    'AntipodeKeysUnprotected',
    'AntipodeGroupPartiallyProtected',
  );
});

it('a drill whose restored keys do not work, until one passes', async () => {
  const drill = async () => system.ended((await system.operator.runDrill({ group: GROUP, site: 'c' })).operationId);
  device('scratch-c').tell({ lie: 'refuse', function: 'C_UnwrapKey', code: 'CKR_WRAPPED_KEY_INVALID' });
  await alerts.raised(() => rejection(drill()), 'AntipodeDrillFailed', 'AntipodeGroupFailing');
  device('scratch-c').tell();
  await alerts.resolved(() => system.insistent('a drill passes', drill), 'AntipodeDrillFailed', 'AntipodeGroupFailing');
});

it('a failover whose target cannot take the keys', async () => {
  device('payments-b').tell({ lie: 'refuse', function: 'C_UnwrapKey', code: 'CKR_DEVICE_MEMORY' });
  await alerts.raised(async () => {
    await system.makeKey('a', '06');
    const { operationId } = await system.operator.failover({ group: GROUP, toSite: 'b' });
    expect(['HSM_FULL', 'FAILOVER_REFUSED']).toContain((await rejection(system.ended(operationId))).code);
  }, 'AntipodeFailoverFailed');
  device('payments-b').tell();
  await replicated();
});

it('a standby that is behind, until it is back', async () => {
  await alerts.raised(async () => {
    await system.stopAgent('b');
    // While it has all there is, it is not behind.
    await system.makeKey('a', '07');
  }, 'AntipodeGroupLagging');
  await alerts.resolved(async () => {
    await system.startAgent('b');
    await replicated();
  }, 'AntipodeGroupLagging');
});

it('keys that an application has deleted, until a person accepts it', async () => {
  await alerts.raised(async () => {
    for (const id of ['03', '04', '05']) await system.deleteKey('a', id);
  }, 'AntipodeGroupHeld');
  await alerts.resolved(async () => {
    await acceptDeleted({ ...atA(), objectIds: [] });
    await replicated();
  }, 'AntipodeGroupHeld');
});

it('a key that storage has changed', async () => {
  const { token } = system.site('a');
  const before = filesOf(token);
  await system.makeKey('a', '08');
  const file = [...filesOf(token)].find((path) => !before.has(path))!;
  await replicated();
  await system.stopAgent('a');
  damageValue(file);
  await system.startAgent('a');
  await system.until('it is active again', replicated);
  await alerts.raised(() => system.operator.runScrub({ group: GROUP, site: 'a' }), 'AntipodeGroupDamaged');
});

it('a row that cannot be read, and groups for which nobody plans, until it is put back', async () => {
  const { socketFolder } = system.coordinator.embedded.postgres!;
  const client = new pg.Client({ host: socketFolder, user: 'antipode', database: 'postgres' });
  await client.connect();
  const put = (spec: string) => client.query('update replication_group set spec = $1 where name = $2', [spec, OTHER]);
  try {
    const { rows } = await client.query('select spec::text from replication_group where name = $1', [OTHER]);
    await alerts.raised(() => put('{}'), 'AntipodeGroupUnreadable', 'AntipodePlanningFails');
    await alerts.resolved(() => put(rows[0].spec), 'AntipodeGroupUnreadable', 'AntipodePlanningFails');
  } finally {
    await client.end();
  }
});

it('a journal that was put back', async () => {
  const [data, older] = [join(system.site('a').folder, 'data'), join(system.folder, 'older')];
  await system.stopAgent('a');
  execFileSync('cp', ['-a', data, older]);
  await system.startAgent('a');
  await system.makeKey('a', '09');
  await replicated();
  await alerts.raised(async () => {
    await system.stopAgent('a');
    rmSync(data, { recursive: true });
    execFileSync('cp', ['-a', older, data]);
    await system.startAgent('a');
  }, 'AntipodeGroupContradicted');
});
