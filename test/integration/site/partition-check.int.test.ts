/**
 * The check of a partition before there is a group: `agent.yaml` and a token are enough. Keys are made by real programs
 * with their defaults, and the check names the setting of the program that made each.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type LyingToken, lying } from '../../support/devices/lying-token.ts';
import { Desk, NssUser } from '../../support/token-users.ts';
import { makeToken, SOFTHSM_MODULE, type TestToken, temporaryFolder, USER_PIN } from '../../support/tokens.ts';

const ANTIPODE = fileURLToPath(new URL('../../../bin/antipode', import.meta.url));
const desk = new Desk(temporaryFolder('check'));
let token: TestToken;
let config: string;

beforeAll(() => {
  token = makeToken('check');
  config = configFor('agent.yaml', SOFTHSM_MODULE);
});
afterAll(() => {
  token.remove();
  rmSync(desk.folder, { recursive: true, force: true });
});

/** No certificate exists, nor a coordinator: the check needs none. */
function configFor(name: string, module: string): string {
  const file = join(token.folder, name);
  const lines = [
    'site: a',
    'listen: localhost:1',
    'coordinator: { id: main, address: localhost:2 }',
    'tls: { ca: ca.pem, certificate: a.pem, key: a.key }',
    `dataFolder: ${join(token.folder, 'data')}`,
    'partitions:',
    `  - { name: main, module: ${module}, tokenLabel: check, pinFile: check.pin,`,
    `      environment: { SOFTHSM2_CONF: ${token.environment.SOFTHSM2_CONF} } }`,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

function antipode(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(ANTIPODE, [...args], { encoding: 'utf8', input: '' });
  return { status, stdout, stderr };
}

interface Checked {
  readonly isProtected: boolean;
  readonly objects: readonly {
    readonly objectClass: string;
    readonly keyType?: string;
    readonly label: string;
    readonly ckaId: string;
    readonly reason?: string;
    readonly madeBy?: readonly string[];
  }[];
}

function check(...args: string[]): Checked & { status: number | null } {
  const { status, stdout, stderr } = antipode('partition', 'check', 'main', '--config', config, '--json', ...args);
  expect([stderr, [0, 4].includes(status ?? -1)]).toEqual(['', true]);
  return { status, ...(JSON.parse(stdout) as Checked) };
}

/** Every file of the token but the one that SoftHSM writes at each login, by its digest. */
function tokenFiles(folder = join(token.folder, 'tokens')): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile() && !path.endsWith('/token.object'))
    .map((path) => `${path} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`)
    .sort();
}

it('is good for an empty partition, and for one whose keys can all be replicated', () => {
  expect(check()).toMatchObject({ status: 0, isProtected: true, objects: [] });
  token.tool('--keypairgen', '--extractable', '--key-type', 'EC:prime256v1', '--id', 'a1', '--label', 'good');
  const { status, objects } = check();
  expect([status, objects.map(({ label, keyType }) => `${label} ${keyType}`)]).toEqual([
    0,
    ['good EC prime256v1', 'good EC prime256v1'],
  ]);
});

/** By SunPKCS11, with its defaults. */
function keytool(...args: string[]): void {
  const java = join(token.folder, 'java.cfg');
  writeFileSync(java, `name = t\nlibrary = ${SOFTHSM_MODULE}\nslotListIndex = 0\n`);
  const store = ['-keystore', 'NONE', '-storetype', 'PKCS11', '-storepass', USER_PIN];
  const options = { env: { ...process.env, ...token.environment }, stdio: 'pipe' as const };
  execFileSync('keytool', [...args, ...store, '-addprovider', 'SunPKCS11', '-providerarg', java], options);
}

it('names the program that made a key by its defaults', () => {
  token.tool('--keypairgen', '--key-type', 'rsa:2048', '--id', 'a2', '--label', 'by pkcs11-tool');
  keytool('-genkeypair', '-alias', 'java', '-keyalg', 'RSA', '-dname', 'CN=java');
  const nss = new NssUser(desk, token);
  writeFileSync(desk.at('noise'), Buffer.alloc(1024, 7));
  nss.run('certutil', '-G', '-h', 'check', '-k', 'rsa', '-g', '2048', '-z', desk.at('noise'));
  const { status, objects } = check();
  expect(status).toBe(4);
  const makers = objects.flatMap(({ reason, madeBy }) => (reason === 'unextractable' ? [madeBy ?? []] : []));
  expect(
    makers
      .filter((some) => some.length === 1)
      .flat()
      .sort(),
  ).toEqual(['SunPKCS11', 'certutil']);
  // Nothing tells who gave the id a2: every program is shown.
  expect(objects.find(({ label }) => label === 'by pkcs11-tool')).toMatchObject({
    objectClass: 'private-key',
    reason: 'unextractable',
    madeBy: expect.arrayContaining(['pkcs11-tool', 'OpenDNSSEC']),
  });
  const text = antipode('partition', 'check', 'main', '--config', config).stdout;
  for (const setting of ['attributes(*, CKO_PRIVATE_KEY, *)', '--keyAttrFlags', '<AllowExtraction/>', '--extractable'])
    expect(text).toContain(setting);
});

it('shows the real type of a key, and escapes its label', () => {
  keytool('-genseckey', '-alias', 'old', '-keyalg', 'DESede', '-keysize', '168');
  token.tool('--keygen', '--key-type', 'aes:32', '--id', 'ae', '--label', 'odd \u001b[2J\u202ename');
  const { objects } = check();
  expect(objects.find(({ label }) => label === 'old')).toMatchObject({ objectClass: 'secret-key', keyType: 'DES3' });
  expect(objects.find(({ ckaId }) => ckaId === 'ae')?.label).toBe('odd \\u001b[2J\\u202ename');
});

it('changes no file of the token, and keeps nothing of it', () => {
  const before = tokenFiles();
  expect(before.length).toBeGreaterThan(5);
  check();
  expect(tokenFiles()).toEqual(before);
  for (const name of readdirSync(join(token.folder, 'data'), { recursive: true, encoding: 'utf8' })) {
    const path = join(token.folder, 'data', name);
    if (statSync(path).isFile()) expect([name, readFileSync(path).includes('by pkcs11-tool')]).toEqual([name, false]);
  }
});

it('lets rules be tried, and says by which rule an object stays', () => {
  const rules = ['private-key', 'public-key', 'certificate', 'secret-key'].flatMap((name) => ['--exclude-class', name]);
  const { status, objects } = check(...rules, '--exclude-label', 'good');
  expect([status, objects.every(({ reason }) => reason === 'excluded')]).toEqual([0, true]);
  expect(objects.find(({ label }) => label === 'good')).toMatchObject({
    rules: expect.arrayContaining(['label "good"']),
  });
});

it('says what is wrong with a wrong name, a partition without a group, and a module that is not there', () => {
  const wrong = antipode('partition', 'check', 'other', '--config', config);
  expect([wrong.status, wrong.stdout, wrong.stderr.includes('expected one of: main')]).toEqual([1, '', true]);
  const early = antipode('partition', 'objects', 'main', '--config', config);
  expect([early.status, early.stderr]).toMatchObject([1, expect.stringContaining('antipode partition check main')]);
  const elsewhere = configFor('no-module.yaml', '/nowhere/module.so');
  const none = antipode('partition', 'check', 'main', '--config', elsewhere);
  expect([none.stdout, none.stderr]).toMatchObject(['', expect.stringContaining('/nowhere/module.so')]);
  expect(none.status).not.toBe(0);
});

describe('a token in trouble', () => {
  let liar: LyingToken;
  let through: string;
  beforeAll(() => {
    liar = lying(token);
    token.tool('--keypairgen', '--extractable', '--key-type', 'EC:prime256v1', '--id', 'c1', '--label', 'shy');
    through = configFor('lying.yaml', liar.config.module);
  });
  const command = (): string[] => ['partition', 'check', 'main', '--config', through, '--json'];

  it('that gives one session only, to the agent: the hint says what to do', () => {
    liar.tell({ lie: 'refuse', function: 'C_OpenSession', code: 'CKR_SESSION_COUNT' });
    const { status, stdout, stderr } = antipode(...command());
    expect([status === 0, stdout]).toEqual([false, '']);
    expect(JSON.parse(stderr)).toMatchObject({ error: { hint: expect.stringContaining('stop the agent') } });
  });

  it('that does not show an object: the object is unreadable, and the others are as before', () => {
    const before = check();
    liar.tell({ lie: 'hide', attribute: 'extractable', label: 'shy', code: 'CKR_DEVICE_ERROR' });
    const { status, stdout } = antipode(...command());
    expect(status).toBe(4);
    const { objects } = JSON.parse(stdout) as Checked;
    const unreadable = objects.filter(({ reason }) => reason === 'unreadable');
    expect(unreadable.map(({ label, objectClass }) => `${label} ${objectClass}`).sort()).toEqual([
      'shy private-key',
      'shy public-key',
    ]);
    expect(objects).toHaveLength(before.objects.length);
  });

  it('whose worker dies: the command ends, and says so', async () => {
    liar.tell({ lie: 'hang', function: 'C_FindObjectsInit' });
    const child = spawn(ANTIPODE, command(), { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const ended = once(child, 'close') as Promise<[number]>;
    try {
      await vi.waitFor(() => expect(liar.calls('C_FindObjectsInit')).toBeGreaterThan(0), { timeout: 30_000 });
      const [worker] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ');
      process.kill(Number(worker), 'SIGKILL');
      const [status] = await ended;
      expect(status).not.toBe(0);
    } finally {
      child.kill('SIGKILL');
    }
    // The log comes first.
    expect(JSON.parse(stderr.trim().split('\n').at(-1)!)).toMatchObject({
      error: { code: 'HSM_WORKER_LOST', hint: expect.stringContaining('Repeat it') },
    });
  });
});
