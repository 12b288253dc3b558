/** The doctor finds what `run` would fail of: each of its lines, well and ill, on real files, sockets and tokens. */
import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { agentFindings, applicationFindings, coordinatorFindings, operatorFindings } from '@antipode/cli/testing';
import { CoordinatorService, OperatorService, ResolverService, RpcServer } from '@antipode/protocol';
import { AntipodeError, lockFolder, silentLog, systemClock } from '@antipode/runtime';
import {
  makeApplicationFolder,
  makeAuthority,
  makeCoordinatorFolder,
  makeOperatorFolder,
  makeSiteFolder,
} from '@antipode/setup';
import { initialisePartition, loadAgentConfig, pinPartitions } from '@antipode/site-agent';
import { Journal } from '@antipode/site-agent/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeToken, SOFTHSM_MODULE, type TestToken, temporaryFolder } from '../../support/tokens.ts';
import { makeTrust } from '../../support/trust.ts';

const root = temporaryFolder('doctor');
const authority = join(root, 'ca');
let token: TestToken;
let server: RpcServer;
let coordinator: { id: string; address: string };
const opened: { close(): unknown }[] = [];

beforeAll(async () => {
  token = makeToken('doctor');
  await makeAuthority({ folder: authority, trustDomain: 'test.example' });
  await makeCoordinatorFolder({ folder: join(root, 'coordinator'), authority, id: 'main', listen: 'localhost:0' });
  const files = (name: string): string => join(root, 'coordinator', name);
  server = new RpcServer({
    tls: { caFile: files('ca.crt'), certificateFile: files('tls.crt'), keyFile: files('tls.key') },
    log: silentLog,
  });
  const refuse = () => Promise.reject(new AntipodeError('PEER_REFUSED', 'site must not speak for nobody'));
  const leads = async () => ({ coordinator: 'main', term: 1n, leader: 'main' });
  server.add(CoordinatorService, { heartbeat: refuse, getLeader: leads });
  const status = async () => ({ coordinator: 'main', isLeader: true, isQueueUp: true });
  const others = OperatorService.methods.map(({ localName }) => [localName, refuse]);
  server.add(OperatorService, { ...Object.fromEntries(others), getStatus: status } as never);
  coordinator = { id: 'main', address: `localhost:${await server.listen('localhost:0')}` };
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});
afterAll(async () => {
  await server.close(0);
  token.remove();
  rmSync(root, { recursive: true });
});

/** The finding of a check: `ok`, or the code and the hint. */
type Found = Awaited<ReturnType<typeof agentFindings>>;
const of = (findings: Found, check: string) => {
  const found = findings.find((one) => one.check === check);
  if (found === undefined) throw new Error(`no check ${check} among ${findings.map((one) => one.check).join(', ')}`);
  return found;
};
const change = (file: string, from: string | RegExp, to: string): void =>
  writeFileSync(file, readFileSync(file, 'utf8').replace(from, to));

describe('of an agent', () => {
  let folder: string;
  let file: string;
  let made = 0;

  beforeEach(async () => {
    made += 1;
    folder = join(root, `site-${made}`);
    file = join(folder, 'agent.yaml');
    const { label, config, environment } = token;
    const partition = {
      name: 'main',
      module: SOFTHSM_MODULE,
      tokenLabel: label,
      pinFile: config.pinFile,
      environment,
      role: 'member' as const,
    };
    await makeSiteFolder({
      folder,
      authority,
      site: 'a',
      listen: 'localhost:0',
      coordinators: [coordinator],
      partitions: [partition],
    });
    change(file, /$/, 'http: "[::1]:0"\n');
    mkdirSync(join(folder, 'data'), { recursive: true, mode: 0o700 });
  });

  it('all is well where `run` starts', async () => {
    await initialisePartition({ config: loadAgentConfig(file), name: 'main', log: silentLog });
    pin('payments');
    const findings = await agentFindings(file);
    expect(findings.filter(({ ok }) => !ok)).toEqual([]);
    expect(findings.map(({ check }) => check)).toEqual([
      'agent configuration',
      'agent certificate',
      'agent key file',
      'agent data folder',
      'agent address',
      'agent health address',
      'agent clock',
      'coordinator of the agent',
      'pins',
      'approvals',
      'swap',
      'PIN file of main',
      'token of main',
      'identity of main',
    ]);
    expect(of(findings, 'token of main').detail).toContain('; wraps by 0x210a, agrees by null with raw points');
    expect(of(findings, 'token of main').detail).toContain('; damage of its store does not show');
    expect(of(findings, 'agent certificate').detail).toMatch(/^site a, \d+ days left$/);
    expect(of(findings, 'approvals').detail).toContain('none configured');
  });

  it.each<[string, string, () => unknown]>([
    ['agent configuration', 'CONFIG_INVALID', () => change(file, 'listen:', 'lissen:')],
    ['agent certificate', 'expected site b', () => change(file, 'site: a', 'site: b')],
    [
      'agent certificate',
      'is not the key of',
      () => writeFileSync(join(folder, 'tls.key'), readFileSync(join(root, 'coordinator', 'tls.key'))),
    ],
    ['agent certificate', 'ends in', async () => useShortCertificate()],
    ['agent key file', 'has mode 644', () => chmodSync(join(folder, 'tls.key'), 0o644)],
    ['agent key file', 'belongs to user 0', () => chownSync(join(folder, 'data'), 4321, 4321)],
    [
      'agent data folder',
      'is not a folder',
      () => {
        rmSync(join(folder, 'data'), { recursive: true });
        writeFileSync(join(folder, 'data'), '');
      },
    ],
    ['agent data folder', 'users other than its owner can write to', () => chmodSync(join(folder, 'data'), 0o777)],
    [
      'agent data folder',
      'belongs to user 4321',
      () => {
        writeFileSync(join(folder, 'data', 'journal.db'), '');
        chownSync(join(folder, 'data', 'journal.db'), 4321, 4321);
      },
    ],
    ['agent address', 'EADDRINUSE', async () => change(file, 'localhost:0', await occupied())],
    ['agent health address', 'EADDRINUSE', async () => change(file, '"[::1]:0"', await occupied())],
    [
      'agent clock',
      'the data folder was written',
      () => {
        const later = new Date(systemClock.wallMs() + 60_000);
        writeFileSync(join(folder, 'data', 'x'), '');
        utimesSync(join(folder, 'data', 'x'), later, later);
      },
    ],
    ['coordinator of the agent', 'SITE_UNREACHABLE', () => change(file, coordinator.address, 'localhost:1')],
    ['coordinator of the agent', 'PEER_REFUSED', () => change(file, 'id: main', 'id: other')],
    ['pins', 'has no partition of another site', () => undefined],
    [
      'pins',
      'this site has a seat in group loans and trusts no partition of another site for it',
      () => {
        pin('payments');
        const journal = Journal.open(join(folder, 'data'));
        journal.tenure.setSeat('loans', '0102030405060708', 'standby');
        journal.close();
      },
    ],
    ['pins', 'CONFIG_INVALID', () => writeFileSync(join(folder, 'pins.yaml'), 'payments: no list\n')],
    [
      'pins',
      'pins a partition of this site',
      () =>
        writeFileSync(
          join(folder, 'pins.yaml'),
          `payments: [{ site: a, serial: s, identity: "${'0'.repeat(64)}", role: member }]\n`,
        ),
    ],
    ['PIN file of main', 'has mode 644', () => usePinFile('77442200\n', 0o644)],
    ['PIN file of main', 'byte order mark', () => usePinFile('\ufeff77442200\n', 0o600)],
    ['token of main', 'PARTITION_NOT_FOUND', () => change(file, `tokenLabel: ${token.label}`, 'tokenLabel: elsewhere')],
    ['identity of main', 'has not been initialised', () => rmSync(join(folder, 'data'), { recursive: true })],
  ])('finds what is wrong with %s: %s', async (check, what, breakIt) => {
    await breakIt();
    const found = of(await agentFindings(file), check);
    expect([found.ok, found.detail]).toEqual([false, expect.stringContaining(what)]);
    expect(found.hint).not.toBe('');
  });

  it('takes an address for free that its own running agent holds', async () => {
    const address = await occupied();
    change(file, 'localhost:0', address);
    opened.push(lockFolder(join(folder, 'data'), { program: 'agent' }));
    const findings = await agentFindings(file);
    expect(of(findings, 'agent address')).toMatchObject({ ok: true, detail: `${address}, held by the running agent` });
    expect(of(findings, 'agent data folder').detail).toBe('in use by the running agent');
  });

  function pin(group: string): void {
    const peer = { site: 'b', serial: '0102030405060709', identity: 'ab'.repeat(32), role: 'member' as const };
    pinPartitions({ config: loadAgentConfig(file), group, pins: [peer] });
  }

  async function useShortCertificate(): Promise<void> {
    const trust = await makeTrust(join(root, `short-${made}`));
    const files = await trust.issue({ kind: 'site', name: 'a' }, { agoDays: 5 });
    for (const [from, to] of [
      [files.caFile, 'ca.crt'],
      [files.certificateFile, 'tls.crt'],
      [files.keyFile, 'tls.key'],
    ] as const)
      writeFileSync(join(folder, to), readFileSync(from));
  }

  function usePinFile(contents: string, mode: number): void {
    const path = join(folder, 'other.pin');
    writeFileSync(path, contents);
    chmodSync(path, mode);
    change(file, token.config.pinFile, path);
  }
});

describe('of a coordinator', () => {
  const file = join(root, 'coordinator', 'coordinator.yaml');
  const original = (): string => `${file}.kept`;
  beforeEach(() => writeFileSync(original(), readFileSync(file)));
  afterEach(() => renameSync(original(), file));

  it('all is well where `run` starts', async () => {
    const findings = await coordinatorFindings(file);
    expect(findings.map(({ check, ok }) => [check, ok])).toEqual(
      [
        'coordinator configuration',
        'coordinator certificate',
        'coordinator key file',
        'coordinator data folder',
        'coordinator address',
        'coordinator clock',
        'postgres',
        'initdb',
        'redis-server',
        'setpriv',
      ].map((check) => [check, true]),
    );
  });

  it.each<[string, string, () => unknown]>([
    ['coordinator certificate', 'expected coordinator other', () => change(file, 'id: main', 'id: other')],
    ['coordinator address', 'EADDRINUSE', async () => change(file, 'localhost:0', await occupied())],
    ['database', 'DATABASE_UNAVAILABLE', () => change(file, /$/, 'databaseUrl: postgres://user@localhost:1/x\n')],
    ['queue', 'QUEUE_UNAVAILABLE', () => change(file, /$/, 'redisUrl: redis://localhost:1\n')],
  ])('finds what is wrong with %s: %s', async (check, what, breakIt) => {
    await breakIt();
    const found = of(await coordinatorFindings(file), check);
    expect([found.ok, found.detail]).toEqual([false, expect.stringContaining(what)]);
    expect(found.hint).not.toBe('');
  });
});

describe('of an operator', () => {
  const folder = join(root, 'operator');
  const file = join(folder, 'operator.yaml');
  beforeEach(async () => {
    rmSync(folder, { recursive: true, force: true });
    await makeOperatorFolder({ folder, authority, name: 'alice', coordinators: [coordinator] });
  });

  it('all is well where a command gets its answer', async () => {
    expect((await operatorFindings(file)).map(({ check, ok }) => [check, ok])).toEqual(
      ['operator configuration', 'operator certificate', 'operator key file', 'coordinator reachable'].map((check) => [
        check,
        true,
      ]),
    );
  });

  it('each coordinator of a list is tried, although another one answers', async () => {
    rmSync(folder, { recursive: true });
    const coordinators = [coordinator, { id: 'south', address: 'localhost:1' }];
    await makeOperatorFolder({ folder, authority, name: 'alice', coordinators });
    const findings = (await operatorFindings(file)).filter(({ check }) => check.startsWith('coordinator'));
    expect(findings.map(({ check, ok, code }) => [check, ok, code])).toEqual([
      ['coordinator main of the operator', true, undefined],
      ['coordinator south of the operator', false, 'SITE_UNREACHABLE'],
      ['coordinator reachable', true, undefined],
    ]);
    expect(findings[0]?.detail).toBe(`main at ${coordinator.address} leads`);
  });

  it.each<[string, string, () => unknown]>([
    ['operator configuration', 'CONFIG_INVALID', () => writeFileSync(file, 'coordinator: none\n')],
    [
      'operator certificate',
      'expected operator',
      () => {
        for (const name of ['tls.crt', 'tls.key'])
          writeFileSync(join(folder, name), readFileSync(join(root, 'coordinator', name)));
      },
    ],
    ['operator key file', 'has mode 640', () => chmodSync(join(folder, 'tls.key'), 0o640)],
    ['coordinator reachable', 'SITE_UNREACHABLE', () => change(file, coordinator.address, 'localhost:1')],
  ])('finds what is wrong with %s: %s', async (check, what, breakIt) => {
    await breakIt();
    const found = of(await operatorFindings(file), check);
    expect([found.ok, found.detail]).toEqual([false, expect.stringContaining(what)]);
  });
});

describe('of an application', () => {
  const folder = join(root, 'application');
  const file = join(folder, 'application.yaml');
  let agent: RpcServer;
  let address: string;
  let answers: () => Promise<never>;
  beforeAll(async () => {
    const site = join(root, 'site-of-application');
    const partition = {
      name: 'main',
      module: SOFTHSM_MODULE,
      tokenLabel: 'none',
      pinFile: 'pin',
      role: 'member',
    } as const;
    const given = { authority, site: 'a', listen: 'localhost:0', coordinators: [coordinator], partitions: [partition] };
    await makeSiteFolder({ folder: site, ...given });
    const files = (name: string): string => join(site, name);
    agent = new RpcServer({
      tls: { caFile: files('ca.crt'), certificateFile: files('tls.crt'), keyFile: files('tls.key') },
      log: silentLog,
    });
    agent.add(ResolverService, { lastKnown: () => answers(), ownAccount: () => answers() });
    address = `localhost:${await agent.listen('localhost:0')}`;
  });
  afterAll(() => agent.close(0));
  beforeEach(async () => {
    rmSync(folder, { recursive: true, force: true });
    answers = () => Promise.reject(new AntipodeError('NOT_FOUND', 'no coordinator has told this site'));
    await makeApplicationFolder({
      folder,
      authority,
      name: 'signer',
      coordinators: [coordinator],
      agent: { site: 'a', address },
    });
  });

  it('all is well where it gets its answers, also without an agent', async () => {
    const checks = ['configuration', 'certificate', 'key file'].map((what) => `application ${what}`);
    const reached = ['coordinator of the application', 'agent of the application'];
    const found = async () => (await applicationFindings(file)).map(({ check, ok }) => [check, ok]);
    expect(await found()).toEqual([...checks, ...reached].map((check) => [check, true]));
    change(file, /^agent:\n( .*\n)+/m, '');
    expect(await found()).toEqual([...checks, reached[0]].map((check) => [check, true]));
  });

  it('names file, line and column of a configuration that is not valid', async () => {
    writeFileSync(file, 'coordinator:\n  id: main\n  address: nowhere\n');
    const [found, ...others] = await applicationFindings(file);
    expect(found).toMatchObject({
      ok: false,
      code: 'CONFIG_INVALID',
      place: { file, line: 3, column: 12 },
      detail: expect.stringContaining(`${file}:3:12: coordinator.address`),
    });
    expect(others).toEqual([]);
  });

  it.each<[string, string, () => unknown]>([
    [
      'application certificate',
      'expected application',
      () => {
        for (const name of ['tls.crt', 'tls.key'])
          writeFileSync(join(folder, name), readFileSync(join(root, 'coordinator', name)));
      },
    ],
    ['application key file', 'has mode 640', () => chmodSync(join(folder, 'tls.key'), 0o640)],
    ['coordinator of the application', 'SITE_UNREACHABLE', () => change(file, coordinator.address, 'localhost:1')],
    ['agent of the application', 'SITE_UNREACHABLE', () => change(file, address, 'localhost:1')],
    [
      'agent of the application',
      'PEER_REFUSED',
      () => {
        answers = () => Promise.reject(new AntipodeError('PEER_REFUSED', 'not for this certificate'));
      },
    ],
  ])('finds what is wrong with %s: %s', async (check, what, breakIt) => {
    await breakIt();
    const found = of(await applicationFindings(file), check);
    expect([found.ok, found.detail]).toEqual([false, expect.stringContaining(what)]);
  });
});

/** An address that somebody else holds. */
async function occupied(): Promise<string> {
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
  opened.push({ close: () => new Promise((resolve) => holder.close(resolve)) });
  return `127.0.0.1:${(holder.address() as { port: number }).port}`;
}
