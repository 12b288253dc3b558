/**
 * A group whose tools make unextractable keys, on partitions of emulated Luna devices: captured, copied by the devices,
 * drilled, moved and moved back, with coordinator, agents, lunacm and real tokens.
 */
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy, Movement } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LunaNetwork } from '../../support/luna-network.ts';
import { lunaNetworkOf } from '../../support/luna-system.ts';
import { paired } from '../../support/softhsm-pair.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { SOFTHSM_MODULE, type TestToken } from '../../support/tokens.ts';

const PINS: Readonly<Record<string, string>> = { a: '77442201', b: '77442202', c: '77442203', scratch: '77442200' };
const SITES = ['a', 'b', 'c'];

let system: TestSystem;
let luna: LunaNetwork;

const file = (name: string): string => join(system.folder, name);
const openssl = (...words: string[]): string => execFileSync('openssl', words, { stdio: 'pipe' }).toString();
const tokenOf = (name: string): TestToken => system.site(name).token;

function keytool(name: string, ...words: string[]): void {
  const { folder, environment } = tokenOf(name);
  const config = join(folder, 'java.cfg');
  writeFileSync(config, `name = partition\nlibrary = ${SOFTHSM_MODULE}\nslotListIndex = 0\n`);
  const store = ['-keystore', 'NONE', '-storetype', 'PKCS11', '-storepass', PINS[name]!];
  const provider = ['-addprovider', 'SunPKCS11', '-providerarg', config];
  execFileSync('keytool', [...words, ...store, ...provider], {
    env: { ...process.env, ...environment },
    stdio: 'pipe',
  });
}

beforeAll(async () => {
  // Captures come by order only.
  const tokens = (site: string) => ({ label: `payments-${site}`, pin: PINS[site]! });
  system = await TestSystem.start({ createGroup: false, tokens, timeoutMs: 120_000 });
  const { tool } = tokenOf('a');
  tool('--keypairgen', '--key-type', 'rsa:2048', '--id', '01', '--label', 'rsa');
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '02', '--label', 'ec');
  tool('--keygen', '--key-type', 'aes:32', '--id', '03', '--label', 'aes');
  tool('--keygen', '--key-type', 'generic:32', '--id', '04', '--label', 'mac');
  keytool('a', '-genkeypair', '-alias', 'java', '-keyalg', 'RSA', '-keysize', '2048', '-dname', 'CN=java');
  certify();
  writeFileSync(file('text'), 'the same in every partition 1234');
  openssl('dgst', '-sha256', '-binary', '-out', file('digest'), file('text'));
  luna = await lunaNetworkOf(system, PINS);
  await system.createGroup(FailoverPolicy.MANUAL, { rpoSeconds: 3_600 });
}, 300_000);
afterAll(() => system?.close());

/** The key pair of Java gets a chain of two certificates. */
function certify(): void {
  const ca = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', file('ca.key'), '-out', file('ca.pem')];
  openssl('req', ...ca, '-subj', '/CN=authority', '-days', '3650');
  keytool('a', '-certreq', '-alias', 'java', '-file', file('request'));
  const signing = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '365'];
  openssl('x509', '-req', '-in', file('request'), ...signing, '-out', file('java.pem'));
  writeFileSync(file('chain.pem'), readFileSync(file('java.pem'), 'utf8') + readFileSync(file('ca.pem'), 'utf8'));
  keytool('a', '-importcert', '-noprompt', '-alias', 'java', '-file', file('chain.pem'));
}

/** The command line, beside the agents of this process. */
async function cli(...words: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const program = join(import.meta.dirname, '../../../apps/cli/src/main.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...words], (error, stdout, stderr) => {
      const code: unknown = error?.code;
      resolve({ status: error === null ? 0 : typeof code === 'number' ? code : -1, stdout, stderr });
    });
  });
}

/** Every key is used at the site by the program that made it. OpenSSL and site a judge the result. */
function expectUsable(name: string): void {
  const { tool } = tokenOf(name);
  for (const [id, input, mechanism] of [
    ['01', 'text', 'SHA256-RSA-PKCS'],
    ['02', 'digest', 'ECDSA'],
  ] as const) {
    tokenOf('a').tool('--read-object', '--type', 'pubkey', '--id', id, '-o', file('pub.der'));
    openssl('pkey', '-pubin', '-inform', 'DER', '-in', file('pub.der'), '-out', file('pub.pem'));
    const format = mechanism === 'ECDSA' ? ['--signature-format', 'openssl'] : [];
    tool('--sign', '-m', mechanism, '--id', id, '-i', file(input), '-o', file('sig'), ...format);
    const verified = openssl('dgst', '-sha256', '-verify', file('pub.pem'), '-signature', file('sig'), file('text'));
    expect([name, verified.trim()]).toEqual([name, 'Verified OK']);
  }
  const computed = (site: string, ...words: string[]): string => {
    tokenOf(site).tool(...words, '-i', file('text'), '-o', file('out'));
    return readFileSync(file('out'), 'hex');
  };
  for (const words of [
    ['--encrypt', '-m', 'AES-ECB', '--id', '03'],
    ['--sign', '-m', 'SHA256-HMAC', '--id', '04'],
  ])
    expect([name, computed(name, ...words)]).toEqual([name, computed('a', ...words)]);
  keytool(name, '-certreq', '-alias', 'java', '-file', file('request'));
  expect(openssl('req', '-in', file('request'), '-noout', '-verify', '-subject')).toContain('CN = java');
  keytool(name, '-exportcert', '-rfc', '-alias', 'java', '-file', file('exported.pem'));
  expect(openssl('verify', '-CAfile', file('ca.pem'), file('exported.pem'))).toContain('OK');
}

/** The protections of the keys that programs made, as the token itself reports them. */
const accessOf = (name: string): string[] =>
  tokenOf(name)
    .tool('-O')
    .split(/^(?=\S)/m)
    .filter((object) => /^(Private|Secret) Key/.test(object) && /label: +(rsa|ec|aes|mac|java)$/m.test(object))
    .flatMap((object) => /Access: +(.*)$/m.exec(object)?.[1] ?? [])
    .sort();

it('captures every key, and has the devices copy what no token wraps', async () => {
  const change = { kind: { case: 'settings', value: { movement: Movement.NATIVE } } } as const;
  const plan = await system.operator.planGroupChange({ group: GROUP, change });
  await system.operator.changeGroup({ group: GROUP, change, revision: plan.revision });
  const { state } = await system.replicate();
  expect(state.newest?.uncaptured).toEqual([]);
  await system.untilProtection('protected');
  expect(accessOf('a').filter((access) => access.includes('never extractable')).length).toBeGreaterThan(3);
  for (const name of ['b', 'c']) {
    expectUsable(name);
    expect([name, accessOf(name)]).toEqual([name, accessOf('a')]);
  }
}, 300_000);

it('judges by `antipode preflight` what will keep keys from moving, and logs in nowhere', async () => {
  const { configFile } = system.site('b');
  const serial = paired(tokenOf('a')).serial.replace(/^0+(?=.)/, '');
  const preflight = async (): Promise<{ status: number; rows: Record<string, string>[] }> => {
    const { status, stdout } = await cli('preflight', GROUP, '--config', configFile, '--json');
    return { status, rows: JSON.parse(stdout) as Record<string, string>[] };
  };
  const before = luna.typed.length;
  const sound = await preflight();
  expect([sound.status, new Set(sound.rows.map(({ move, from }) => `${move} ${from}`)).size]).toEqual([0, 3]);
  expect(sound.rows.filter(({ verdict }) => verdict === 'will fail')).toEqual([]);
  expect(sound.rows.every(({ source }) => source !== '')).toBe(true);

  openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '7'],
    ...['-keyout', file('ntls.key'), '-out', file('ntls.pem'), '-subj', '/CN=client-b'],
  );
  writeFileSync(join(luna.folder, 'Chrystoki.conf'), `LunaSA Client = {\n  ClientCertFile = ${file('ntls.pem')};\n}\n`);
  const soon = await preflight();
  const [certificate] = soon.rows.filter(({ rule }) => rule === 'certificates');
  expect([soon.status, certificate?.['found']]).toEqual([4, expect.stringContaining('client-b until')]);
  luna.change(paired(tokenOf('a')).serial, { policies: { 0: 0, 1: 1, 4: 1, 22: 1, 42: 0 } });
  const failing = await preflight();
  const [policy] = failing.rows.filter(({ verdict }) => verdict === 'will fail');
  expect([failing.status, policy]).toEqual([
    1,
    expect.objectContaining({ move: 'clone', from: serial, rule: 'private key cloning', advice: expect.any(String) }),
  ]);
  luna.change(paired(tokenOf('a')).serial, { policies: { 0: 1, 1: 0, 4: 1, 22: 1, 42: 0 } });
  writeFileSync(join(luna.folder, 'Chrystoki.conf'), '');
  const { status, stderr } = await cli('preflight', 'others', '--config', configFile);
  expect([status === 0, stderr]).toEqual([false, expect.stringContaining(`member of: ${GROUP}`)]);
  const typed = luna.typed.slice(before);
  expect(typed.filter((line) => !/^(slot|partition show|role show|hsm show|exit)/.test(line))).toEqual([]);
}, 120_000);

it('moves nothing that the manifest does not name', () => {
  const clones = luna.typed.filter((line) => line.startsWith('partition clone'));
  expect(clones.length).toBeGreaterThan(0);
  expect(clones.filter((line) => line.includes('-objects all'))).toEqual([]);
  const identities = (name: string): number =>
    tokenOf(name).tool('-O', '--type', 'privkey').split('Private Key').length;
  expect([identities('b'), identities('c')]).toEqual([identities('a'), identities('a')]);
});

it('drills by a copy into the scratch partition, and empties it without clearing it', async () => {
  const { operationId } = await system.operator.runDrill({ group: GROUP });
  await system.ended(operationId);
  const { drills } = await system.operator.listDrills({ group: GROUP, limit: 1 });
  expect(drills[0]).toMatchObject({ passed: true, proof: { failed: 0 } });
  expect(luna.typed.filter((line) => /clear|delete|init/.test(line))).toEqual([]);
}, 300_000);

it('restores what is sealed while the source is away from the client, and copies the rest when it is back', async () => {
  luna.change(paired(tokenOf('a')).serial, { isReachable: false });
  await tokenOf('a').toolAsync('--keygen', '--key-type', 'aes:32', '--id', '05', '--label', 'later');
  await system.makeKey('a', '06');
  await system.replicate();
  const exceptions = async () => {
    const { members } = (await system.operator.getGroup({ group: GROUP })).group!;
    const without = members.filter(({ refusedObjects }) => refusedObjects > 0);
    return without.map(({ site, refused }) => [site, refused.map(({ code }) => code)]).sort();
  };
  // The next heartbeat of each member tells it.
  await expect.poll(exceptions, { timeout: 60_000 }).toEqual([
    ['b', ['NATIVE_SOURCE_UNREACHED']],
    ['c', ['NATIVE_SOURCE_UNREACHED']],
  ]);
  expect(await system.keysAt('b')).toContain('key 06');
  luna.change(paired(tokenOf('a')).serial, { isReachable: true });
  await system.untilProtection('protected');
  const words = ['--encrypt', '-m', 'AES-ECB', '--id', '05', '-i', file('text'), '-o', file('out')];
  const encrypted = SITES.map((name) => {
    tokenOf(name).tool(...words);
    return readFileSync(file('out'), 'hex');
  });
  expect(new Set(encrypted).size).toBe(1);
}, 300_000);

it('serves at another site and back with the same keys, and reports none', async () => {
  for (const name of ['b', 'a']) {
    await system.moveTo(name);
    await tokenOf(name).toolAsync('--keygen', '--key-type', 'aes:32', '--id', `1${name}`, '--label', `of ${name}`);
    const { state } = await system.replicate(SITES.filter((one) => one !== name));
    expect([name, state.newest?.uncaptured]).toEqual([name, []]);
    await system.untilProtection('protected');
    for (const one of SITES) expectUsable(one);
  }
}, 300_000);

it('leaves no password in any file of an agent, nor in an argument', () => {
  const arguments_ = readFileSync(join(luna.folder, 'argv.jsonl'), 'utf8');
  const files = SITES.flatMap((name) => filesIn(join(system.site(name).folder)));
  expect(files.some((path) => path.includes('transcripts'))).toBe(true);
  for (const pin of Object.values(PINS)) {
    const holders = files.filter((path) => !path.endsWith('.pin') && readFileSync(path).includes(pin));
    expect([holders, arguments_.includes(pin)]).toEqual([[], false]);
  }
});

function filesIn(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return [];
    return stat.isDirectory() ? filesIn(path) : stat.isFile() ? [path] : [];
  });
}
