/** Commands of the emulated tool that people type, and that no job of the driver does. */
import { expect, it } from 'vitest';
import { hashOf } from '../../emulators/lunacm/devices.ts';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import { lunaSite } from './support.ts';

/** The output of one session. */
async function session(site: LunaSite, ...lines: string[]): Promise<string> {
  const tool = site.launcher.launch('terminal');
  let text = '';
  tool.read((bytes) => {
    text += Buffer.from(bytes).toString('utf8');
  });
  await tool.write(Buffer.from([...lines, 'exit', ''].join('\n')));
  await site.finish(tool.ended);
  return text;
}

const OK = 'Command Result : No Error';
const trailersIn = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('Command Result'));

it('makes a partition ready: its officer, its crypto officer and the password of that one', async () => {
  const site = lunaSite();
  site.replace('154438865301', { label: '', isZeroized: true });
  const text = await session(
    site,
    ...['slot set -slot 1', 'partition init -label scratch -password officer-1 -domain one -auth', 'proceed'],
    ...['role init -name co -password first-pw', 'role logout', 'role login -name co -password first-pw'],
    ...['role changepw -name co', 'first-pw', 'second-pw', 'second-pw', 'role login -name co -password second-pw'],
    ...['role init -name cu -password user-pw', 'role list', 'partition contents'],
  );
  const expired = trailersIn(text)[4];
  expect(expired).toContain('CKR_PIN_EXPIRED');
  expect(trailersIn(text).filter((line) => line !== expired)).toEqual(Array(9).fill(OK));
  expect(text).toContain('Crypto User');
  expect(site.partition('154438865301')).toMatchObject({
    ...{ label: 'scratch', isZeroized: false, domain: hashOf('one') },
    roles: { co: { hash: hashOf('second-pw') }, cu: { isInitialised: true, isExpired: true } },
  });
});

it('lets no crypto officer be made without the officer of the partition', async () => {
  const site = lunaSite();
  const login = `role login -name co -password ${site.passwords.source}`;
  const [refused] = trailersIn(await session(site, 'role init -name co -password other-pw'));
  expect(refused).toContain('CKR_USER_NOT_LOGGED_IN');
  expect(trailersIn(await session(site, login))).toEqual([OK]);
});

it('asks before it initialises what has objects', async () => {
  const site = lunaSite();
  site.addKeys(2);
  await session(site, 'partition init -label par0 -password officer-1 -domain one', 'quit');
  expect(site.objects.list('154438865287')).toHaveLength(2);
  await session(site, 'slot set -slot 101', 'hsm init -label v -initwithpwd -password 12345678 -domain d', 'quit');
  expect(site.partition('532018').label).toBe('vault');
});

it('shows the groups of a client with their members', async () => {
  const site = lunaSite();
  site.devices.change((devices) => {
    devices.groups = [{ label: 'both', slot: 5, serials: ['154438865287', '154438865301'] }];
  });
  site.replace('154438865301', { isReachable: false });
  const text = await session(site, 'hagroup listgroups');
  expect(text).toMatch(/HA Group Number: {2}1154438865287/);
  expect(text).toMatch(/0\s+154438865287\s+par0\s+alive/);
  expect(text).toMatch(/1\s+154438865301\s+scratch\s+down/);
});

it('makes a partition in a device, and clones a masking key between two of version 1', async () => {
  const site = lunaSite();
  const so = `role login -name so -password ${site.passwords.vault}`;
  expect(trailersIn(await session(site, 'slot set -slot 101', 'partition create -slot 101'))[1]).toContain(
    'NOT_LOGGED',
  );
  expect(trailersIn(await session(site, 'slot set -slot 101', so, 'partition create -slot 101'))).toEqual([OK, OK, OK]);
  expect(await session(site)).toMatch(/Slot Id -> +102/);
  for (const serial of ['154438865287', '154438865301']) site.replace(serial, { version: 'V1' });
  site.replace('154438865301', { maskingKey: 'b2'.repeat(12) });
  const co = `role login -name co -password ${site.passwords.source}`;
  const clone = `partition smkclone -slot 1 -password ${site.passwords.target} -force`;
  expect(trailersIn(await session(site, 'slot set -slot 0', co, clone))).toEqual([OK, OK, OK]);
  expect(site.partition('154438865301').maskingKey).toBe('a1'.repeat(12));
});

it('goes into transport mode and out of it, with the strings of both ends', async () => {
  const site = lunaSite();
  const so = `role login -name so -password ${site.passwords.vault}`;
  const sent = await session(site, 'slot set -slot 101', so, 'stm transport -force');
  const [, random] = /Random User String: (\S+)/.exec(sent) ?? [];
  const [, verification] = /Verification String: (\S+)/.exec(sent) ?? [];
  site.replace('532018', { isZeroized: true });
  const recover = `stm recover -randomuserstring ${random}`;
  expect(await session(site, 'slot set -slot 101', recover, 'quit')).toContain(verification);
  // A login that fails on the way changes what is shown.
  await session(site, 'slot set -slot 101', so);
  expect(await session(site, 'slot set -slot 101', recover, 'proceed')).not.toContain(verification);
  expect(site.partition('532018').isInTransport).toBe(false);
});

it.each([
  'hsm init -label a -initwithped',
  'hsm init -force',
  'stm show',
  'hagroup list',
  'role changepw -name co -oldpw a -newpw b',
  'partition list',
])('refuses what the real tool is not known to accept: %s', async (line) => {
  expect(await session(lunaSite(), line)).toContain('0x1 Unknown command');
});
