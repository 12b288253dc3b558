/**
 * Somebody works on the SoftHSM tokens of a native group with the tool of SoftHSM, or puts an older copy of a store back.
 * Nothing is lost, and nobody's key is destroyed. Each ends by the way of the runbooks.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy, Movement } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { initialisePartition, listDeleted, loadAgentConfig, pinPartitions } from '@antipode/site-agent';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { CloningDomain, paired } from '../../support/softhsm-pair.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { OFFICER_PIN, USER_PIN } from '../../support/tokens.ts';

let system: TestSystem;
let domain: CloningDomain;

beforeAll(async () => {
  // Captures come by order only.
  system = await TestSystem.start({ createGroup: false });
  const { tool } = system.site('a').token;
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'ec');
  tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '02', '--label', 'key 02');
  domain = new CloningDomain(paired(system.site('a').token));
  for (const name of ['a', 'b', 'c']) {
    await system.stopAgent(name);
    const { configFile, token, scratch } = system.site(name);
    const text = readFileSync(configFile, 'utf8');
    writeFileSync(configFile, text.replace(/^( *)- name: (main|scratch)$/gm, '$&\n$1  native: { kind: softhsm }'));
    for (const one of name === 'a' ? [] : [token, scratch]) if (one !== undefined) await domain.join(paired(one));
    await system.startAgent(name);
  }
  await system.createGroup(FailoverPolicy.MANUAL, { rpoSeconds: 86_400, movement: Movement.NATIVE });
  await system.insistent('all have the first generation', () => system.replicate());
  await system.untilProtection('protected');
});
afterAll(() => system?.close());

const groupNow = async () => (await system.operator.getGroup({ group: GROUP })).group!;
const pathOf = (name: string): string => paired(system.site(name).token).path;

function util(name: string, ...args: string[]): string {
  const env = { ...process.env, ...system.site(name).token.environment };
  return execFileSync('softhsm2-util', args, { env, stdio: 'pipe' }).toString();
}

/** By softhsm2-util, from a file of OpenSSL. */
function importKey(name: string, id: string, label: string): void {
  const { token } = system.site(name);
  const file = join(token.folder, `${label}.pem`);
  execFileSync('openssl', ['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', file], {
    stdio: 'pipe',
  });
  util(name, '--import', file, '--token', token.label, '--id', id, '--label', label, '--pin', USER_PIN);
}

const privateKeysAt = (name: string): string[] =>
  [
    ...system
      .site(name)
      .token.tool('--list-objects', '--type', 'privkey')
      .matchAll(/label: +(\S+)$/gm),
  ]
    .map(([, label]) => label!)
    .sort();

/** A use of the unextractable AES key by pkcs11-tool. */
function encryptedAt(name: string): string {
  const { folder, tool } = system.site(name).token;
  const [input, output] = [join(folder, 'input'), join(folder, 'output')];
  writeFileSync(input, Buffer.alloc(32, 7));
  tool('--encrypt', '-m', 'AES-ECB', '--id', '02', '-i', input, '-o', output);
  return readFileSync(output, 'hex');
}

it('captures a key that softhsm2-util imports at the active member, and every standby has it', async () => {
  importKey('a', '11', 'imported');
  await system.replicate();
  for (const name of ['a', 'b', 'c']) expect([name, privateKeysAt(name)]).toEqual([name, ['ec', 'imported']]);
  await system.untilProtection('protected');
});

it('counts a key that softhsm2-util imports at a standby, and leaves it alone', async () => {
  importKey('b', '12', 'foreign');
  const before = encryptedAt('b');
  await system.makeKey('a', '13');
  await system.replicate();
  const counted = await system.until('site b counts it', async () => {
    const member = (await groupNow()).members.find(({ site }) => site === 'b');
    return member !== undefined && member.unaccountedObjects > 0 && member;
  });
  expect(counted.divergentObjects).toBe(0);
  expect(privateKeysAt('b')).toContain('foreign');
  expect(privateKeysAt('c')).not.toContain('foreign');
  expect(encryptedAt('b')).toBe(before);
  for (const type of ['privkey', 'pubkey']) {
    await system.site('b').token.toolAsync('--delete-object', '--type', type, '--id', '12');
  }
  await system.makeKey('a', '14');
  await system.replicate();
  await system.untilProtection('protected');
});

it('holds the capture of an older copy of the store, until the newer one is put back', async () => {
  const path = pathOf('a');
  const { folder } = system.site('a').token;
  const put = (from: string): void => {
    for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true });
    cpSync(from, path, { recursive: true });
  };
  cpSync(path, join(folder, 'older'), { recursive: true });
  await system.deleteKey('a', '14');
  await system
    .site('a')
    .token.toolAsync('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '15', '--label', 'key 15');
  await system.replicate();
  cpSync(path, join(folder, 'newer'), { recursive: true });
  put(join(folder, 'older'));
  const error = await system.until('the capture is held', async () => {
    const refused = await rejection(system.replicate());
    return refused.code === 'CAPTURE_HELD' && refused;
  });
  expect(error.message).toContain('this token looks like an older copy of itself: 1 of');
  await system.untilProtection('held');
  const config = loadAgentConfig(system.site('a').configFile);
  const states = (await listDeleted({ config, group: GROUP })).map(({ state, label }) => [state, label]);
  expect(states).toEqual(
    expect.arrayContaining([
      ['held', 'key 15'],
      ['revived', 'key 14'],
    ]),
  );
  for (const name of ['b', 'c']) expect(await system.keysAt(name)).toEqual(['key 02', 'key 13', 'key 15']);
  put(join(folder, 'newer'));
  await system.insistent('it goes on', () => system.replicate());
  await system.untilProtection('protected');
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toEqual(['key 02', 'key 13', 'key 15']);
});

/** With the tool of SoftHSM, in its slot. */
function initialiseAgain(name: string): void {
  const { label } = system.site(name).token;
  const [, slot] = /Slot (\d+)\s+Slot info:(?:(?!Slot \d).)*Initialized:\s+yes/s.exec(util(name, '--show-slots')) ?? [];
  util(name, '--init-token', '--slot', slot!, '--label', label, '--pin', USER_PIN, '--so-pin', OFFICER_PIN);
}

const isUp = async (): Promise<boolean> =>
  (await system.operator.getStatus({})).sites.every(({ state }) => state === 'up');

it('names a standby that was initialised again, and fills it when it has a new identity', async () => {
  const { file: configFile } = operatorConfigOf(system.folder);
  await system.stopAgent('c');
  initialiseAgain('c');
  await system.startAgent('c');
  await system.makeKey('a', '16');
  await system.replicate(['b']);
  await system.until('status names it', async () =>
    (await antipode(['status'], { configFile })).stdout.includes('IDENTITY_MISSING'),
  );

  // As docs/runbooks/hsm-lost.md has it.
  await system.stopAgent('c');
  const config = loadAgentConfig(system.site('c').configFile);
  const { pin } = await initialisePartition({ config, name: 'main', log: silentLog, replaceLost: true });
  for (const name of ['a', 'b', 'c'])
    pinPartitions({ config: loadAgentConfig(system.site(name).configFile), group: GROUP, pins: [pin] });
  await system.startAgent('c');
  await system.until('c is up', isUp);
  const rotated = await antipode(['group', 'rotate-domain-key', GROUP], { configFile });
  expect([rotated.code, rotated.stderr]).toEqual([0, expect.anything()]);
  // SoftHSM has kept the token key, so the keys arrive without another step.
  await system.insistent('c has everything', () => system.replicate());
  await system.untilProtection('protected');
  expect(await system.keysAt('c')).toEqual(await system.keysAt('a'));
  expect(encryptedAt('c')).toBe(encryptedAt('a'));
});
