/** Programs make keys at their defaults in one partition, the emulated device moves them, and programs use the copies. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import type { PartitionUser } from '../../emulators/lunacm/partition-user.ts';
import { backUp, clone, restore } from './support.ts';

let site: LunaSite;
let source: PartitionUser;
let target: PartitionUser;

const openssl = (...words: string[]): string => execFileSync('openssl', words, { stdio: 'pipe' }).toString();
const file = (name: string): string => join(site.folder, name);

beforeAll(() => {
  site = new LunaSite({ tokens: true });
  ({ source, target } = site.users!);
  source.tool('--keypairgen', '--key-type', 'rsa:2048', '--id', '01', '--label', 'rsa');
  source.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '02', '--label', 'ec');
  source.tool('--keygen', '--key-type', 'aes:32', '--id', '03', '--label', 'aes');
  source.tool('--keygen', '--key-type', 'generic:32', '--id', '04', '--label', 'mac');
  source.keytool('-genkeypair', '-alias', 'java', '-keyalg', 'RSA', '-keysize', '2048', '-dname', 'CN=java');
  writeFileSync(file('text'), 'the same in both partitions 1234');
  openssl('dgst', '-sha256', '-binary', '-out', file('digest'), file('text'));
}, 120_000);

afterAll(() => site.close());

/** Every key is used in the partition by the program that made it. OpenSSL and the source judge the result. */
function expectUsable(user: PartitionUser): void {
  for (const [id, input, mechanism] of [
    ['01', 'text', 'SHA256-RSA-PKCS'],
    ['02', 'digest', 'ECDSA'],
  ] as const) {
    source.tool('--read-object', '--type', 'pubkey', '--id', id, '-o', file('pub.der'));
    openssl('pkey', '-pubin', '-inform', 'DER', '-in', file('pub.der'), '-out', file('pub.pem'));
    const format = mechanism === 'ECDSA' ? ['--signature-format', 'openssl'] : [];
    user.tool('--sign', '-m', mechanism, '--id', id, '-i', file(input), '-o', file('sig'), ...format);
    expect(openssl('dgst', '-sha256', '-verify', file('pub.pem'), '-signature', file('sig'), file('text'))).toContain(
      'Verified OK',
    );
  }
  const computed = (one: PartitionUser, ...words: string[]): string =>
    one.tool(...words, '-i', file('text'), '-o', file('out')) && execFileSync('base64', [file('out')]).toString();
  for (const words of [
    ['--encrypt', '-m', 'AES-ECB', '--id', '03'],
    ['--sign', '-m', 'SHA256-HMAC', '--id', '04'],
  ])
    expect(computed(user, ...words)).toBe(computed(source, ...words));
  user.keytool('-certreq', '-alias', 'java', '-file', file('request'));
  expect(openssl('req', '-in', file('request'), '-noout', '-verify', '-subject')).toContain('CN = java');
}

/** The protections of keys, as the token itself reports them. */
const accessOf = (user: PartitionUser): string[] =>
  user
    .tool('-O')
    .toString()
    .split('\n')
    .filter((line) => line.includes('Access:'))
    .sort();

it('a clone serves at the other partition, and its keys stay unextractable', async () => {
  expect(accessOf(source).filter((line) => line.includes('never extractable'))).toHaveLength(4);
  const report = await clone(site);
  expect(report).toMatchObject({ verdict: 'complete' });
  expect(report.objects.map(({ object }) => object.label)).toEqual(expect.arrayContaining(['rsa', 'aes', 'java']));
  expectUsable(target);
  expect(accessOf(target)).toEqual(accessOf(source));
});

it('a backup serves at a partition that it was restored to', async () => {
  expect(await backUp(site)).toMatchObject({ verdict: 'complete' });
  const approvals = [{ action: 'clear' as const, target: site.target.address }];
  expect(await site.finish(site.driver.clear(site.target, approvals))).toMatchObject({ verdict: 'gone' });
  expect(() => expectUsable(target)).toThrow();
  expect(await restore(site)).toMatchObject({ verdict: 'complete' });
  expectUsable(target);
});

it('a drill from the vault uses every key in the scratch partition, and leaves it empty', async () => {
  const approvals = [{ action: 'clear' as const, target: site.target.address }];
  await site.finish(site.driver.clear(site.target, approvals));
  const order = { from: site.archive('backup 1'), scratch: site.target, prove: async () => expectUsable(target) };
  const report = await site.finish(site.driver.drillVault(order, approvals));
  expect(report).toMatchObject({ verdict: 'proved', failure: undefined, cleared: { verdict: 'gone' } });
  expect(site.objects.list('154438865301')).toEqual([]);
  expect(await restore(site)).toMatchObject({ verdict: 'complete' });
});

it('a key that a program makes at the copy is listed beside the copies', async () => {
  target.tool('--keygen', '--key-type', 'aes:16', '--id', '05', '--label', 'own');
  const { objects } = await site.finish(site.driver.contents(site.target.address, site.target.login));
  expect(objects.filter(({ label }) => label === 'own')).toHaveLength(1);
  // Refused: its copies are there already.
  expect(await restore(site)).toMatchObject({ verdict: 'refused', why: 'duplicate' });
  expectUsable(target);
});

it('a partition of another domain takes nothing, and could not use it', async () => {
  site.replace('154438865301', { domain: 'two' });
  await site.finish(site.driver.clear(site.target, [{ action: 'clear', target: site.target.address }]));
  expect(await restore(site)).toMatchObject({ verdict: 'refused', why: 'domainMismatch' });
  expect(site.objects.list('154438865301')).toEqual([]);
});
