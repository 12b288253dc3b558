/**
 * The pages of docs/runbooks about backups as they are written, in one system: three sites, and one coordinator with a
 * database of its own. The database and the data folder of an agent are lost between the pages, and nothing is repaired
 * but by what a page says.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { operatorConfigOf } from '../../support/command.ts';
import { type Place, RunbookDesk } from '../../support/runbook-desk.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

vi.setConfig({ testTimeout: 200_000, hookTimeout: 180_000 });

let system: TestSystem;
let desk: RunbookDesk;
let backups: string;

beforeAll(async () => {
  system = await TestSystem.start({
    processes: ['coordinator', 'c'],
    failoverPolicy: FailoverPolicy.MANUAL,
    rpoSeconds: 86_400,
  });
  desk = new RunbookDesk({ places: placeOf, translate, knows: (word) => word });
  backups = join(desk.folder, 'backups');
  mkdirSync(backups);
  await system.makeKey('a', '01');
  await system.replicate();
});
afterAll(async () => {
  desk?.close();
  await system?.close();
});

function placeOf(name: string): Place {
  const environment = { ANTIPODE_LOG_FORMAT: 'json' };
  if (name === '') return { environment: { ANTIPODE_CONFIG: operatorConfigOf(system.folder).file }, paths: {} };
  if (name === 'main') {
    const folder = join(system.folder, 'coordinator');
    return { environment, paths: { '/var/lib/antipode/coordinator': folder, '/var/backups/antipode': backups } };
  }
  const { token, folder } = system.site(name);
  return {
    environment: { ...token.environment, ...environment },
    paths: { '/var/lib/antipode/site': folder, '/var/backups/antipode': backups },
  };
}

/** Pages have addresses of their own. */
const translate = async (script: string): Promise<string> =>
  script.replace(/\b([abc])\.example\.org:7401\b/g, (_, site: string) => {
    const [, address = ''] = addresses.find(([name]) => name === site) ?? [];
    return address;
  });
let addresses: (readonly [site: string, address: string])[] = [];

/** By whomever it was started. */
async function stopCoordinator(): Promise<void> {
  desk.kill('main');
  await system.coordinatorProcess?.killAll();
}

const loseDatabase = (): void =>
  rmSync(join(system.folder, 'coordinator', 'data', 'postgres'), { recursive: true, force: true });
const keysAt = (...sites: string[]): Promise<string[][]> => Promise.all(sites.map((site) => system.keysAt(site)));
const groupNow = async () => (await system.operator.getGroup({ group: GROUP })).group!;

it('restore-the-database: goes on from an older backup, and makes no second active member', async () => {
  await desk.follow('restore-the-database.md', {
    '2. Put it back': async () => {
      await system.moveTo('b');
      await system.makeKey('b', '02');
      await system.insistent('the next key is replicated', () => system.replicate(['a', 'c']));
      await stopCoordinator();
      loseDatabase();
    },
  });
  expect((await groupNow()).activeSite).toBe('b');
  expect(await keysAt('a', 'b', 'c')).toEqual(Array.from({ length: 3 }, () => ['key 01', 'key 02']));
});

it('rebuild-the-database: adopts the group with its epoch from its sites, and it goes on', async () => {
  const { epoch } = await groupNow();
  const { sites } = await system.operator.getStatus({});
  addresses = sites.map(({ site, address }) => [site, address] as const);
  await desk.follow('rebuild-the-database.md', {
    '2. Ask the sites': async () => {
      await system.makeKey('b', '03');
      await stopCoordinator();
      loseDatabase();
    },
  });
  expect(await groupNow()).toMatchObject({ activeSite: 'b', epoch, spec: { rpoSeconds: 60 } });
  expect(await keysAt('a', 'b', 'c')).toEqual(Array.from({ length: 3 }, () => ['key 01', 'key 02', 'key 03']));
});

it('back-up-an-agent: puts an older journal back, and copies no key twice', async () => {
  await system.moveTo('a');
  await system.untilProtection('protected');
  await desk.follow('back-up-an-agent.md', {
    '2. Put it back': async () => {
      await system.makeKey('a', '04');
      await system.insistent('the next key is replicated', () => system.replicate(['b', 'c']));
      await system.stopAgent('c');
    },
  });
  expect(await keysAt('a', 'b', 'c')).toEqual(
    Array.from({ length: 3 }, () => ['key 01', 'key 02', 'key 03', 'key 04']),
  );
});
