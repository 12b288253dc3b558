/** Logins: one attempt for each password, and none that could be the last. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { backUp, lunaSite, typed } from './support.ts';

const contents = (site: LunaSite) => site.finish(site.driver.contents(site.source.address, site.source.login));
const wrong = (site: LunaSite) =>
  site.driver.contents(site.source.address, { role: 'co', password: site.secret('wrong') });
const failures = (site: LunaSite, serial: string, role: 'co' | 'so'): number =>
  site.devices.read().partitions.find((one) => one.serial === serial)!.roles[role].failures;

it('7: logs in, and reads what is there', async () => {
  const site = lunaSite();
  site.addKeys(2);
  expect((await contents(site)).objects).toHaveLength(2);
});

describe('8: a wrong password', () => {
  it('costs one attempt, and no further command is sent', async () => {
    const site = lunaSite();
    const error = await rejection(site.finish(wrong(site)));
    expect(error).toMatchObject({ code: 'PIN_REFUSED', details: { code: 'CKR_PIN_INCORRECT' } });
    expect(site.log.at(-1)?.command).toBe('role login');
    site.driver = site.newDriver();
    expect((await rejection(site.finish(wrong(site)))).code).toBe('PIN_REFUSED');
    expect(failures(site, '154438865287', 'co')).toBe(1);
    expect(typed(site, 'role login')).toHaveLength(1);
  });

  it('is recorded where PKCS#11 looks for it too: the crypto officer is its user', async () => {
    const site = lunaSite();
    await rejection(site.finish(wrong(site)));
    expect(readdirSync(join(site.folder, 'login'))).toEqual(['login-154438865287.json']);
    expect(Object.keys(JSON.parse(readFileSync(join(site.folder, 'login/login-154438865287.json'), 'utf8')))).toContain(
      'refused',
    );
  });

  it('does not keep the right one out', async () => {
    const site = lunaSite();
    await rejection(site.finish(wrong(site)));
    expect((await contents(site)).objects).toEqual([]);
  });
});

describe('a tool that asks for passwords', () => {
  const prompted = { profile: { passwords: 'prompt' as const } };

  it('is answered, and no password is on a command line', async () => {
    const site = lunaSite(prompted);
    expect((await contents(site)).objects).toEqual([]);
    expect(typed(site, 'role login')).toEqual(['role login -name co']);
  });

  it('is not answered twice where it asks again', async () => {
    const site = lunaSite({ ...prompted, settings: { asksAgain: true } });
    expect((await rejection(site.finish(wrong(site)))).code).toBe('LUNA_OUTCOME_UNKNOWN');
    expect(failures(site, '154438865287', 'co')).toBe(1);
  });
});

describe('9: few attempts left', () => {
  it('are not used, by the number that the device shows', async () => {
    const site = lunaSite();
    site.replaceRole('154438865287', 'co', { failures: 8 });
    expect((await rejection(contents(site))).code).toBe('PIN_LOCKED');
    expect(typed(site, 'role login')).toEqual([]);
  });

  it('are not used by an officer whose device always shows its limit', async () => {
    const site = lunaSite();
    site.addKeys(1);
    site.replaceRole('532018', 'so', { shows: 'limit' });
    const order = (whose: 'wrong' | 'source' | 'target' | 'vault') =>
      site.finish(
        site.driver.backUp({
          ...{ source: site.source, partition: 'b', password: site.secret('backup') },
          vault: { ...site.vault, login: { role: 'so', password: site.secret(whose) } },
        }),
      );
    expect((await rejection(order('wrong'))).code).toBe('PIN_REFUSED');
    expect((await rejection(order('source'))).code).toBe('PIN_REFUSED');
    expect((await rejection(order('target'))).code).toBe('PIN_LOCKED');
    expect((await rejection(order('vault'))).code).toBe('PIN_LOCKED');
    const [vault] = site.devices.read().partitions.filter(({ serial }) => serial === '532018');
    expect(vault).toMatchObject({ isZeroized: false, roles: { so: { failures: 2 } } });
  });
});

describe('two agents that reach one device', () => {
  it('share the record of attempts', async () => {
    const site = lunaSite();
    await rejection(site.finish(wrong(site)));
    site.driver = site.newDriver();
    expect((await rejection(site.finish(wrong(site)))).code).toBe('PIN_REFUSED');
    expect(failures(site, '154438865287', 'co')).toBe(1);
  });

  it('do not try a password at the same time', async () => {
    const site = lunaSite();
    site.fault({ command: 'role login', at: 0, do: 'slow', ms: 60_000 });
    const first = contents(site);
    while (typed(site, 'role login').length === 0) await site.fakeClock.advance(1);
    const second = site.newDriver().contents(site.source.address, site.source.login);
    expect((await rejection(second)).code).toBe('LUNA_BUSY');
    expect((await first).objects).toEqual([]);
  });
});

it('10: does not try a role that is locked, and says that the lock can have lapsed', async () => {
  const site = lunaSite();
  site.replaceRole('154438865287', 'co', { failures: 10 });
  const error = await rejection(contents(site));
  expect(error).toMatchObject({ code: 'PIN_LOCKED', hint: expect.stringContaining('lapsed') });
  expect(typed(site, 'role login')).toEqual([]);
});

it('11: logs another role out, and sends the password once more at most', async () => {
  const site = lunaSite();
  site.fault({ command: 'role login', at: 0, do: 'fail', symbol: 'USER_ALREADY_LOGGED_IN', run: 1 });
  expect((await contents(site)).objects).toEqual([]);
  expect(typed(site, 'role login')).toHaveLength(2);
  site.fault({ command: 'role login', at: 0, do: 'fail', symbol: 'USER_ALREADY_LOGGED_IN' });
  expect((await rejection(contents(site))).code).toBe('LUNA_REFUSED');
  expect(typed(site, 'role login')).toHaveLength(4);
  // No device has looked at it: it is still the password that succeeded last.
  site.fault();
  expect((await contents(site)).objects).toEqual([]);
});

it('11: counts no attempt of an officer whose password no device looked at', async () => {
  const site = lunaSite();
  site.addKeys(1);
  const symbol = 'USER_ALREADY_LOGGED_IN';
  // The first login is that of the crypto officer.
  site.fault(...[2, 3].map((run) => ({ command: 'role login', at: 0, do: 'fail' as const, symbol, run })));
  expect((await rejection(backUp(site))).code).toBe('LUNA_REFUSED');
  expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
});

it('12: asks people to change the first password of an officer', async () => {
  const site = lunaSite();
  site.replaceRole('154438865287', 'co', { isExpired: true });
  expect(await rejection(contents(site))).toMatchObject({
    code: 'LUNA_HUMAN_NEEDED',
    details: { code: 'CKR_PIN_EXPIRED' },
  });
});

describe('13: a role that people serve at the PED', () => {
  const served = (): LunaSite => {
    const site = lunaSite({ settings: { pedMs: 700_000 } });
    site.replaceRole('154438865287', 'co', { isPed: true });
    site.addKeys(1);
    return site;
  };
  const atPed = (site: LunaSite) => site.driver.contents(site.source.address, { role: 'co', password: 'ped' });

  it('is reported at once, waited for, and goes on', async () => {
    const site = served();
    expect((await site.finish(atPed(site))).objects).toHaveLength(1);
    expect(site.pedEvents).toEqual([{ job: 'contents', atMs: 0 }]);
    expect(site.fakeClock.monotonicMs()).toBeGreaterThanOrEqual(700_000);
  });

  it('is given up where nobody comes', async () => {
    const site = served();
    site.set({ pedMs: 800_000 });
    expect((await rejection(site.finish(atPed(site)))).code).toBe('LUNA_OUTCOME_UNKNOWN');
    expect(site.pedEvents).toHaveLength(1);
  });
});

it('14: logs in to an activated partition with its password', async () => {
  const site = lunaSite();
  site.replaceRole('154438865287', 'co', { isPed: true, isActivated: true });
  site.addKeys(1);
  expect((await contents(site)).objects).toHaveLength(1);
  expect(site.pedEvents).toEqual([]);
});

it('31: asks people to end the transport mode of a device', async () => {
  const site = lunaSite();
  site.addKeys(1);
  site.replace('532018', { isInTransport: true });
  expect(await rejection(backUp(site))).toMatchObject({ code: 'LUNA_HUMAN_NEEDED' });
  site.replace('532018', { isInTransport: false });
  expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
});

it('takes no password that lunacm could not take as one word', async () => {
  const site = lunaSite();
  const password = new Secret(Buffer.from('a"b\nexit'));
  const job = site.driver.contents(site.source.address, { role: 'co', password });
  expect((await rejection(site.finish(job))).code).toBe('CONFIG_INVALID');
  expect(typed(site, 'role login')).toEqual([]);
});
