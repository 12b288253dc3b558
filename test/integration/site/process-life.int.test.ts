/** The two long-running processes: one on a folder, a start that fails ends, and a stop ends whatever is stuck. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { appendFileSync, chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDegraded, statusText } from '@antipode/cli/testing';
import { freePort } from '@antipode/demo/town';
import { createClient, issueCertificate, OperatorService, SiteAgentService, Tls } from '@antipode/protocol';
import { silentLog, systemClock } from '@antipode/runtime';
import { makeAuthority, makeCoordinatorFolder, makeOperatorFolder, makeSiteFolder } from '@antipode/setup';
import { initialisePartition, loadAgentConfig } from '@antipode/site-agent';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { shiftedClock } from '../../support/shifted-clock.ts';
import { makeToken, SOFTHSM_MODULE, type TestToken, temporaryFolder } from '../../support/tokens.ts';

const MAIN = fileURLToPath(new URL('../../../apps/cli/src/main.ts', import.meta.url));
const folder = temporaryFolder('life');
const authority = join(folder, 'authority');
const HOUR_MS = 3_600_000;
const running: Running[] = [];
const servers: Server[] = [];
let token: TestToken;

interface Running {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

function run(args: readonly string[], environment: Record<string, string> = {}): Running {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', process.execPath, MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DATABASE_URL: '', REDIS_URL: '', ANTIPODE_LOG_FORMAT: 'json', ...environment },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      text += bytes.toString();
    });
  const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const made = { child, output: () => text, ended };
  running.push(made);
  return made;
}

async function until<T>(what: string, ask: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const endMs = systemClock.monotonicMs() + 40_000;
  while (systemClock.monotonicMs() < endMs) {
    const answer = await Promise.resolve()
      .then(ask)
      .catch(() => undefined);
    if (answer) return answer;
    await systemClock.sleep(50);
  }
  throw new Error(
    `waited too long until ${what}: ${running.map(({ output }) => output().slice(-2_000)).join('\n---\n')}`,
  );
}

const says = (process: Running, text: string): Promise<true> =>
  until(`it says "${text}"`, () => process.output().includes(text) || undefined);

/** The exit status after SIGTERM. The process has a limit of its own for that; the test only has its limit against hanging. */
function stopped({ child, ended }: Running): Promise<number | null> {
  child.kill('SIGTERM');
  return ended;
}

/** An address that somebody else listens on. */
async function occupied(): Promise<string> {
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

let made = 0;
async function coordinatorFolder(settings = ''): Promise<{ config: string; port: number; data: string }> {
  made += 1;
  const path = join(folder, `coordinator-${made}`);
  const port = await freePort();
  await makeCoordinatorFolder({ folder: path, authority, id: 'main', listen: `localhost:${port}`, timings: 'fast' });
  chmodSync(path, 0o711);
  const config = join(path, 'coordinator.yaml');
  if (settings !== '') writeFileSync(config, `${readFileSync(config, 'utf8')}\n${settings}\n`);
  return { config, port, data: join(path, 'data') };
}

/**
 * A certificate that begins in an hour, as for a machine whose clock is not set yet; and a health address. `setClock`
 * moves the wall clock of the process, and nothing else, two hours ahead (libfaketime, Debian package faketime).
 */
async function withLateCertificate<Folder extends { config: string }>(
  made: Folder,
  identity: { kind: 'coordinator' | 'site'; name: string },
): Promise<Folder & { http: string; environment: Record<string, string>; setClock: () => void }> {
  const file = (name: string): string => join(made.config, '..', name);
  const read = (path: string): string => readFileSync(path, 'utf8');
  const { certificatePem, keyPem } = await issueCertificate({
    authority: { certificatePem: read(join(authority, 'ca.crt')), keyPem: read(join(authority, 'ca.key')) },
    identity: { trustDomain: 'test.antipode', ...identity },
    validDays: 90,
    // Certificates begin a minute before they are issued.
    nowMs: systemClock.wallMs() + 60_000 + HOUR_MS,
  });
  writeFileSync(file('tls.crt'), certificatePem);
  writeFileSync(file('tls.key'), keyPem, { mode: 0o600 });
  const http = `127.0.0.1:${await freePort()}`;
  writeFileSync(made.config, `${read(made.config)}\nhttp: ${http}\n`);
  const { environment, set } = shiftedClock(file('clock'));
  return { ...made, http, environment, setClock: () => set(2 * HOUR_MS) };
}

async function status(port: number) {
  const path = join(folder, `operator-${port}`);
  await makeOperatorFolder({
    folder: path,
    authority,
    name: 'test',
    coordinators: [{ id: 'main', address: `localhost:${port}` }],
  }).catch(() => {});
  const operator = createClient(OperatorService, {
    address: `localhost:${port}`,
    tls: { caFile: join(path, 'ca.crt'), certificateFile: join(path, 'tls.crt'), keyFile: join(path, 'tls.key') },
    expected: { kind: 'coordinator', name: 'main' },
  });
  try {
    return await operator.getStatus({});
  } finally {
    operator.close();
  }
}

/** A process that is started again after a crash of its own, with all that it has started. */
const children = (pid: number): number[] => {
  try {
    const own = execFileSync('pgrep', ['-P', String(pid)])
      .toString()
      .trim()
      .split('\n')
      .map(Number);
    return own.flatMap((child) => [child, ...children(child)]);
  } catch {
    return [];
  }
};

/** Gone, or only waiting to be asked how it ended. */
function hasEnded(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

beforeAll(async () => {
  chmodSync(folder, 0o711);
  await makeAuthority({ folder: authority, trustDomain: 'test.antipode' });
  token = makeToken('life');
});
afterEach(async () => {
  for (const { child, ended } of running.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
  for (const server of servers.splice(0)) server.close();
});
afterAll(() => {
  token.remove();
  rmSync(folder, { recursive: true, force: true });
});

describe('a coordinator', () => {
  it('that is started twice on one folder leaves the one that runs alone, and names it', async () => {
    const { config, port } = await coordinatorFolder();
    const first = run(['coordinator', 'run', '--config', config]);
    await says(first, 'coordinator started');
    const second = run(['coordinator', 'run', '--config', config]);
    expect(await second.ended).not.toBe(0);
    expect(second.output()).toMatch(new RegExp(`another coordinator, process ${first.child.pid}, runs on`));
    // The database is asked over its socket, which must still be there: also for a new connection.
    for (let count = 0; count < 3; count += 1)
      await until('it leads', async () => (await status(port)).isLeader || undefined);
    expect(await stopped(first)).toBe(0);
  });

  it('whose address is taken ends, and says so', async () => {
    const { config, port } = await coordinatorFolder();
    const server = createServer();
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(port, 'localhost', resolve));
    const process = run(['coordinator', 'run', '--config', config]);
    expect(await process.ended).toBe(1);
    expect(process.output()).toContain(`cannot listen on localhost:${port}`);
  });

  it('whose health address is taken ends, and says so', async () => {
    const address = await occupied();
    const { config } = await coordinatorFolder(`http: ${address}`);
    const process = run(['coordinator', 'run', '--config', config]);
    expect(await process.ended).toBe(1);
    expect(process.output()).toContain(`cannot listen on ${address}`);
  });

  it.each([
    ['database', 'postgres', 3, 'loop pass failed'],
    ['queue', 'redis-server', 0, 'coordinator started'],
  ])('ends on a signal while its %s stands still', async (_what, program, countMin, said) => {
    const { config } = await coordinatorFolder();
    const process = run(['coordinator', 'run', '--config', config]);
    await says(process, 'coordinator started');
    const frozen = children(process.child.pid!).filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(program),
    );
    expect(frozen.length).toBeGreaterThan(countMin);
    for (const pid of frozen) globalThis.process.kill(pid, 'SIGSTOP');
    try {
      await says(process, said);
      expect(await stopped(process)).not.toBeNull();
    } finally {
      for (const pid of frozen)
        try {
          globalThis.process.kill(pid, 'SIGKILL');
        } catch {
          // Ended with its parent.
        }
    }
  });

  it.each(['postgres', 'redis'])(
    'tells of an earlier %s that was frozen and has outlived its coordinator',
    async (server) => {
      const { config, data } = await coordinatorFolder();
      const first = run(['coordinator', 'run', '--config', config]);
      await says(first, 'coordinator started');
      const orphans = children(first.child.pid!).filter((pid) =>
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(server),
      );
      for (const pid of orphans) globalThis.process.kill(pid, 'SIGSTOP');
      try {
        first.child.kill('SIGKILL');
        await first.ended;
        const second = run(['coordinator', 'run', '--config', config]);
        expect(await second.ended).not.toBe(0);
        expect(second.output()).toContain('[FILE_EXISTS]');
        expect(second.output()).not.toContain('PROGRAM_MISSING');
        expect(second.output()).toContain(`an earlier ${server}, process ${orphans[0]}`);
        expect(second.output()).toContain(join(data, server));
        expect(second.output()).toContain(`kill -CONT ${orphans[0]}`);
        // Its hint helps.
        for (const pid of orphans) globalThis.process.kill(pid, 'SIGCONT');
        await until('the orphans have ended', () => orphans.every(hasEnded) || undefined);
        await says(run(['coordinator', 'run', '--config', config]), 'coordinator started');
      } finally {
        for (const pid of orphans)
          try {
            globalThis.process.kill(pid, 'SIGKILL');
          } catch {
            // It has ended.
          }
      }
    },
  );

  it('waits for its certificate to begin, says so, and starts then', async () => {
    const late = await withLateCertificate(await coordinatorFolder(), { kind: 'coordinator', name: 'main' });
    const { config, http } = late;
    const process = run(['coordinator', 'run', '--config', config], late.environment);
    await says(process, 'waiting: the certificate is not valid yet');
    const ready = await until('its health address answers', () => fetch(`http://${http}/readyz`));
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('is valid only from')]);
    late.setClock();
    await says(process, 'coordinator started');
    expect(process.output()).toContain('the certificate is now valid');
  });

  it('ends on a signal while it waits for its certificate', async () => {
    const { config } = await withLateCertificate(await coordinatorFolder(), { kind: 'coordinator', name: 'main' });
    const process = run(['coordinator', 'run', '--config', config]);
    await says(process, 'waiting: the certificate');
    expect(await stopped(process)).toBe(0);
  });

  it('ends on a signal while it waits for a silent database', async () => {
    const silent = createServer(() => {});
    servers.push(silent);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const url = `postgres://antipode@127.0.0.1:${port}/antipode`;
    const { config } = await coordinatorFolder(`databaseUrl: ${url}`);
    const process = run(['coordinator', 'run', '--config', config]);
    await until(
      'it has asked',
      () => new Promise<number | undefined>((resolve) => silent.getConnections((_e, n) => resolve(n || undefined))),
    );
    expect(await stopped(process)).not.toBeNull();
    const again = run(['coordinator', 'run', '--config', config]);
    expect(await again.ended).toBe(1);
    expect(again.output()).toContain('DATABASE_UNAVAILABLE');
  });
});

describe('an agent', () => {
  async function agentFolder(coordinatorPort = 1): Promise<{ config: string; port: number }> {
    made += 1;
    const path = join(folder, `site-${made}`);
    mkdirSync(path, { recursive: true });
    const port = await freePort();
    const partition = {
      name: 'main',
      module: SOFTHSM_MODULE,
      tokenLabel: token.label,
      pinFile: token.config.pinFile,
      environment: token.environment,
      role: 'member' as const,
    };
    await makeSiteFolder({
      folder: path,
      authority,
      site: 'a',
      listen: `localhost:${port}`,
      advertise: undefined,
      coordinators: [{ id: 'main', address: `localhost:${coordinatorPort}` }],
      partitions: [partition],
    });
    return { config: join(path, 'agent.yaml'), port };
  }

  it('that is started twice on one folder leaves the one that runs alone, and names it', async () => {
    const { config, port } = await agentFolder();
    const first = run(['agent', 'run', '--config', config]);
    await says(first, 'site agent started');
    const second = run(['agent', 'run', '--config', config]);
    expect(await second.ended).not.toBe(0);
    expect(second.output()).toMatch(new RegExp(`another agent, process ${first.child.pid}, runs on`));
    const path = await coordinatorFolder();
    const tls = new Tls({
      caFile: join(path.config, '..', 'ca.crt'),
      certificateFile: join(path.config, '..', 'tls.crt'),
      keyFile: join(path.config, '..', 'tls.key'),
    });
    const expected = { kind: 'site', name: 'a' } as const;
    const client = createClient(SiteAgentService, { address: `localhost:${port}`, tls, expected });
    await client.ping({});
    client.close();
    expect(await stopped(first)).toBe(0);
  });

  it('that speaks for a site beside another one is in `status`, with where it is, until it is stopped', async () => {
    const { config, port } = await coordinatorFolder();
    await says(run(['coordinator', 'run', '--config', config]), 'coordinator started');
    const [one, other] = [await agentFolder(port), await agentFolder(port)];
    run(['agent', 'run', '--config', one.config]);
    const siteA = async () => (await status(port)).sites.find(({ site }) => site === 'a');
    await until('the first is heard', async () => (await siteA())?.state === 'up' || undefined);
    run(['agent', 'run', '--config', other.config]);
    const site = await until('the second is told', async () => {
      const found = await siteA();
      return found?.refusedAgent === undefined ? undefined : found;
    });
    expect([site.address, site.refusedAgent?.address]).toEqual([`localhost:${one.port}`, `localhost:${other.port}`]);
    expect(site.refusedAgent?.peer).toMatch(/:\d+$/);
    const text = statusText(await status(port));
    expect(text).toContain('A second agent claims to be site a and has been refused for');
    expect(text).toContain(`localhost:${other.port}`);
    expect(isDegraded(await status(port))).toBe(true);
  });

  it('waits for its certificate to begin, says so, and starts then', async () => {
    const late = await withLateCertificate(await agentFolder(), { kind: 'site', name: 'a' });
    const { config, http } = late;
    const agent = run(['agent', 'run', '--config', config], late.environment);
    await says(agent, 'waiting: the certificate is not valid yet');
    const ready = await until('its health address answers', () => fetch(`http://${http}/readyz`));
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('is valid only from')]);
    late.setClock();
    await says(agent, 'site agent started');
  });

  it('ends on a signal while its HSM worker hangs, and takes it along', async () => {
    const { config } = await agentFolder();
    await initialisePartition({ config: loadAgentConfig(config), name: 'main', log: silentLog });
    const agent = run(['agent', 'run', '--config', config]);
    const worker = await until('its worker runs', () => children(agent.child.pid!)[0]);
    // From then on the kernel ends it with its agent.
    await until(
      'it has the module',
      () => readFileSync(`/proc/${worker}/maps`, 'utf8').includes('softhsm') || undefined,
    );
    process.kill(worker, 'SIGSTOP');
    expect(await stopped(agent)).not.toBeNull();
    await until('its worker is gone', () => hasEnded(worker) || undefined);
  });

  it('whose address is taken ends, and says so', async () => {
    const { config, port } = await agentFolder();
    const server = createServer();
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(port, 'localhost', resolve));
    const agent = run(['agent', 'run', '--config', config]);
    expect(await agent.ended).toBe(1);
    expect(agent.output()).toContain(`cannot listen on localhost:${port}`);
  });

  it('whose health address is taken ends, and says so', async () => {
    const { config } = await agentFolder();
    const address = await occupied();
    appendFileSync(config, `http: ${address}\n`);
    const agent = run(['agent', 'run', '--config', config]);
    expect(await agent.ended).toBe(1);
    expect(agent.output()).toContain(`cannot listen on ${address}`);
  });
});
