/** Drills from a vault: the scratch partition is empty again, and nothing of anybody else is ever cleared. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ApprovedOrder, DrillReport, ListedObject } from '@antipode/hsm-core/luna';
import { rejection } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { backUp, lunaSite, typed } from './support.ts';

const SCRATCH = '154438865301';

const drill = (
  site: LunaSite,
  prove: (objects: readonly ListedObject[]) => Promise<void> = async () => {},
  approvals: ApprovedOrder[] = [{ action: 'clear', target: site.target.address }],
): Promise<DrillReport> =>
  site.finish(site.driver.drillVault({ from: site.archive('backup 1'), scratch: site.target, prove }, approvals));

async function siteWithBackup(): Promise<LunaSite> {
  const site = lunaSite({ logins: 'ped' });
  site.addKeys(5);
  await backUp(site);
  // The source is dead.
  site.replace('154438865287', { isReachable: false });
  return site;
}

const left = (site: LunaSite): number => site.objects.list(SCRATCH).length;

it('restores, proves every key while it is there, and clears the partition', async () => {
  const site = await siteWithBackup();
  const seen: number[] = [];
  const report = await drill(site, async (objects) => void seen.push(objects.length, left(site)));
  expect(report).toMatchObject({ verdict: 'proved', restored: { verdict: 'complete' }, cleared: { verdict: 'gone' } });
  expect([seen, left(site)]).toEqual([[5, 5], 0]);
});

it('clears the partition where a proof fails, and keeps its failure', async () => {
  const site = await siteWithBackup();
  const failure = new Error('the key does not sign');
  const report = await drill(site, () => Promise.reject(failure));
  expect(report).toMatchObject({ verdict: 'not proved', failure, cleared: { verdict: 'gone' } });
  expect(left(site)).toBe(0);
});

it('proves nothing of a restore that is not complete', async () => {
  const site = await siteWithBackup();
  site.fault({ command: 'partition archive restore', at: 3, do: 'skip' });
  const report = await drill(site, () => Promise.reject(new Error('called')));
  expect(report).toMatchObject({ verdict: 'not restored', failure: undefined, cleared: { verdict: 'gone' } });
});

it('needs an approval that names the partition', async () => {
  const site = await siteWithBackup();
  expect((await rejection(drill(site, undefined, []))).code).toBe('LUNA_NOT_APPROVED');
  expect(typed(site, 'partition archive restore')).toEqual([]);
});

it('is not begun where the preflight knows that it will fail', async () => {
  const site = await siteWithBackup();
  site.replace('532018', { policies: { 55: 1 } });
  site.replace(SCRATCH, { firmware: '7.4.0' });
  expect((await rejection(drill(site))).message).toContain('restricted restore');
  expect(typed(site, 'partition archive restore')).toEqual([]);
});

it('takes no partition that has objects of anybody else', async () => {
  const site = await siteWithBackup();
  site.addKey('of somebody else', SCRATCH);
  expect((await rejection(drill(site))).code).toBe('LUNA_REFUSED');
  expect(left(site)).toBe(1);
});

it('does not clear what somebody put there while it ran, and does not take that for its own later', async () => {
  const site = await siteWithBackup();
  const report = await drill(site, async () => void site.addKey('of somebody else', SCRATCH));
  expect(report).toMatchObject({ verdict: 'proved', cleared: undefined });
  expect(left(site)).toBe(6);
  expect((await rejection(drill(site))).code).toBe('LUNA_REFUSED');
  expect(typed(site, 'partition clear')).toEqual([]);
});

it.each([
  ...[0, 1, 3, 5, 'end' as const].map((at) => ({ command: 'partition archive restore', at })),
  ...[0, 1, 'end' as const].map((at) => ({ command: 'partition clear', at })),
])('goes on after it was killed in $command ($at)', async (fault) => {
  const site = await siteWithBackup();
  site.fault({ ...fault, do: 'hang', run: 1 });
  const order = { from: site.archive('backup 1'), scratch: site.target, prove: async () => {} };
  void site.driver.drillVault(order, [{ action: 'clear', target: site.target.address }]);
  while (site.launcher.hangs === 0) await site.fakeClock.advance(1);
  site.killDriver();
  site.fault();
  expect(await drill(site)).toMatchObject({ verdict: 'proved', cleared: { verdict: 'gone' } });
  expect(left(site)).toBe(0);
});

it('writes no label into its register', async () => {
  const site = await siteWithBackup();
  await drill(site, async () => void site.addKey('later', SCRATCH));
  const { stateFolder } = site.ports;
  const files = readdirSync(stateFolder).filter((name) => name.startsWith('drill-'));
  expect(files).toHaveLength(1);
  expect(readFileSync(join(stateFolder, files[0]!), 'utf8')).not.toContain('key');
});
