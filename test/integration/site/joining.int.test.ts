/** Sites join by commands alone: a real coordinator with its door, real TLS, SoftHSM tokens, the command as a process. */
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Coordinator, type CoordinatorConfig, loadCoordinatorConfig } from '@antipode/coordinator';
import { freePort } from '@antipode/demo/town';
import { Log, silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { makeAuthority, makeCoordinatorFolder, makeIssuer, makeOperatorFolder } from '@antipode/setup';
import { loadAgentConfig, SiteAgent } from '@antipode/site-agent';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { antipode, type Ended } from '../../support/command.ts';
import { prepareCluster } from '../../support/prepared.ts';
import { makeToken, SOFTHSM_MODULE, type TestToken, temporaryFolder } from '../../support/tokens.ts';

const folder = temporaryFolder('joining');
const at = (...names: string[]): string => join(folder, ...names);
const configFile = at('operator', 'operator.yaml');
const tokens: TestToken[] = [];
const agents: SiteAgent[] = [];
const isUp = ({ state }: { state: string }): boolean => state === 'up';
const lines: string[] = [];
let coordinator: Coordinator | undefined;

/** Of the administrator and of an operator, each as it is typed. */
async function run(...args: string[]): Promise<Ended> {
  return antipode(args, { configFile });
}

async function good(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect([args.join(' '), code, code === 0 ? '' : stderr]).toEqual([args.join(' '), 0, '']);
  return stdout;
}

async function refused(...args: string[]): Promise<{ exit: number; code: string; message: string }> {
  const { code: exit, stderr } = await run(...args, '--json');
  const last = stderr.trim().split('\n').at(-1) ?? '';
  const { error } = JSON.parse(last) as { error: { code: string; message: string } };
  return { exit, ...error };
}

beforeAll(async () => {
  const [port, door] = [await freePort(), await freePort()];
  chmodSync(folder, 0o711);
  await makeAuthority({ folder: at('ca'), trustDomain: 'test.example' });
  await makeIssuer({ folder: at('issuer'), authority: at('ca'), name: 'main' });
  await makeCoordinatorFolder({
    folder: at('coordinator'),
    authority: at('ca'),
    id: 'main',
    timings: 'fast',
    listen: `localhost:${port}`,
    issuer: at('issuer'),
    join: `localhost:${door}`,
  });
  for (const [name, role] of [
    ['operator', 'security'],
    ['everyday', 'operator'],
  ] as const)
    await makeOperatorFolder({
      folder: at(name),
      authority: at('ca'),
      name,
      role,
      coordinators: [{ id: 'main', address: `localhost:${port}` }],
    });
  await prepareCluster(ownConfig().dataFolder);
  await start(ownConfig());
}, 120_000);

afterAll(async () => {
  for (const agent of agents) await agent.close();
  await coordinator?.close();
  for (const token of tokens) token.remove();
  rmSync(folder, { recursive: true, force: true });
});

const ownConfig = (): CoordinatorConfig => loadCoordinatorConfig(at('coordinator', 'coordinator.yaml'));

async function start(config: CoordinatorConfig): Promise<void> {
  await coordinator?.close();
  const log = new Log({ level: 'debug', format: 'json', write: (line) => lines.push(line) });
  coordinator = new Coordinator({ config, log });
  await coordinator.start();
}

async function withoutIssuer(work: () => Promise<void>): Promise<void> {
  await start({ ...ownConfig(), issuer: undefined });
  try {
    await work();
  } finally {
    await start(ownConfig());
  }
}

/** A machine with a token of its own that is to become a site. */
async function machine(site: string): Promise<{ folder: string; options: string[] }> {
  const token = makeToken(`payments-${site}`);
  tokens.push(token);
  return {
    folder: at(`site-${site}`),
    options: [
      ...['--folder', at(`site-${site}`), '--listen', `localhost:${await freePort()}`],
      ...['--module', SOFTHSM_MODULE, '--token-label', token.label, '--pin-file', token.config.pinFile],
      ...['--environment', `SOFTHSM2_CONF=${token.environment.SOFTHSM2_CONF}`],
    ],
  };
}

describe('a machine', () => {
  it('joins with a token, and the second time says what is there', async () => {
    await good('site', 'token', 'a', '--out', at('a.token'));
    expect((statSync(at('a.token')).mode & 0o777).toString(8)).toBe('600');
    const { folder: own, options } = await machine('a');
    const first = JSON.parse(await good('site', 'join', at('a.token'), ...options, '--json'));
    expect(first).toMatchObject({ site: 'a', folder: own, state: 'joined' });
    const before = readFileSync(join(own, 'tls.key'), 'utf8') + readFileSync(join(own, 'agent.yaml'), 'utf8');
    const again = JSON.parse(await good('site', 'join', at('a.token'), ...options, '--json'));
    expect(again).toMatchObject({ state: 'already-joined', written: [] });
    expect(readFileSync(join(own, 'tls.key'), 'utf8') + readFileSync(join(own, 'agent.yaml'), 'utf8')).toBe(before);
  }, 60_000);

  it('is refused with a token that another key has used', async () => {
    const { options } = await machine('a2');
    expect(await refused('site', 'join', at('a.token'), ...options)).toMatchObject({
      exit: 6,
      code: 'SITE_TOKEN_REFUSED',
    });
    expect(existsSync(at('site-a2', 'tls.crt'))).toBe(false);
  }, 60_000);
});

describe('with the authority offline', () => {
  it('a machine leaves its request, and completes with the certificate that the authority signs', async () => {
    await withoutIssuer(async () => {
      await good('site', 'token', 'create', 'w', '--out', at('w.token'));
      const args = ['site', 'join', at('w.token'), '--witness', '--folder', at('site-w'), '--listen', 'localhost:1'];
      expect(await refused(...args)).toMatchObject({ exit: 5, code: 'CERTIFICATE_AWAITED' });
      expect(readdirSync(at('site-w')).sort()).toEqual(['ca.crt', 'join.csr', 'tls.key']);
      const key = readFileSync(at('site-w', 'tls.key'), 'utf8');
      expect(await refused(...args)).toMatchObject({ exit: 5 });
      // Another one's certificate does not pass for it.
      cpSync(at('coordinator', 'tls.crt'), at('site-w', 'join.crt'));
      expect(await refused(...args)).toMatchObject({ code: 'CERTIFICATE_INVALID' });
      const [csr, crt] = [at('site-w', 'join.csr'), at('site-w', 'join.crt')];
      rmSync(crt);
      await good('certificate', 'sign', csr, '--authority', at('ca'), '--out', crt, '--yes');
      // Neither the token nor a coordinator is needed any more.
      const id = JSON.parse(await good('site', 'token', 'list', '--json'))[0].id as string;
      await good('site', 'token', 'revoke', id);
      expect(await run(...args, '--json')).toMatchObject({ stdout: expect.stringContaining('"state": "joined"') });
      expect(readdirSync(at('site-w')).sort()).toEqual(['agent.yaml', 'ca.crt', 'tls.crt', 'tls.key']);
      expect(readFileSync(at('site-w', 'tls.key'), 'utf8')).toBe(key);
    });
  }, 120_000);
});

describe('a machine on which something is missing', () => {
  it('gets its certificate, says what is missing, and completes when it is there', async () => {
    await good('site', 'token', 'd', '--out', at('d.token'));
    const { folder: own, options } = await machine('d');
    const nowhere = options.map((word) => (word === SOFTHSM_MODULE ? '/nowhere/p11.so' : word));
    expect(await refused('site', 'join', at('d.token'), ...nowhere)).toMatchObject({ code: 'MODULE_UNAVAILABLE' });
    const absent = options.map((word) => (word === 'payments-d' ? 'none' : word));
    expect(await refused('site', 'join', at('d.token'), ...absent)).toMatchObject({ code: 'PARTITION_NOT_FOUND' });
    expect(readdirSync(own).sort()).toEqual(['ca.crt', 'tls.crt', 'tls.key']);
    const pin = options[options.indexOf('--pin-file') + 1]!;
    chmodSync(pin, 0o644);
    const taken = createServer().listen(Number(options[options.indexOf('--listen') + 1]!.split(':')[1]), 'localhost');
    try {
      const { code, stdout } = await run('site', 'join', at('d.token'), ...options, '--json');
      const { state, checks } = JSON.parse(stdout) as { state: string; checks: { name: string; ok: boolean }[] };
      const failed = checks.filter(({ ok }) => !ok).map(({ name }) => name);
      expect([code, state]).toEqual([4, 'joined']);
      expect(failed).toEqual(expect.arrayContaining(['agent address', 'PIN file of main']));
    } finally {
      taken.close();
      chmodSync(pin, 0o600);
    }
    expect(await refused('site', 'join', at('a.token'), ...options)).toMatchObject({ code: 'FILE_EXISTS' });
  }, 180_000);

  it('is given a token by role security only', async () => {
    const { code, stderr } = await antipode(['site', 'token', 'e', '--json'], {
      configFile: at('everyday', 'operator.yaml'),
    });
    expect([code, JSON.parse(stderr).error.code]).toEqual([6, 'OPERATOR_ROLE_INSUFFICIENT']);
  }, 60_000);
});

describe('three machines that have joined by commands alone', () => {
  it('replicate a group and drill it', async () => {
    const identities = new Map<string, { serial: string; identitySha256: string }>();
    for (const site of ['x', 'y', 'z']) {
      await good('site', 'token', site, '--out', at(`${site}.token`));
      const { folder: own, options } = await machine(site);
      const scratch = makeToken('scratch', { folder: at(`scratch-${site}`) });
      // The module is found by itself, and so is the only token in it.
      const found = options.filter((_, at) => {
        const named = ['--module', '--token-label'];
        return !named.includes(options[at]!) && !named.includes(options[at - 1] ?? '');
      });
      await run('site', 'join', at(`${site}.token`), ...found, '--json');
      const config = join(own, 'agent.yaml');
      if (site === 'z') {
        const words = ['--token-label', 'scratch', '--pin-file', scratch.config.pinFile, '--role', 'scratch'];
        const environment = `SOFTHSM2_CONF=${scratch.environment.SOFTHSM2_CONF}`;
        await good('partition', 'detect', '--environment', environment, ...words, '--write', config);
      }
      for (const name of site === 'z' ? ['main', 'scratch'] : ['main']) {
        await good('partition', 'init', name, '--config', config, '--yes');
        const shown = JSON.parse(await good('partition', 'show-identity', name, '--config', config, '--json'));
        identities.set(`${site} ${name}`, shown);
      }
    }
    const pin = (site: string, name = 'main'): string => {
      const { serial, identitySha256 } = identities.get(`${site} ${name}`)!;
      return `${site}=${serial}=${identitySha256}`;
    };
    for (const site of ['x', 'y', 'z']) {
      const peers = ['x', 'y', 'z'].filter((one) => one !== site).flatMap((one) => ['--peer', pin(one)]);
      const config = ['--config', at(`site-${site}`, 'agent.yaml')];
      await good('peer', 'trust', 'payments', ...peers, '--scratch-peer', pin('z', 'scratch'), ...config);
      const agent = SiteAgent.open({
        config: loadAgentConfig(at(`site-${site}`, 'agent.yaml')),
        log: silentLog,
        clock: systemClock,
        prng: systemPrng,
      });
      agents.push(agent);
      await agent.start();
    }
    tokens.find(({ label }) => label === 'payments-x')!.makeAes('01');
    await expect
      .poll(async () => JSON.parse(await good('status', '--json')).sites.filter(isUp).length, { timeout: 60_000 })
      .toBe(3);
    const seat = (site: string, name = 'main'): string => `${site}=${identities.get(`${site} ${name}`)!.serial}`;
    const members = ['x', 'y', 'z'].flatMap((site) => ['--member', seat(site)]);
    await good('group', 'create', 'payments', ...members, '--scratch', seat('z', 'scratch'));
    await good('replicate', 'payments');
    await good('drill', 'run', 'payments');
  }, 600_000);
});
