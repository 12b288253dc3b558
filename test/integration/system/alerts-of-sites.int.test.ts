/**
 * The alerts of sites and of single processes, each by its cause in a running system. HSMs hang, are slow or fail. A site
 * is cut off, a process stands still, or has another version or a bad certificate. Redis and coordinators are there too.
 */
import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Coordinator, loadCoordinatorConfig } from '@antipode/coordinator';
import { freePort } from '@antipode/demo/town';
import { describeCertificate, type Identity, issueCertificate, revocationFileText } from '@antipode/protocol';
import { SomeOperators, someRevocation, someRevocations } from '@antipode/protocol/testing';
import { systemClock } from '@antipode/runtime';
import { makeAuthority, makeCoordinatorFolder, makeOperatorFolder } from '@antipode/setup';
import pg from 'pg';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { antipode } from '../../support/command.ts';
import { type LyingToken, lying } from '../../support/devices/lying-token.ts';
import { LiveAlerts } from '../../support/live-alerts.ts';
import { prepareCluster } from '../../support/prepared.ts';
import { PreviousRelease } from '../../support/previous-release.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const operators = new SomeOperators(['alice', 'bob', 'carol']);
const section = operators.revocationSection;

let system: TestSystem;
let alerts: LiveAlerts;
let release: PreviousRelease;
/** Where a coordinator of another system serves its metrics, once it runs. */
let elsewhere: string;
const devices = new Map<string, LyingToken>();
const device = (site: string): LyingToken => devices.get(site)!;

beforeAll(async () => {
  release = PreviousRelease.ofThisTree({ version: '0.0.9' });
  elsewhere = `127.0.0.1:${await freePort()}`;
  system = await TestSystem.start({
    spare: true,
    health: true,
    links: 'everywhere',
    section,
    processes: ['d'],
    previous: { release, by: [] },
    timings: 'default',
    timeoutMs: 120_000,
    rpoSeconds: 86_400,
    disguise: (site, token) => {
      if (!['payments-c', 'payments-d'].includes(token.label)) return token;
      devices.set(site, lying(token));
      return device(site);
    },
  });
  await system.makeKey('a', '01');
  await system.insistent('it is replicated', () => system.replicate());
  writeFileSync(folderOf('accepts'), '');
  await system.withHooks(`notifications:
  waitFactor: 0.001
  receivers:
    - { name: desk, command: [/usr/bin/test, -e, ${folderOf('accepts')}] }
`);
  alerts = await LiveAlerts.watch(system, [elsewhere]);
});
afterAll(async () => {
  await alerts?.close();
  await system?.close();
  release?.remove();
});

const folderOf = (name: string): string => join(system.folder, name);
const restart = async (name: string): Promise<void> => {
  await system.stopAgent(name);
  await system.startAgent(name, { asProcess: name === 'd' });
};

/** The worker of this process that has loaded the module of a site, and hangs in it. */
function workerOf(site: string): number {
  const isWorker = (pid: string): boolean => {
    try {
      const isOurs = new RegExp(`^PPid:\\s+${process.pid}$`, 'm').test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      return isOurs && readFileSync(`/proc/${pid}/maps`, 'utf8').includes(device(site).config.module);
    } catch {
      return false;
    }
  };
  return Number(readdirSync('/proc').find((name) => /^\d+$/.test(name) && isWorker(name)));
}

it('an HSM that hangs with orders behind it, of which a receiver does not hear, until it answers again', async () => {
  device('c').tell({ lie: 'hang' });
  await alerts.raised(
    async () => {
      rmSync(folderOf('accepts'));
      await system.makeKey('a', '03');
      await system.operator.replicate({ group: GROUP });
      await system.operator.runScrub({ group: GROUP, site: 'c' });
    },
    'AntipodeHsmSilent',
    'AntipodeOrdersWait',
    'AntipodeNoticesUndelivered',
  );
  writeFileSync(folderOf('accepts'), '');
  device('c').tell();
  await alerts.resolved(() => process.kill(workerOf('c'), 'SIGKILL'), 'AntipodeHsmSilent');
});

it('an HSM that is slow, and one that fails, until it works again', async () => {
  device('d').tell({ lie: 'delay', ms: 1_500, times: 6 });
  await alerts.raised(() => restart('d'), 'AntipodeHsmSlow');
  device('d').tell({ lie: 'refuse', code: 'CKR_DEVICE_ERROR', function: 'C_OpenSession' });
  await alerts.raised(() => restart('d'), 'AntipodeHsmErrors', 'AntipodePartitionUnusable');
  device('d').tell();
  await alerts.resolved(() => restart('d'), 'AntipodePartitionUnusable');
});

it('a certificate that ends, and one that cannot be used, until the good one is back', async () => {
  const { folder } = system.site('d');
  const files = ['tls.crt', 'tls.key'].map((name) => join(folder, name));
  const before = files.map((file) => [file, readFileSync(file)] as const);
  const [certificateFile, keyFile] = files as [string, string];
  const valid = async (validDays: number): Promise<void> => {
    const authority = {
      certificatePem: readFileSync(join(folderOf('authority'), 'ca.crt'), 'utf8'),
      keyPem: readFileSync(join(folderOf('authority'), 'ca.key'), 'utf8'),
    };
    const identity = describeCertificate(readFileSync(certificateFile, 'utf8')).identity as Identity;
    const issued = await issueCertificate({ authority, identity, validDays, nowMs: systemClock.wallMs() });
    writeFileSync(keyFile, issued.keyPem, { mode: 0o600 });
    writeFileSync(certificateFile, issued.certificatePem);
  };
  await alerts.raised(() => valid(10), 'AntipodeCertificateEnding');
  await alerts.raised(() => valid(1), 'AntipodeCertificateEndsNow');
  await alerts.raised(() => writeFileSync(certificateFile, 'not a certificate\n'), 'AntipodeCertificateRefused');
  await alerts.resolved(
    () => {
      for (const [file, bytes] of before) writeFileSync(file, bytes);
    },
    'AntipodeCertificateEnding',
    'AntipodeCertificateEndsNow',
    'AntipodeCertificateRefused',
  );
});

it('a site that is cut off and has an older list of revoked certificates, and a caller on the new one', async () => {
  // Lists go from any process to any other one: b calls the sites, and they call b. Heartbeats of the others still pass.
  const links = [system.site('b').outbound!, ...['a', 'b', 'c', 'd'].map((site) => system.site(site).inbound!)];
  const mallory = { folder: folderOf('mallory'), authority: folderOf('authority'), name: 'mallory' };
  const coordinators = [{ id: 'main', address: system.addressOfCoordinator('main') }];
  await makeOperatorFolder({ ...mallory, role: 'viewer', coordinators });
  await alerts.raised(() => {
    for (const link of links) link.cut();
  }, 'AntipodePeerUnreached');
  const moment = new Date(systemClock.wallMs()).toISOString();
  const name = 'spiffe://test.antipode/operator/mallory';
  const entries = [someRevocation({ name, issuedBefore: moment, since: moment })];
  const list = someRevocations(entries, undefined, { trustDomain: 'test.antipode' });
  const file = join(system.folder, 'list.json');
  writeFileSync(file, revocationFileText(operators.signRevocations(list)));
  await alerts.raised(async () => {
    const { configFile } = system.site('a');
    const { stderr } = await antipode(['certificate', 'revoked', 'install', file, '--config', configFile], {});
    expect(stderr).toBe('');
  }, 'AntipodeRevocationListsDiffer');
  await alerts.raised(async () => {
    const configFile = join(mallory.folder, 'operator.yaml');
    await system.until('mallory is refused', async () => (await antipode(['status'], { configFile })).code === 6);
  }, 'AntipodeRevokedCertificateUsed');
  await alerts.resolved(
    () => {
      for (const link of links) link.heal();
    },
    'AntipodePeerUnreached',
    'AntipodeRevocationListsDiffer',
  );
});

it('a process that stands still, and one of another version', async () => {
  await alerts.raised(() => system.site('d').process!.signal('SIGSTOP'), 'AntipodeSiteDown');
  await alerts.raised(() => system.site('d').process!.signal('SIGCONT'), 'AntipodeEventLoopLate');
  system.release('d', 'previous');
  await alerts.raised(() => restart('d'), 'AntipodeVersionsDiffer');
  system.release('d', 'this');
  await alerts.resolved(() => restart('d'), 'AntipodeVersionsDiffer');
});

it('notices that the database cannot read, until it can', async () => {
  const { socketFolder } = system.coordinator.embedded.postgres!;
  const client = new pg.Client({ host: socketFolder, user: 'antipode', database: 'postgres' });
  await client.connect();
  try {
    await alerts.raised(() => client.query('alter table notice rename to notice_away'), 'AntipodeMetricsUnknown');
    await alerts.resolved(() => client.query('alter table notice_away rename to notice'), 'AntipodeMetricsUnknown');
  } finally {
    await client.end();
  }
});

it('Redis that stands still, until it goes on', async () => {
  const { redis } = system.coordinator.embedded;
  await alerts.raised(async () => {
    process.kill(redis!.pid!, 'SIGSTOP');
    await system.operator.replicate({ group: GROUP });
  }, 'AntipodeQueueDown');
  await alerts.resolved(() => process.kill(redis!.pid!, 'SIGCONT'), 'AntipodeQueueDown');
});

it('a coordinator of another system in the same Prometheus, until it is gone', async () => {
  const [folder, authority] = [folderOf('elsewhere'), folderOf('authority-elsewhere')];
  await makeAuthority({ folder: authority, trustDomain: 'other.antipode' });
  const listen = `localhost:${await freePort()}`;
  await makeCoordinatorFolder({ folder, authority, id: 'elsewhere', listen, timings: 'fast' });
  const file = join(folder, 'coordinator.yaml');
  appendFileSync(file, `http: ${elsewhere}\n`);
  const config = loadCoordinatorConfig(file);
  await prepareCluster(config.dataFolder);
  const other = new Coordinator({ config, log: system.log });
  try {
    await alerts.raised(() => other.start(), 'AntipodeTwoLeaders');
    await alerts.resolved(() => other.close(), 'AntipodeTwoLeaders');
  } finally {
    await other.close();
  }
});
