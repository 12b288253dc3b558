/** What devices, clocks and people do to a vault that no fault script has. */
import type { KeepOrder, KeepReport } from '@antipode/hsm-core/luna';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { hashOf } from '../../emulators/lunacm/devices.ts';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { archiveOf } from '../../emulators/lunacm/objects.ts';
import { backUp, lunaSite, typed } from './support.ts';

const VAULT = '532018';

describe('an officer of a vault, whose third wrong password erases it', () => {
  it('is not tried at the last attempt, even with the password that was right before', async () => {
    const site = lunaSite();
    site.addKeys(1);
    expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
    // Somebody has changed it at the device, and mistyped it twice since.
    site.replaceRole(VAULT, 'so', { hash: hashOf('another one'), failures: 2 });
    expect((await rejection(backUp(site, 'backup 2'))).code).toBe('PIN_LOCKED');
    expect(site.partition(VAULT)).toMatchObject({ isZeroized: false, roles: { so: { failures: 2 } } });
  });

  it('can log in where the floor of other roles is higher than all attempts that it has', async () => {
    const site = lunaSite({ profile: { attemptsFloor: 5 } });
    site.addKeys(1);
    expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
    site.replaceRole(VAULT, 'so', { failures: 1 });
    expect((await rejection(backUp(site, 'backup 2'))).code).toBe('PIN_LOCKED');
  });

  it('is not tried again by a success that another command had', async () => {
    const site = lunaSite();
    site.addKeys(1);
    site.replaceRole(VAULT, 'so', { hash: hashOf('another one'), shows: 'limit' });
    // The crypto officer logs in first.
    const repeat = { command: 'role show', at: 'end', do: 'repeat', ms: 20_000 } as const;
    site.fault(...[2, 4, 6, 8, 10].map((run) => ({ ...repeat, run })));
    for (let turn = 0; turn < 5; turn += 1) await rejection(backUp(site, `backup ${turn}`));
    expect(site.partition(VAULT).isZeroized).toBe(false);
    expect(typed(site, 'partition archive backup')).toEqual([]);
  });
});

const SOURCE = '154438865287';
const keep = (
  site: LunaSite,
  { count = 1, ...rest }: Partial<KeepOrder> & { count?: number } = {},
): Promise<KeepReport> =>
  site.finish(
    site.driver.keepBackups(
      { source: site.source, vault: site.vault, password: site.secret('backup'), keep: count, ...rest },
      [{ action: 'expire own backups', target: site.vault.address, keep: count }],
    ),
  );
const drop = (site: LunaSite, name: string, count = 1) =>
  site.finish(
    site.driver.dropBackup({ vault: site.vault, name, keep: count }, [
      { action: 'delete backup', target: site.vault.address, partition: name },
    ]),
  );
const namesIn = (site: LunaSite): string[] => site.partition(VAULT).archives.map(({ name }) => name);

describe('generations of backups', () => {
  it('are newer by their order, whatever the clock of the host has shown', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(2);
    site.fakeClock.stepWall(400 * 86_400_000);
    await keep(site);
    site.fakeClock.stepWall(-400 * 86_400_000);
    const { name, deleted } = await keep(site);
    expect(namesIn(site)).toEqual([name]);
    expect(deleted).not.toContain(name);
  });

  it('stay where the partition has lost keys since: a backup of less takes the place of none', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(3);
    const needed = ['key 0', 'key 1', 'key 2'];
    const good = await keep(site, { needed });
    site.objects.clear(SOURCE);
    site.addKeys(2);
    for (let week = 0; week < 3; week += 1)
      expect((await keep(site, { needed })).backup).toMatchObject({ verdict: 'partial', why: 'lacking' });
    site.objects.clear(SOURCE);
    expect((await keep(site, { needed })).backup).toMatchObject({ verdict: 'partial', why: 'lacking' });
    expect(site.archived(good.name)).toHaveLength(3);
    site.addKeys(4);
    const next = await keep(site, { needed });
    expect(next.backup.verdict).toBe('complete');
    expect(namesIn(site)).toEqual([next.name]);
  });

  it('do not fill the vault where one object fails each time', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(3);
    const good = await keep(site);
    site.fault({ command: 'partition archive backup', at: 2, do: 'fail' });
    const names: string[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const { name, backup } = await keep(site);
      expect(backup.verdict).toBe('partial');
      names.push(name);
    }
    expect(namesIn(site)).toEqual([good.name, names.at(-1)]);
  });

  it('of one series end none of another one, not even unfinished ones', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(3);
    const cards = await keep(site, { series: 'cards' });
    site.fault({ command: 'partition archive backup', at: 2, do: 'fail', run: 2 });
    const cut = await keep(site, { series: 'cards-2' });
    const safety = await keep(site, { series: 'payments before a restore' });
    const [, second] = [await keep(site, { series: 'payments' }), await keep(site, { series: 'payments' })];
    expect(namesIn(site)).toEqual([cards.name, cut.name, safety.name, second!.name]);
  });

  it('are deleted on order only where enough others are in the vault, whatever the register has', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(1);
    const [lost, changed, last] = [
      await keep(site, { count: 3 }),
      await keep(site, { count: 3 }),
      await keep(site, { count: 3 }),
    ];
    site.change(VAULT, (vault) => void vault.archives.splice(0, 1));
    site.addKey('added', archiveOf(VAULT, changed!.name));
    expect((await rejection(drop(site, last!.name))).code).toBe('ARCHIVE_KEPT');
    expect(namesIn(site)).toEqual([changed!.name, last!.name]);
    // It is on record that they are of no use. The one that is gone is forgotten, and the last one stays.
    const states = () => site.driver.ownBackups(site.vault.address).map(({ name, state }) => [name, state]);
    expect(states()).toEqual([
      [lost!.name, 'spoilt'],
      [changed!.name, 'spoilt'],
      [last!.name, 'complete'],
    ]);
    expect((await drop(site, lost!.name)).verdict).toBe('gone');
    expect((await drop(site, changed!.name)).verdict).toBe('gone');
    expect(states()).toEqual([[last!.name, 'complete']]);
    expect(typed(site, 'partition archive delete')).toHaveLength(1);
  });

  it('that were missing once count again when they are back', async () => {
    const site = lunaSite({ logins: 'ped' });
    site.addKeys(1);
    const { name } = await keep(site);
    const kept = site.partition(VAULT).archives.splice(0);
    site.change(VAULT, (vault) => void vault.archives.splice(0));
    await rejection(drop(site, 'another'));
    await drop(site, (await keep(site, { count: 2 })).name, 1).catch(() => undefined);
    expect(site.driver.ownBackups(site.vault.address)[0]).toMatchObject({ name, state: 'spoilt' });
    site.change(VAULT, (vault) => void vault.archives.push(...kept));
    await keep(site, { count: 3 });
    expect(site.driver.ownBackups(site.vault.address)[0]).toMatchObject({ name, state: 'complete' });
  });
});
