/** What devices, clocks and people do to a vault that no fault script has. */
import type { KeepReport } from '@antipode/hsm-core/luna';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { hashOf } from '../../emulators/lunacm/devices.ts';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
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

const keep = (site: LunaSite, count = 1): Promise<KeepReport> =>
  site.finish(
    site.driver.keepBackups({ source: site.source, vault: site.vault, password: site.secret('backup'), keep: count }, [
      { action: 'expire own backups', target: site.vault.address, keep: count },
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
});
