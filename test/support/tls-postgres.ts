/** A PostgreSQL that is reached as one on another host is: over TCP, with TLS and a password, and in no other way. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { postgresFolders } from '@antipode/coordinator';
import { EmbeddedPostgres } from '@antipode/coordinator/testing';
import { requireProgram, seededPrng, silentLog, systemClock } from '@antipode/runtime';
import pg from 'pg';
import { temporaryFolder } from './tokens.ts';

const PASSWORD = 'a password of the database';
const ATTEMPTS_MAX = 200;

export class TlsPostgres {
  readonly #folder: string;
  readonly #port: number;
  readonly #child: ChildProcess;

  private constructor(folder: string, { port, child }: { port: number; child: ChildProcess }) {
    this.#folder = folder;
    this.#port = port;
    this.#child = child;
  }

  /** With a role `app` that owns these databases. */
  static async start(databases: readonly string[]): Promise<TlsPostgres> {
    const folder = temporaryFolder('tls-postgres');
    chmodSync(folder, 0o711);
    const found = new EmbeddedPostgres({
      dataFolder: folder,
      clock: systemClock,
      prng: seededPrng('tls-postgres'),
      log: silentLog,
    });
    const client = new pg.Client(await found.start());
    await client.connect();
    await client.query(`CREATE ROLE app LOGIN PASSWORD '${PASSWORD}'`);
    for (const name of databases) await client.query(`CREATE DATABASE ${name} OWNER app`);
    await client.end();
    await found.close();
    const cluster = join(folder, 'postgres');
    for (const name of ['ca', 'stranger']) makeAuthority(folder, name);
    makeCertificate(folder, cluster);
    writeFileSync(join(cluster, 'pg_hba.conf'), 'hostssl all app all scram-sha-256\n');
    const port = await freePort();
    const { uid, gid } = statSync(cluster);
    const settings = [
      'listen_addresses=localhost',
      `port=${port}`,
      'unix_socket_directories=',
      'ssl=on',
      'ssl_cert_file=server.crt',
      'ssl_key_file=server.key',
      'log_min_messages=warning',
    ];
    const server = requireProgram('postgres', { folders: postgresFolders(), debianPackage: 'postgresql' });
    const words = ['-D', cluster, ...settings.flatMap((setting) => ['-c', setting])];
    const identity = process.geteuid?.() === 0 ? [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'] : [];
    const child = spawn('setpriv', [...identity, '--pdeathsig', 'TERM', '--', server, ...words], {
      cwd: '/',
      stdio: 'ignore',
    });
    const made = new TlsPostgres(folder, { port, child });
    await made.#answers(databases[0]!);
    return made;
  }

  /** As `databaseUrl` has it. `stranger` is an authority that has not signed the certificate of this server. */
  url(
    database: string,
    {
      mode = 'verify-full',
      authority = 'ca',
      password = PASSWORD,
    }: { mode?: 'verify-full' | 'disable'; authority?: 'ca' | 'stranger'; password?: string } = {},
  ): string {
    const root = mode === 'disable' ? '' : `&sslrootcert=${join(this.#folder, `${authority}.crt`)}`;
    return `postgres://app:${encodeURIComponent(password)}@localhost:${this.#port}/${database}?sslmode=${mode}${root}`;
  }

  /** No output may have it. */
  readonly password = PASSWORD;

  async close(): Promise<void> {
    this.#child.kill('SIGINT');
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #answers(database: string): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      // The name is checked where the coordinator connects.
      const client = new pg.Client({
        host: 'localhost',
        port: this.#port,
        user: 'app',
        password: PASSWORD,
        database,
        ssl: { rejectUnauthorized: false, minVersion: 'TLSv1.2', ecdhCurve: 'auto' },
      });
      try {
        await client.connect();
        await client.end();
        return;
      } catch (thrown) {
        if (attempt === ATTEMPTS_MAX || this.#child.exitCode !== null) throw thrown;
        await systemClock.sleep(50);
      }
    }
  }
}

const openssl = (...words: string[]): void => void execFileSync('openssl', words, { stdio: 'pipe' });
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function makeAuthority(folder: string, name: string): void {
  const [key, certificate] = ['key', 'crt'].map((end) => join(folder, `${name}.${end}`)) as [string, string];
  openssl('req', '-x509', ...KEY, '-days', '30', '-subj', `/CN=${name}`, '-keyout', key, '-out', certificate);
}

function makeCertificate(folder: string, cluster: string): void {
  const [key, certificate] = [join(cluster, 'server.key'), join(cluster, 'server.crt')];
  const authority = ['-CA', join(folder, 'ca.crt'), '-CAkey', join(folder, 'ca.key')];
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  openssl('req', '-x509', ...authority, ...KEY, '-days', '30', ...name, '-keyout', key, '-out', certificate);
  const { uid, gid } = statSync(cluster);
  for (const path of [key, certificate]) chownSync(path, uid, gid);
  chmodSync(key, 0o600);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, 'localhost', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
