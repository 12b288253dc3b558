/**
 * The pages of docs/runbooks as they are written, one after the other, in one system: three sites, two coordinators, a
 * PostgreSQL with streaming standbys. Sites, HSMs, coordinators and the database are lost between the pages, and
 * nothing is repaired but by what a page says.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { postgresFolders } from '@antipode/coordinator';
import { CoordinatorService, FailoverPolicy } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { operatorConfigOf } from '../../support/command.ts';
import { DatabasePair } from '../../support/database-pair.ts';
import { type Place, RunbookDesk } from '../../support/runbook-desk.ts';
import { COORDINATORS, GROUP, TestSystem } from '../../support/system.ts';
import { OFFICER_PIN, USER_PIN } from '../../support/tokens.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 180_000 });

let pair: DatabasePair;
let system: TestSystem;
let desk: RunbookDesk;

beforeAll(async () => {
  pair = await DatabasePair.start({ roles: COORDINATORS, standbys: 2 });
  system = await TestSystem.start({
    shared: pair.shared,
    processes: ['a', 'b', 'c'],
    failoverPolicy: FailoverPolicy.MANUAL,
    rpoSeconds: 86_400,
  });
  desk = new RunbookDesk({ places: placeOf, translate, knows });
  symlinkSync(join(system.folder, 'authority'), join(desk.folder, 'ca'));
  for (const id of ['01', '02']) await system.makeKey('a', id);
  await system.replicate();
  await system.ended((await system.operator.runDrill({ group: GROUP, site: 'c' })).operationId);
});
afterAll(async () => {
  desk?.close();
  await system?.close();
  await pair?.close();
});

function placeOf(name: string): Place {
  if (name === '') return { environment: { ANTIPODE_CONFIG: operatorConfigOf(system.folder).file }, paths: {} };
  if (name === 'database') {
    const { cluster } = pair.primary;
    const { uid, gid } = statSync(cluster);
    const environment = { PATH: [...postgresFolders(), process.env['PATH']].join(':') };
    return { environment, paths: { '/var/lib/postgresql/data': cluster }, user: { uid, gid } };
  }
  if (COORDINATORS.some((id) => id === name)) {
    const { databaseUrl, redisUrl } = pair.shared;
    const folder = join(system.folder, name === 'main' ? 'coordinator' : `coordinator-${name}`);
    const environment = { DATABASE_URL: databaseUrl(name), REDIS_URL: redisUrl, ANTIPODE_LOG_FORMAT: 'json' };
    return { environment, paths: { '/var/lib/antipode/coordinator': folder } };
  }
  const { token, folder } = system.site(name);
  const environment = { ...token.environment, ANTIPODE_LOG_FORMAT: 'json' };
  return { environment, paths: { '/var/lib/antipode/site': folder } };
}

/** Pages have serial numbers of their own. */
const translate = async (script: string): Promise<string> =>
  script.replace(/\b([abc])=[0-9a-f]{16}\b/g, (_, site: string) => `${site}=${system.site(site).serial}`);

function knows(word: string): string {
  if (word !== 'code-of-the-card') return word;
  const codes = [...desk.transcript.join('\n').matchAll(/^Code of this card: (\S+)$/gm)];
  return codes.at(-1)![1]!;
}

/** Every process of a site, by whomever it was started. */
async function loseSite(site: string): Promise<void> {
  desk.kill(site);
  await system.stopAgent(site);
}

async function loseCoordinator(id: string): Promise<void> {
  desk.kill(id);
  await system.coordinatorProcesses.get(id)?.killAll();
}

const groupNow = async () => (await system.operator.getGroup({ group: GROUP })).group!;
const keysAt = (...sites: string[]): Promise<string[][]> => Promise.all(sites.map((site) => system.keysAt(site)));

/** The vendor's tool at the site of a token. */
function vendorTool(site: string, ...args: string[]): string {
  const env = { ...process.env, ...system.site(site).token.environment };
  return execFileSync('softhsm2-util', args, { env, stdio: 'pipe' }).toString();
}

interface Slot {
  readonly slot: string;
  readonly serial: string;
}

function slotOf(site: string): Slot {
  const pattern = /Slot (\d+)\s+Slot info:(?:(?!Slot \d).)*?Serial number:\s+([0-9a-f]+)\s+Initialized:\s+yes/s;
  const [, slot = '', serial = ''] = pattern.exec(vendorTool(site, '--show-slots'))!;
  return { slot, serial };
}

const PINS = ['--pin', USER_PIN, '--so-pin', OFFICER_PIN];

/** The coordinator that leads, and its term. */
const leader = () =>
  system.until('a coordinator leads', async () => {
    for (const id of COORDINATORS) {
      const client = system.dialCoordinator(CoordinatorService, id);
      const { term = 0n } = await client.getLeader({}, { timeoutMs: 1_000 }).catch(() => ({}) as { term?: bigint });
      client.close();
      if (term > 0n) return { id, term };
    }
    return undefined;
  });

it('site-lost: moves the group, and says what is lost', async () => {
  // A generation that no standby has, and a key that no generation has.
  for (const site of ['b', 'c']) await loseSite(site);
  await system.makeKey('a', '0d');
  await system.insistent('a has captured it', async () => {
    await system.ended((await system.operator.replicate({ group: GROUP })).operationId);
  });
  await system.makeKey('a', '0e');
  await loseSite('a');
  for (const site of ['b', 'c']) await system.startAgent(site, { asProcess: true });
  await desk.follow('site-lost.md');
  expect(await keysAt('b', 'c')).toEqual([
    ['key 01', 'key 02'],
    ['key 01', 'key 02'],
  ]);
});

it('site-returns: takes the site in as a standby, and drops nothing that it has', async () => {
  await desk.follow('site-returns.md');
  expect(await keysAt('a')).toEqual([['key 01', 'key 02', 'key 0d', 'key 0e']]);
});

it('divergence: brings the group the keys that only the returned site has', async () => {
  await desk.follow('divergence.md');
  const all = ['key 01', 'key 02', 'key 0d', 'key 0e'];
  expect(await keysAt('a', 'b', 'c')).toEqual([all, all, all]);
});

it('failback: moves the group home, and every key with it', async () => {
  const all = await system.keysAt('b');
  await desk.follow('failback.md');
  expect((await groupNow()).activeSite).toBe('a');
  expect(await keysAt('a', 'b', 'c')).toEqual([all, all, all]);
});

it('hsm-lost: leaves the HSM, and takes another partition in, or the same one without its keys', async () => {
  const all = await system.keysAt('a');
  const { token } = system.site('a');
  vendorTool('a', '--delete-token', '--token', token.label);
  await desk.follow('hsm-lost.md', {
    '4. Put another partition in its place': async () => {
      vendorTool('a', '--init-token', '--free', '--label', token.label, ...PINS);
      const { serial } = slotOf('a');
      expect(serial).not.toBe(system.site('a').serial);
      system.site('a').serial = serial;
      await loseSite('a');
    },
    '5. If the same partition was initialised again': async () => {
      expect(await keysAt('a')).toEqual([all]);
      await loseSite('a');
      const { slot, serial } = slotOf('a');
      vendorTool('a', '--init-token', '--slot', slot, '--label', token.label, ...PINS);
      expect([slotOf('a').serial, await keysAt('a')]).toEqual([serial, [[]]]);
      rmSync(join(desk.folder, 'card-of-a.yaml'));
    },
  });
  expect(await keysAt('a', 'b', 'c')).toEqual([all, all, all]);
  expect((await groupNow()).members.map((one) => one.divergentObjects + one.unaccountedObjects)).toEqual([0, 0, 0]);
});

it('coordinator-lost: another one leads, and what was lost is replaced', async () => {
  const { id: leading } = await leader();
  if (leading === 'south') {
    // The page loses `main` while it leads.
    await loseCoordinator('south');
    await leader();
    system.startSharing('south');
  }
  await loseCoordinator('main');
  await desk.follow('coordinator-lost.md', { '2. Start one': () => loseCoordinator('south') });
});

it('lost-quorum: promotes nobody without a majority, and one of those that are left with it', async () => {
  for (const site of ['b', 'c']) await loseSite(site);
  await desk.follow('lost-quorum.md', { '4. If they are lost for good': () => loseSite('c') });
  await system.untilProtection('protected');
  expect((await groupNow()).activeSite).toBe('a');
  expect(new Set((await keysAt('a', 'b', 'c')).map(String)).size).toBe(1);
});

it('database-lost: repeats no term and no epoch, whichever standby takes its place', async () => {
  await pair.caughtUp();
  const before = await leader();
  let lost = before;
  let epoch = 0n;
  await pair.losePrimary();
  await desk.follow('database-lost.md', {
    '3. The standby lagged, or a backup was put back': async () => {
      expect((await leader()).term).toBeGreaterThanOrEqual(before.term);
      await system.makeKey('a', '0f');
      await system.insistent('the next key is replicated', () => system.replicate());
      const { sites } = await system.operator.getStatus({});
      expect(sites.filter(({ state }) => state === 'down')).toEqual([]);
      await pair.stream();
      await pair.caughtUp();
      await pair.stream({ isCut: true });
      // The standby hears of none of this: another leader, another active site.
      await loseCoordinator((await leader()).id);
      lost = await leader();
      await system.moveTo('b');
      epoch = (await groupNow()).epoch;
      await pair.failOver();
    },
    '4. Verify': async () => {
      expect((await leader()).term).toBeGreaterThan(lost.term);
      expect((await groupNow()).epoch).toBeGreaterThan(epoch);
    },
  });
  expect((await groupNow()).activeSite).toBe('b');
});
