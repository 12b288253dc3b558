/**
 * Erasure in a whole system, with three sites and real tokens. Long after its deletion at the source, a key is in no
 * store and in no file of any site. Until then it can be restored. Afterwards everything alive still restores.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { storeText } from '@antipode/cli/testing';
import { type Clock, silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { listDeleted, loadAgentConfig, restoreDeleted, storeReport } from '@antipode/site-agent';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NAMES = ['a', 'b', 'c'] as const;

/** Days pass at once, for the clock that retention counts by; nobody waits longer for it. */
class JumpingClock implements Clock {
  aheadMs = 0;
  wallMs = (): number => systemClock.wallMs();
  monotonicMs = (): number => systemClock.monotonicMs() + this.aheadMs;
  sleep = (ms: number, signal?: AbortSignal): Promise<void> => systemClock.sleep(ms, signal);
  isSliceOver = (sinceMs: number): boolean => systemClock.isSliceOver(sinceMs - this.aheadMs);
  makeWay = (): Promise<void> => systemClock.makeWay();
}

const clock = new JumpingClock();
let system: TestSystem;

beforeAll(async () => {
  system = await TestSystem.start({ clocks: () => clock });
});
afterAll(() => system?.close());

const at = (name: string) => ({ config: loadAgentConfig(system.site(name).configFile), group: GROUP });
const destroy = (id: string): Promise<void> => system.deleteKey('a', id);

/** As the agent's own loop does every ten minutes; after the coordinator has been heard with what is on record now. */
async function collect(name: string): Promise<void> {
  const { site } = system.agent(name);
  const newest = site.store.list(GROUP)[0]!;
  await system.until('the coordinator has named what is needed', async () =>
    site.retention.isAcknowledged(GROUP, newest),
  );
  await site.retention.pass();
  await site.collector.pass();
}

async function pass(days: number): Promise<void> {
  clock.aheadMs += days * DAY_MS;
  for (const name of NAMES) await collect(name);
}

const bytesIn = (name: string): Buffer[] => {
  const folder = at(name).config.dataFolder;
  return readdirSync(folder)
    .filter((file) => file.startsWith('generations.db'))
    .map((file) => readFileSync(join(folder, file)));
};

it('brings a deleted key back while it is kept, and erases it at every site when its time is over', async () => {
  for (const id of ['01', '02']) await system.makeKey('a', id);
  await system.replicate();
  await destroy('01');
  await system.replicate();
  await pass(0);
  await pass(3);
  const [deleted] = await listDeleted(at('b'));
  expect(deleted).toMatchObject({ state: 'deleted', label: 'key 01', isRestorable: true });
  await restoreDeleted({ ...at('a'), objectIds: [deleted!.objectId], log: silentLog });
  await system.replicate();
  expect(await system.keysAt('c')).toContain('key 01');

  await destroy('01');
  await system.replicate();
  const { store } = system.agent('a').site;
  const { tombstones } = (await store.open(store.list(GROUP)[0]!.digest)).generation;
  const sealed = store.blob(tombstones[0]!.entry.blobSha256!);
  await pass(0);
  // Less than the 30 days of a group that says nothing, counted from the second deletion.
  await pass(28);
  await system.replicate();
  await pass(1);
  for (const name of NAMES) expect(bytesIn(name).some((file) => file.includes(Buffer.from(sealed)))).toBe(true);

  await pass(2);
  await system.replicate();
  for (let day = 0; day < 5; day += 1) await pass(2);
  for (const name of NAMES) {
    expect(
      bytesIn(name).some((file) => file.includes(Buffer.from(sealed))),
      name,
    ).toBe(false);
    expect(await listDeleted(at(name))).toEqual([]);
    const report = storeReport(at(name).config);
    expect(report.erasures.flatMap(({ objectIds }) => objectIds)).toContain(deleted!.objectId);
    expect(report).toMatchObject({ deletedKept: 0, unneeded: { sealedObjects: 0 } });
    expect(storeText(report)).toContain(deleted!.objectId);
    expect(storeText(report)).not.toContain('key 01');
  }
  const gone = restoreDeleted({ ...at('a'), objectIds: [deleted!.objectId], log: silentLog });
  expect((await rejection(gone)).code).toBe('NOT_FOUND');
  const erased = system.logLines.filter((line) => line.includes('erased sealed objects that nothing needs'));
  expect(erased.length).toBeGreaterThanOrEqual(3);
  expect(erased.join()).not.toContain('key 01');
});

it('restores and moves what is alive afterwards, at every site', async () => {
  const { operationId } = await system.operator.runDrill({ group: GROUP });
  await system.ended(operationId);
  const { drills } = await system.operator.listDrills({ group: GROUP, limit: 1 });
  expect(drills[0]).toMatchObject({ passed: true });
  for (const name of NAMES) {
    const { store } = system.agent(name).site;
    for (const { digest } of store.manifests())
      expect(await store.unsound(await store.blobsOf(digest, { group: GROUP }))).toEqual([]);
  }
});
