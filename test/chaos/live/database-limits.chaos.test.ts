/**
 * The limits towards the database at full length: real coordinators with default timings, each trial with its own
 * PostgreSQL, side by side. The faults: a silent host, a server stopped in different phases, a coordinator frozen
 * inside a write.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Coordinator, loadCoordinatorConfig, PROFILES } from '@antipode/coordinator';
import { EmbeddedPostgres, PostgresStore } from '@antipode/coordinator/testing';
import { freePort } from '@antipode/demo/town';
import { type Client, createClient, OperatorService } from '@antipode/protocol';
import { seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { makeAuthority, makeCoordinatorFolder, makeOperatorFolder } from '@antipode/setup';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { openLink } from '../../support/proxy.ts';
import { temporaryFolder } from '../../support/tokens.ts';

/** The promise of the documents for a silent database host. */
const SILENT_HOST_MS_MAX = 60_000;
const STALL_MS = 18_000;
const TRIAL_MS = 150_000;

const folder = temporaryFolder('database-limits');
const authority = join(folder, 'authority');
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  chmodSync(folder, 0o711);
  await makeAuthority({ folder: authority, trustDomain: 'test.antipode' });
});
afterAll(async () => {
  for (const close of closing.reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

interface Trial {
  readonly coordinator: Coordinator;
  readonly operator: Client<typeof OperatorService>;
  /** How often the leader has renewed, by a connection that is not the coordinator's. */
  readonly renewals: () => Promise<bigint>;
}

/** A coordinator with default timings: its own server, or the one at the address. */
async function startCoordinator(name: string, { databaseUrl, socket }: { databaseUrl?: string; socket?: string } = {}) {
  const address = `localhost:${await freePort()}`;
  const path = join(folder, name);
  await makeCoordinatorFolder({ folder: path, authority, id: name, listen: address, timings: 'default' });
  const own = join(folder, `operator-${name}`);
  await makeOperatorFolder({ folder: own, authority, name: 'test', coordinators: [{ id: name, address }] });
  const config = loadCoordinatorConfig(join(path, 'coordinator.yaml'));
  const coordinator = new Coordinator({
    config: databaseUrl === undefined ? config : { ...config, databaseUrl },
    log: silentLog,
  });
  closing.push(() => coordinator.close());
  await coordinator.start();
  const file = (one: string): string => join(own, one);
  const operator = createClient(OperatorService, {
    address,
    tls: { caFile: file('ca.crt'), certificateFile: file('tls.crt'), keyFile: file('tls.key') },
    expected: { kind: 'coordinator', name },
  });
  closing.push(() => operator.close());
  const host = socket ?? coordinator.embedded.postgres!.socketFolder;
  const store = new PostgresStore({ connection: { host, user: 'antipode', database: 'postgres' }, clock: systemClock });
  closing.push(() => store.close());
  const renewals = async (): Promise<bigint> => {
    const row = await store.query((db) => db.selectFrom('leader_lease').selectAll().executeTakeFirstOrThrow());
    return row.epoch * 1_000_000n + row.seq;
  };
  const trial: Trial = { coordinator, operator, renewals };
  await untilLeading(trial, await renewals());
  return trial;
}

async function startPostgres(name: string): Promise<EmbeddedPostgres> {
  const dataFolder = join(folder, `postgres-${name}`);
  const server = new EmbeddedPostgres({ dataFolder, clock: systemClock, prng: seededPrng(name), log: silentLog });
  closing.push(() => server.close());
  await server.start();
  return server;
}

/** Until it renews its lease again, answers, and says that it leads. @returns after how long */
async function untilLeading({ operator, renewals }: Trial, before: bigint): Promise<number> {
  const startedMs = systemClock.monotonicMs();
  while (systemClock.monotonicMs() - startedMs < TRIAL_MS) {
    const isRenewed = await renewals().then(
      (now) => now > before,
      () => false,
    );
    const isLeader =
      isRenewed &&
      (await operator.getStatus({}, { timeoutMs: 2_000 }).then(
        (status) => status.isLeader,
        () => false,
      ));
    if (isLeader) return systemClock.monotonicMs() - startedMs;
    await systemClock.sleep(100);
  }
  throw new Error(`does not lead after ${TRIAL_MS} ms`);
}

/** Operators who go on asking, so that every connection is in use. */
function load({ operator }: Trial): () => void {
  const stop = new AbortController();
  const ask = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await operator.getStatus({}, { timeoutMs: 5_000 }).catch(() => undefined);
      await systemClock.sleep(20, stop.signal);
    }
  };
  for (let count = 0; count < 12; count += 1) void ask();
  return () => stop.abort();
}

/** A TCP address of a server that listens on a Unix socket only, behind a link that the test can silence. */
async function linkTo(socketFolder: string) {
  const link = await openLink(join(socketFolder, '.s.PGSQL.5432'));
  closing.push(() => link.close());
  return link;
}

describe.concurrent('with the limits as they are', () => {
  it('a database host that falls silent costs at most a minute, where another takes writes', {
    timeout: TRIAL_MS,
  }, async ({ expect }) => {
    const server = await startPostgres('silent');
    const [first, second] = [await linkTo(server.socketFolder), await linkTo(server.socketFolder)];
    const databaseUrl = `postgres://antipode@${first.address},${second.address}/postgres`;
    const trial = await startCoordinator('silent', { databaseUrl, socket: server.socketFolder });
    expect([first.accepted > 0, second.accepted]).toEqual([true, 0]);
    const stop = load(trial);
    first.blackHole();
    // Renewals that were on their way count for nothing: the lease of that time is over.
    await systemClock.sleep(500);
    const tookMs = await untilLeading(trial, await trial.renewals());
    stop();
    expect(tookMs).toBeLessThan(SILENT_HOST_MS_MAX);
    expect(second.accepted).toBeGreaterThan(0);
  });

  it.for([0, 450, 900])(
    'a server that is stopped for 18 s leaves no wedged coordinator: %i ms after a renewal',
    { timeout: TRIAL_MS },
    async (phaseMs, { expect }) => {
      const trial = await startCoordinator(`stall-${phaseMs}`);
      const stop = load(trial);
      const pid = trial.coordinator.embedded.postgres!.pid!;
      const seen = await trial.renewals();
      while ((await trial.renewals()) === seen) await systemClock.sleep(10);
      await systemClock.sleep(phaseMs);
      const before = await trial.renewals();
      const children = execFileSync('pgrep', ['-P', String(pid)])
        .toString()
        .trim()
        .split('\n')
        .map(Number);
      for (const one of [pid, ...children]) process.kill(one, 'SIGSTOP');
      await systemClock.sleep(STALL_MS);
      // A caller with a statement under way has possibly given up its connection, and with it the server process.
      for (const one of [pid, ...children]) process.kill(one, 'SIGCONT');
      const tookMs = await untilLeading(trial, before);
      stop();
      expect(tookMs).toBeLessThan(30_000);
      for (let count = 0; count < 20; count += 1) await trial.operator.getStatus({}, { timeoutMs: 5_000 });
    },
  );

  it('a coordinator that is frozen inside a write does not keep its successor from leading', {
    timeout: TRIAL_MS,
  }, async ({ expect }) => {
    const server = await startPostgres('frozen');
    const host = server.socketFolder;
    const store = new PostgresStore({
      connection: { host, user: 'antipode', database: 'postgres' },
      clock: systemClock,
    });
    closing.push(() => store.close());
    await store.found();
    const script = `
      import { PostgresStore } from '@antipode/coordinator/testing';
      import { systemClock } from '@antipode/runtime';
      const store = new PostgresStore({ connection: { host: ${JSON.stringify(host)}, user: 'antipode', database: 'postgres' }, clock: systemClock });
      await store.write(0n, async (trx) => {
        await trx.updateTable('leader_lease').set({ holder: 'frozen' }).execute();
        process.stdout.write('inside');
        setInterval(() => {}, 1_000);
        await new Promise(() => {});
      });`;
    const frozen: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: import.meta.dirname,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    closing.push(() => frozen.kill('SIGKILL'));
    await once(frozen.stdout!, 'data');
    frozen.kill('SIGSTOP');
    const startedMs = systemClock.monotonicMs();
    await startCoordinator('successor', {
      databaseUrl: `postgres://antipode@${(await linkTo(host)).address}/postgres`,
      socket: host,
    });
    expect(systemClock.monotonicMs() - startedMs).toBeLessThan(SILENT_HOST_MS_MAX);
    // Its transaction was ended, and nothing of it stays.
    expect(frozen.signalCode).toBeNull();
    const { holder } = await store.query((db) => db.selectFrom('leader_lease').selectAll().executeTakeFirstOrThrow());
    expect(holder).toBe('successor');
    expect(PROFILES.default.leaderMs).toBeLessThan(SILENT_HOST_MS_MAX);
  });
});
