/** A PostgreSQL with streaming standbys, behind TCP addresses of loopback, and a Redis: what coordinators share. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { postgresFolders } from '@antipode/coordinator';
import { EmbeddedPostgres, EmbeddedRedis } from '@antipode/coordinator/testing';
import { closeAll, requireProgram, seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { Redis } from 'ioredis';
import pg from 'pg';
import { openLink, type TestLink } from './proxy.ts';
import type { SharedServers } from './system.ts';
import { temporaryFolder } from './tokens.ts';

/** One server. Its link is cut for good when it is killed. */
interface DatabaseServer {
  readonly server: EmbeddedPostgres;
  readonly connection: pg.PoolConfig;
  readonly link: TestLink;
  /** Where its cluster lies. */
  readonly cluster: string;
}

export class DatabasePair {
  readonly #folders: string[] = [];
  readonly #servers: DatabaseServer[] = [];
  readonly #links: TestLink[] = [];
  readonly #host: string | undefined;
  #redis!: EmbeddedRedis;
  /** In front of Redis. */
  queueLink!: TestLink;
  primary!: DatabaseServer;

  private constructor(host: string | undefined) {
    this.#host = host;
  }

  /** A primary with these roles, and standbys that stream from it. All are reached at one host: loopback by default. */
  static async start({
    roles,
    standbys,
    host,
  }: {
    roles: readonly string[];
    standbys: number;
    host?: string | undefined;
  }): Promise<DatabasePair> {
    const pair = new DatabasePair(host);
    pair.#redis = new EmbeddedRedis({ dataFolder: pair.#folder('redis'), ...ports() });
    const { path } = await pair.#redis.start();
    pair.queueLink = await pair.#link(String(path));
    pair.primary = await pair.#serve(pair.#folder('primary'));
    for (const role of roles) await pair.ask(`CREATE ROLE ${role} SUPERUSER LOGIN`);
    for (let count = 0; count < standbys; count += 1) await pair.#serve(pair.#copyOfPrimary());
    return pair;
  }

  get shared(): SharedServers {
    const addresses = this.#servers.map(({ link }) => link.address).join(',');
    return {
      databaseUrl: (coordinator) => `postgres://${coordinator}@${addresses}/postgres`,
      redisUrl: `redis://${this.queueLink.address}`,
    };
  }

  /** The standby that would follow the primary. */
  get standby(): DatabaseServer {
    return this.#servers[this.#servers.indexOf(this.primary) + 1]!;
  }

  async ask<Row extends object>(sql: string, of: DatabaseServer = this.primary): Promise<Row[]> {
    const client = new pg.Client(of.connection);
    await client.connect();
    try {
      return (await client.query<Row>(sql)).rows;
    } finally {
      await client.end();
    }
  }

  /** Until the standby has everything that the primary has committed by now. */
  async caughtUp(): Promise<void> {
    const [{ at } = { at: '' }] = await this.ask<{ at: string }>('SELECT pg_current_wal_flush_lsn()::text AS at');
    await this.#until(async () => {
      const sql = `SELECT pg_last_wal_replay_lsn() >= '${at}' AS "isThere"`;
      return (await this.ask<{ isThere: boolean }>(sql, this.standby))[0]?.isThere === true;
    });
  }

  /** From now on the standby streams from the primary of this moment, or from nobody. */
  async stream({ isCut = false }: { isCut?: boolean } = {}): Promise<void> {
    const from = isCut ? '' : `host=${this.primary.server.socketFolder} user=antipode`;
    await this.ask(`ALTER SYSTEM SET primary_conninfo = '${from}'`, this.standby);
    await this.ask('SELECT pg_reload_conf()', this.standby);
    await this.#until(async () => {
      const streams = await this.ask("SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'", this.standby);
      return isCut ? streams.length === 0 : streams.length > 0;
    });
  }

  /** The primary is killed. The standby is to take its place, and waits until somebody promotes it. */
  async losePrimary(): Promise<void> {
    const { server, link } = this.primary;
    const next = this.standby;
    link.cut();
    process.kill(server.pid!, 'SIGKILL');
    await server.close();
    this.primary = next;
  }

  /** The primary is killed, and the standby takes its place. */
  async failOver(): Promise<void> {
    await this.losePrimary();
    await this.ask('SELECT pg_promote()');
  }

  /** Everything in Redis is gone. */
  async wipeQueue(): Promise<void> {
    const admin = new Redis({ path: this.#redis.socketPath });
    try {
      await admin.flushall();
    } finally {
      admin.disconnect();
    }
  }

  async close(): Promise<void> {
    await closeAll([...this.#links, ...this.#servers.map(({ server }) => server), this.#redis]);
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true });
  }

  async #serve(dataFolder: string): Promise<DatabaseServer> {
    const server = new EmbeddedPostgres({ dataFolder, ...ports() });
    const connection = await server.start();
    const made = {
      server,
      connection,
      cluster: join(dataFolder, 'postgres'),
      link: await this.#link(join(server.socketFolder, '.s.PGSQL.5432')),
    };
    this.#servers.push(made);
    return made;
  }

  #copyOfPrimary(): string {
    const folder = this.#folder('standby');
    const cluster = join(folder, 'postgres');
    const { server } = this.primary;
    const { uid, gid } = statSync(server.socketFolder);
    mkdirSync(cluster, { mode: 0o700 });
    execFileSync('chown', [`${uid}:${gid}`, cluster]);
    const program = requireProgram('pg_basebackup', { folders: postgresFolders(), debianPackage: 'postgresql' });
    const args = ['-h', server.socketFolder, '-U', 'antipode', '-D', cluster, '-R', '-X', 'stream', '-c', 'fast'];
    execFileSync('setpriv', [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--', program, ...args], {
      stdio: 'pipe',
      cwd: '/',
    });
    return folder;
  }

  #folder(name: string): string {
    const folder = temporaryFolder(`pair-${name}`);
    chmodSync(folder, 0o711);
    this.#folders.push(folder);
    return folder;
  }

  async #link(target: string): Promise<TestLink> {
    const link = await openLink(target, this.#host === undefined ? {} : { host: this.#host });
    this.#links.push(link);
    return link;
  }

  async #until(isSo: () => Promise<boolean>): Promise<void> {
    while (!(await isSo())) await systemClock.sleep(50);
  }
}

const ports = () => ({ clock: systemClock, prng: seededPrng('pair'), log: silentLog });
