/**
 * The previous release beside this one, as processes of their own on real tokens: a fleet of it that is upgraded in the
 * order of docs/upgrading.md, and one whose coordinator is upgraded first. Whatever one of the two releases lacks is
 * refused by its name, and everything else works.
 */
import { join } from 'node:path';
import { EmbeddedPostgres, MIGRATIONS, PostgresStore, SCHEMA_OF_PREVIOUS_RELEASE } from '@antipode/coordinator/testing';
import { Movement } from '@antipode/protocol';
import { silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { PREVIOUS_RELEASE, PreviousRelease, whyNoPreviousRelease } from '../../support/previous-release.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

const missing = whyNoPreviousRelease();
if (missing !== undefined) process.stderr.write(`previous-release.int.test.ts is skipped: ${missing}\n`);
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

/** In the database of a coordinator that does not run: its tables stay as they are. */
async function recordVersions(fleet: TestSystem, highest: number): Promise<void> {
  const dataFolder = join(fleet.folder, 'coordinator', 'data');
  const server = new EmbeddedPostgres({ dataFolder, clock: systemClock, prng: systemPrng, log: silentLog });
  const store = new PostgresStore({ connection: await server.start(), clock: systemClock });
  await store.query((db) => sql`DELETE FROM migration WHERE version > ${highest}`.execute(db));
  for (let version = 1; version <= highest; version += 1)
    await store.query((db) => sql`INSERT INTO migration VALUES (${version}) ON CONFLICT DO NOTHING`.execute(db));
  await store.close();
  await server.close();
}

const SITES = ['a', 'b', 'c'];
const EVERYBODY = [...SITES, 'coordinator'];

describe.skipIf(missing !== undefined)(`beside ${PREVIOUS_RELEASE.revision.slice(0, 12)}`, () => {
  let release: PreviousRelease;
  let system: TestSystem | undefined;
  let keys = 0;
  beforeAll(() => {
    release = PreviousRelease.unpack();
  });
  afterEach(async () => {
    await system?.close();
    system = undefined;
  });
  afterAll(() => release?.remove());

  async function start(by: readonly string[]): Promise<TestSystem> {
    system = await TestSystem.start({ previous: { release, by }, processes: EVERYBODY, rpoSeconds: 86_400 });
    return system;
  }

  /** One more key is at every member that is up, acknowledged and proved by a drill. */
  async function serves(fleet: TestSystem, active: string, standbys: readonly string[]): Promise<void> {
    keys += 1;
    await fleet.untilActive(active);
    await fleet.makeKey(active, String(keys).padStart(2, '0'));
    await fleet.insistent('the key is replicated', () => fleet.replicate(standbys));
    const all = await fleet.keysAt(active);
    for (const site of standbys) expect(await fleet.keysAt(site)).toEqual(all);
  }

  async function drills(fleet: TestSystem): Promise<void> {
    const drill = await fleet.ended((await fleet.operator.runDrill({ group: GROUP, site: 'c' })).operationId);
    expect(drill.status).toBe('done');
    const { drills: done } = await fleet.operator.listDrills({ group: GROUP });
    expect(done.find(({ id }) => id === drill.id)).toMatchObject({ passed: true, proof: { failed: 0 } });
  }

  /** The site goes on with this release, in its own folder. */
  async function upgrade(fleet: TestSystem, site: string): Promise<void> {
    await fleet.stopAgent(site);
    fleet.release(site, 'this');
    await fleet.startAgent(site, { asProcess: true });
    await fleet.until(`${site} is up again`, async () => {
      const { sites } = await fleet.operator.getStatus({});
      return sites.find((one) => one.site === site)?.state === 'up';
    });
  }

  it('lets a whole fleet be upgraded site by site, and serves all the time', async () => {
    const fleet = await start(EVERYBODY);
    await serves(fleet, 'a', ['b', 'c']);
    await drills(fleet);
    for (const site of ['b', 'c']) {
      await upgrade(fleet, site);
      await serves(fleet, 'a', ['b', 'c']);
    }
    // The old coordinator and the old active member, and the drill of an agent of today.
    await drills(fleet);
    await fleet.moveTo('b');
    await serves(fleet, 'b', ['a', 'c']);
    await fleet.stopAgent('b');
    await fleet.untilActive('a');
    await serves(fleet, 'a', ['c']);
    await fleet.startAgent('b', { asProcess: true });
    await fleet.moveTo('c');
    await upgrade(fleet, 'a');
    await serves(fleet, 'c', ['a', 'b']);
    await fleet.coordinatorProcess!.stop();
    fleet.release('coordinator', 'this');
    await fleet.startCoordinator({ asProcess: true });
    await fleet.moveTo('a');
    await serves(fleet, 'a', ['b', 'c']);
    await drills(fleet);
  });

  it('lets its agents be led by the coordinator of today, and is refused what only today has', async () => {
    const fleet = await start(SITES);
    await serves(fleet, 'a', ['b', 'c']);
    await drills(fleet);

    // A coordinator that leads agents of both: the active one of today, a standby of then.
    await upgrade(fleet, 'b');
    await fleet.moveTo('b');
    await serves(fleet, 'b', ['a', 'c']);
    await fleet.stopAgent('b');
    await fleet.untilActive('a');
    await serves(fleet, 'a', ['c']);

    // A feature that only this release has is refused by its name, and the declaration stays as it was.
    const change = { kind: { case: 'settings', value: { movement: Movement.NATIVE } } } as const;
    const plan = await fleet.operator.planGroupChange({ group: GROUP, change });
    expect(plan).toMatchObject({
      obstacleCode: 'GROUP_CHANGE_REFUSED',
      obstacle: expect.stringContaining('of site a, c'),
    });
    const refused = await rejection(fleet.operator.changeGroup({ group: GROUP, change, revision: plan.revision }));
    expect(refused.code).toBe('GROUP_CHANGE_REFUSED');
    expect((await fleet.operator.getGroup({ group: GROUP })).group?.spec?.movement).toBeUndefined();

    // A site that was replaced by the previous release again is refused by its own journal, and nothing else is.
    fleet.release('b', 'previous');
    await fleet.startAgent('b', { asProcess: true });
    await expect(
      fleet.until('the old agent has told why', async () => fleet.site('b').process?.failure === undefined && false),
    ).rejects.toMatchObject({ message: expect.stringContaining('it has schema version') });
    fleet.release('b', 'this');
    await fleet.startAgent('b', { asProcess: true });
    await serves(fleet, 'a', ['b', 'c']);

    // The coordinator of then goes on with the tables that the one of today has changed and written, and back again.
    // It reads the highest version only, so it is not shown the versions that it does not know.
    for (const which of ['previous', 'this'] as const) {
      await fleet.coordinatorProcess!.stop();
      await recordVersions(fleet, which === 'this' ? MIGRATIONS.length : SCHEMA_OF_PREVIOUS_RELEASE);
      fleet.release('coordinator', which);
      await fleet.startCoordinator({ asProcess: true });
      await serves(fleet, 'a', ['b', 'c']);
      await drills(fleet);
    }
    await fleet.moveTo('c');
    await serves(fleet, 'c', ['a', 'b']);
  });
});
