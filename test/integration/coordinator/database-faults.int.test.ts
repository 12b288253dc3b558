/** The coordinator's connections with a PostgreSQL that stalls, falls silent, is left behind or is delayed. */
import { execFileSync } from 'node:child_process';
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Election, EmbeddedPostgres, PostgresStore } from '@antipode/coordinator/testing';
import { AntipodeError, Log, seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { openLink, type TestLink } from '../../support/proxy.ts';
import { temporaryFolder } from '../../support/tokens.ts';

/** Short, and long enough for a server that answers on a busy machine. */
const LIMITS = { connectMs: 1_500, statementMs: 1_500, lockMs: 1_500, idleInTransactionMs: 1_500 };
const folders: string[] = [];
const servers: EmbeddedPostgres[] = [];
const stores: PostgresStore[] = [];
const closing: (() => Promise<unknown>)[] = [];
let main: { server: EmbeddedPostgres; connection: pg.PoolConfig };

async function startPostgres(name: string): Promise<{ server: EmbeddedPostgres; connection: pg.PoolConfig }> {
  const folder = temporaryFolder(name);
  folders.push(folder);
  chmodSync(folder, 0o711);
  const ports = { clock: systemClock, prng: seededPrng(name), log: silentLog };
  const server = new EmbeddedPostgres({ dataFolder: folder, ...ports });
  servers.push(server);
  const connection = await server.start();
  const store = storeOf(connection);
  await store.found();
  return { server, connection };
}

function storeOf(connection: pg.PoolConfig | pg.PoolConfig[], log: Log = silentLog): PostgresStore {
  const store = new PostgresStore({ connection, clock: systemClock, limits: LIMITS, log });
  stores.push(store);
  return store;
}

/** A TCP address of the server, which listens on a Unix socket only, behind a link that tests can break. */
async function linkTo({ host }: pg.PoolConfig): Promise<{ link: TestLink; connection: pg.PoolConfig }> {
  const link = await openLink(join(host!, '.s.PGSQL.5432'));
  closing.push(() => link.close());
  const [, port] = link.address.split(':');
  return { link, connection: { host: 'localhost', port: Number(port), user: 'antipode', database: 'postgres' } };
}

/** The postmaster and all its children. */
function processesOf({ pid }: EmbeddedPostgres): number[] {
  const children = execFileSync('pgrep', ['-P', String(pid)]).toString();
  return [pid!, ...children.trim().split('\n').map(Number)];
}

beforeAll(async () => {
  main = await startPostgres('faults');
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const close of closing.splice(0)) await close();
});
afterAll(async () => {
  for (const store of stores) await store.close();
  for (const server of servers) await server.close();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

const look = (store: PostgresStore) =>
  store.query((db) => db.selectFrom('leader_lease').selectAll().executeTakeFirstOrThrow());
async function looks(store: PostgresStore): Promise<void> {
  for (let count = 0; count < 5; count += 1) await look(store);
}
let changes = 0n;
const change = (store: PostgresStore) => {
  changes += 1n;
  const row = { schedule: 'test', fire_ms: changes };
  return store.write(0n, (trx) => trx.insertInto('schedule_fire').values(row).execute());
};
/** As the loops of the coordinator do it, without their pauses. */
async function untilItWorks<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (thrown) {
      if (AntipodeError.from(thrown).code !== 'DATABASE_UNAVAILABLE') throw thrown;
      await systemClock.sleep(50);
    }
  }
}

it('a stall of the whole server spoils no connection for those who come after it', async () => {
  const store = storeOf(main.connection);
  const everybody = () =>
    Promise.allSettled([
      ...Array.from({ length: 6 }, () => change(store)),
      ...Array.from({ length: 3 }, () => look(store)),
      ...Array.from({ length: 3 }, () => store.snapshot((db) => sql`SELECT 1`.execute(db))),
    ]);
  await everybody();
  const processes = processesOf(main.server);
  for (const pid of processes) process.kill(pid, 'SIGSTOP');
  const stalled = await everybody();
  for (const pid of processes) process.kill(pid, 'SIGCONT');
  expect(new Set(stalled.map(({ status }) => status))).toEqual(new Set(['rejected']));
  await untilItWorks(() => change(store));
  for (let round = 0; round < 5; round += 1)
    expect((await everybody()).filter(({ status }) => status === 'rejected')).toEqual([]);
});

it('a server that a failover of the database has left read-only is passed over, and it is logged', async () => {
  const lines: string[] = [];
  const log = new Log({ level: 'info', format: 'text', write: (line) => lines.push(line) });
  const next = await startPostgres('faults-next');
  const store = storeOf([main.connection, next.connection], log);
  const where = async () =>
    (await store.query((db) => sql<{ at: string }>`SELECT current_setting('data_directory') AS at`.execute(db))).rows[0]
      ?.at;
  const before = await where();
  await change(store);
  const admin = storeOf(main.connection);
  const leave = (isLeft: 'on' | 'off') =>
    admin.query(async (db) => {
      await sql`ALTER SYSTEM SET default_transaction_read_only = ${sql.raw(isLeft)}`.execute(db);
      await sql`SELECT pg_reload_conf()`.execute(db);
      await sql`SET SESSION default_transaction_read_only = off`.execute(db);
    });
  await leave('on');
  try {
    // The server reads its configuration a moment later, and takes a write until then.
    await expect
      .poll(
        () =>
          untilItWorks(async () => {
            await change(store);
            return where();
          }),
        { timeout: 30_000 },
      )
      .not.toBe(before);
    expect(lines.join('\n')).toContain('the database server has changed');
  } finally {
    await leave('off');
  }
});

it('while every server is read-only, nothing is written, and the store says why', async () => {
  const store = storeOf(main.connection);
  await store.query((db) => sql`ALTER DATABASE postgres SET default_transaction_read_only = on`.execute(db));
  const fresh = storeOf(main.connection);
  try {
    expect((await rejection(change(fresh))).message).toContain('accepts no writes');
  } finally {
    await store.query((db) => sql`ALTER DATABASE postgres RESET default_transaction_read_only`.execute(db));
  }
});

it('a host that falls silent costs the limits of one statement and one connection', async () => {
  const { link, connection } = await linkTo(main.connection);
  const lines: string[] = [];
  const log = new Log({ level: 'info', format: 'text', write: (line) => lines.push(line) });
  const store = storeOf([connection, main.connection], log);
  await Promise.all(Array.from({ length: 8 }, () => change(store)));
  expect(link.accepted).toBeGreaterThan(1);
  link.blackHole();
  await rejection(change(store));
  // The others of the pool are asked before they are lent again: nobody else waits for a statement that never ends.
  for (let count = 0; count < 8; count += 1) await change(store);
  expect(lines.join()).toContain('the database server has changed');
});

it('a database that is away for a while is said to be, and to be back', async () => {
  const { link, connection } = await linkTo(main.connection);
  const lines: string[] = [];
  const log = new Log({ level: 'info', format: 'text', write: (line) => lines.push(line) });
  const store = storeOf(connection, log);
  await change(store);
  link.cut();
  await rejection(change(store));
  const before = link.accepted;
  await Promise.all(Array.from({ length: 50 }, () => rejection(change(store))));
  link.heal();
  await untilItWorks(() => change(store));
  expect(lines.map((line) => /no database server|database is back/.exec(line)?.[0])).toEqual([
    'no database server',
    'database is back',
  ]);
  expect(link.accepted - before).toBeLessThan(20);
});

it('a coordinator that is frozen inside a write does not keep another from leading', async () => {
  const frozen = storeOf(main.connection);
  const hold = new Promise<never>(() => {});
  let isInside = (): void => {};
  const inside = new Promise<void>((resolve) => {
    isInside = resolve;
  });
  frozen
    .write(0n, async () => {
      isInside();
      await hold;
    })
    .catch(() => {});
  await inside;
  const clock = new FakeClock();
  const successor = storeOf(main.connection);
  const ports = { clock, prng: seededPrng('e'), log: silentLog, id: 'two', ttlMs: 5_000, lead: async () => {} };
  const election = new Election({ store: successor.apart({}), ...ports });
  const epoch = await untilItWorks(async () => {
    await election.pass();
    await clock.advance(6_000);
    await election.pass();
    if (election.epoch === undefined) throw new AntipodeError('DATABASE_UNAVAILABLE', 'not yet');
    return election.epoch;
  });
  expect(epoch).toBe(1n);
  await successor.query((db) => sql`UPDATE leader_lease SET epoch = 0, seq = 0, holder = ''`.execute(db));
});

it('the election does not wait while all other connections are in use', async () => {
  const store = storeOf(main.connection);
  const renewals = store.apart({});
  stores.push(renewals);
  await look(renewals);
  const busy = Promise.allSettled(
    Array.from({ length: 10 }, () => store.query((db) => sql`SELECT pg_sleep(30)`.execute(db))),
  );
  const first = Promise.race([busy.then(() => 'the others'), looks(renewals).then(() => 'the election')]);
  expect(await first).toBe('the election');
  expect((await busy).map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 'rejected'));
});

it('a connection that the server has ended while it lay idle is not lent', async () => {
  const store = storeOf(main.connection);
  await Promise.all(Array.from({ length: 5 }, () => look(store)));
  const other = storeOf(main.connection);
  await other.query((db) =>
    sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'antipode'`.execute(
      db,
    ),
  );
  await untilItWorks(() => change(store));
  await Promise.all(Array.from({ length: 5 }, () => change(store)));
});
