/** Database and journals that contradict each other, since one of them was rolled back or lost: seen, held, and mended. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
beforeEach(async () => {
  system = await TestSystem.start({ failoverPolicy: FailoverPolicy.MANUAL });
});
afterEach(() => system?.close());

const stateOf = async () => (await system.operator.getGroup({ group: GROUP })).group!;
const copy = (from: string, to: string): void => {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['-a', from, to]);
};
const dataOf = (site: string): string => join(system.site(site).folder, 'data');
const contradicted = () =>
  system.until('the contradiction is seen', async () => {
    const group = await stateOf();
    return group.protection === 'contradicted' && group;
  });
const reseat = async (): Promise<Record<string, unknown>> => {
  // Tools on the tokens hold up this process, and the lease of the coordinator in it with them.
  const { operationId } = await system.until('the order is taken', () => system.operator.reseatGroup({ group: GROUP }));
  const { result } = await system.ended(operationId);
  return JSON.parse(result) as Record<string, unknown>;
};
/** How many keys of that name a real client finds. */
const keysAt = async (site: string, id: string): Promise<number> =>
  (await system.keysAt(site)).filter((label) => label === `key ${id}`).length;
const intents = async (): Promise<number> => (await system.operator.listOperations({ limit: 500 })).operations.length;

describe('an older copy of the active site’s data folder', () => {
  it('is held in quarantine, and copies no key twice after a reseat', async () => {
    await system.makeKey('a', '01');
    await system.replicate();
    await system.stopAgent('a');
    const older = join(system.folder, 'older');
    copy(dataOf('a'), older);
    await system.startAgent('a');
    for (let id = 10; id < 20; id += 1) await system.makeKey('a', String(id));
    await system.until('they are replicated', () => system.replicate());
    await system.stopAgent('a');
    copy(older, dataOf('a'));
    await system.startAgent('a');

    const group = await contradicted();
    expect(group.contradiction).toContain('older copy');
    expect(group.members.map(({ site, quarantine }) => [site, quarantine !== ''])).toEqual([
      ['a', true],
      ['b', false],
      ['c', false],
    ]);
    expect((await rejection(system.operator.resolve({ group: GROUP }))).code).toBe('GROUP_CONTRADICTED');
    expect((await rejection(system.operator.replicate({ group: GROUP }))).code).toBe('GROUP_CONTRADICTED');
    const { epoch } = group;
    const fence = { group: GROUP, epoch, owner: 'a', requestId: 'r' };
    expect((await rejection(system.order('a').capture({ fence, domainKeyVersion: 1 }))).code).toBe('SITE_QUARANTINED');

    const plan = await system.operator.planReseat({ group: GROUP });
    expect([plan.obstacle, plan.activeSite, plan.epoch]).toEqual(['', 'a', epoch + 1n]);
    expect(await reseat()).toMatchObject({ activeSite: 'a', seated: expect.arrayContaining(['a', 'b', 'c']) });
    expect((await system.operator.resolve({ group: GROUP })).site).toBe('a');
    await system.makeKey('a', '20');
    const { state } = await system.until('protected again', () => system.replicate());
    expect(
      state.members.map(({ divergentObjects, unaccountedObjects }) => divergentObjects + unaccountedObjects),
    ).toEqual([0, 0, 0]);
    for (const site of ['b', 'c']) for (const id of ['01', '10', '19', '20']) expect(await keysAt(site, id)).toBe(1);
  });
});

describe('a copy of `antipode agent backup` in a fresh data folder', () => {
  it('is in quarantine, and one command seats it again: no key is lost, and none is there twice', async () => {
    await system.makeKey('a', '01');
    await system.replicate();
    const to = join(system.folder, 'backup-of-a');
    const { configFile, folder } = system.site('a');
    const made = await antipode(['agent', 'backup', '--config', configFile, '--to', to]);
    expect([made.code, made.stderr]).toEqual([0, '']);
    await system.makeKey('a', '02');
    await system.until('it is replicated', () => system.replicate());
    await system.stopAgent('a');
    // The disk of the site is new: journal and store come from the copy, as the runbook says.
    rmSync(dataOf('a'), { recursive: true });
    mkdirSync(dataOf('a'), { mode: 0o700 });
    for (const name of ['journal.db', 'generations.db']) copyFileSync(join(to, name), join(dataOf('a'), name));
    if (existsSync(join(to, 'pins.yaml'))) copyFileSync(join(to, 'pins.yaml'), join(folder, 'pins.yaml'));
    await system.startAgent('a');

    const group = await contradicted();
    expect(group.members.find(({ site }) => site === 'a')?.quarantine).toContain('older copy');
    const { file } = operatorConfigOf(system.folder);
    const status = await antipode(['status'], { configFile: file });
    expect(status.code).toBe(4);
    expect(status.stdout).toMatch(/site a is in quarantine: .*\n {2}Run `antipode group reseat/);
    const seated = await system.until('the order is taken', async () => {
      const run = await antipode(['group', 'reseat', GROUP, '--yes'], { configFile: file });
      return run.code === 0 && run;
    });
    expect(seated.code).toBe(0);
    await system.makeKey('a', '03');
    const { state } = await system.until('protected again', () => system.replicate());
    expect(state).toMatchObject({ activeSite: 'a', contradiction: '' });
    expect(state.members.map((one) => one.divergentObjects + one.unaccountedObjects)).toEqual([0, 0, 0]);
    for (const site of ['b', 'c']) for (const id of ['01', '02', '03']) expect(await keysAt(site, id)).toBe(1);
  });
});

describe('a database that was put back to before a failover', () => {
  it('sends nobody to the fenced site, makes no storm of orders, and takes over what the journals say', async () => {
    const cluster = join(system.folder, 'coordinator', 'data', 'postgres');
    const backup = join(system.folder, 'backup');
    await system.makeKey('a', '01');
    await system.replicate();
    await system.coordinator.close();
    copy(cluster, backup);
    await system.startCoordinator();
    await system.until('all are heard', async () =>
      (await system.operator.getStatus({})).sites.every(({ state }) => state === 'up'),
    );
    await system.moveTo('b');
    await system.makeKey('b', '02');
    await system.until('it is replicated', () => system.replicate(['a', 'c']));
    await system.coordinator.close();
    copy(backup, cluster);
    await system.startCoordinator();

    const group = await contradicted();
    expect(group).toMatchObject({ activeSite: 'a', epoch: 1n, contradiction: expect.stringContaining('epoch 2 of b') });
    expect((await rejection(system.operator.resolve({ group: GROUP }))).code).toBe('GROUP_CONTRADICTED');
    expect((await rejection(system.operator.failover({ group: GROUP, toSite: 'c', acceptLoss: true }))).code).toBe(
      'GROUP_CONTRADICTED',
    );
    const before = await intents();
    const heard = new Set<bigint>();
    await system.until('many heartbeats and passes of the planner', async () => {
      const [site] = (await system.operator.getStatus({})).sites;
      if (site?.state === 'up') heard.add(site.silenceMs ?? 0n);
      return heard.size > 60;
    });
    expect(await intents()).toBe(before);

    expect(await reseat()).toMatchObject({ activeSite: 'b', epoch: 3 });
    expect(await system.operator.resolve({ group: GROUP })).toMatchObject({ site: 'b', epoch: 3n });
    await system.makeKey('b', '03');
    const { state } = await system.until('protected again', () => system.replicate(['a', 'c']));
    expect(state).toMatchObject({ activeSite: 'b', contradiction: '', protection: 'protected' });
    for (const site of ['a', 'c']) for (const id of ['01', '02', '03']) expect(await keysAt(site, id)).toBe(1);
  });
});

describe('an active site whose journal is lost', () => {
  it('is named, sends nobody there, and gives way to a standby', async () => {
    await system.makeKey('a', '01');
    await system.replicate();
    await system.stopAgent('a');
    for (const end of ['', '-wal', '-shm']) rmSync(join(dataOf('a'), `journal.db${end}`), { force: true });
    await system.startAgent('a');
    const group = await contradicted();
    expect(group.contradiction).toContain('lost or replaced');
    expect((await rejection(system.operator.resolve({ group: GROUP }))).code).toBe('GROUP_CONTRADICTED');
    const before = await intents();
    const plan = await system.operator.planReseat({ group: GROUP });
    expect(plan.obstacle).toContain('failover');
    expect(await intents()).toBe(before);
    const { operationId } = await system.until('the order is taken', () =>
      system.operator.failover({ group: GROUP, toSite: 'b' }),
    );
    await system.ended(operationId);
    expect(await system.operator.resolve({ group: GROUP })).toMatchObject({ site: 'b', epoch: 2n });
    expect(await stateOf()).toMatchObject({ contradiction: '' });
  });
});
