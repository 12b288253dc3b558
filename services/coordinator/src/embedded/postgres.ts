/**
 * PostgreSQL as a child of the coordinator: on a Unix socket only, with fsync and checksums on. Refuses root, so as root
 * it runs as another user. Touches no other PostgreSQL of the machine.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import {
  AntipodeError,
  type Clock,
  type Closeable,
  type Log,
  makeFolder,
  type Prng,
  requireProgram,
} from '@antipode/runtime';
import pg from 'pg';
import { makeSocketFolder, recordedSocketFolder } from './socket-folder.ts';
import { SupervisedChild } from './supervised-child.ts';

const DEBIAN = { debianPackage: 'postgresql', alternative: 'Or name an external server as `databaseUrl`.' };

export class EmbeddedPostgres implements Closeable {
  readonly #dataFolder: string;
  readonly #ports: { clock: Clock; prng: Prng; log: Log };
  #socketFolder = '';
  #child: SupervisedChild | undefined;

  constructor(options: { dataFolder: string; clock: Clock; prng: Prng; log: Log }) {
    this.#dataFolder = options.dataFolder;
    this.#ports = options;
  }

  /** Where its socket lies while it runs. */
  get socketFolder(): string {
    return this.#socketFolder;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts it, making a cluster the first time. @returns how to connect. @throws PROGRAM_MISSING, CONFIG_INVALID */
  async start(): Promise<pg.PoolConfig> {
    const folders = postgresFolders();
    const server = requireProgram('postgres', { folders, ...DEBIAN });
    makeFolder(this.#dataFolder);
    const cluster = join(this.#dataFolder, 'postgres');
    const user = userInfo().uid === 0 ? userFor(this.#dataFolder, cluster) : undefined;
    this.#socketFolder = makeSocketFolder({ dataFolder: this.#dataFolder, server: 'postgres' });
    mkdirSync(cluster, { recursive: true, mode: 0o700 });
    if (user !== undefined) {
      if (statSync(this.#dataFolder).uid !== user.uid) chmodSync(this.#dataFolder, 0o711);
      for (const folder of [cluster, this.#socketFolder]) chownSync(folder, user.uid, user.gid);
      this.#checkReach(cluster, user);
    }
    if (!existsSync(join(cluster, 'PG_VERSION'))) {
      initialise(requireProgram('initdb', { folders, ...DEBIAN }), cluster, user);
    }
    const connection = connectionAt(this.#socketFolder);
    this.#child = new SupervisedChild({
      ...this.#ports,
      name: 'postgres',
      folder: cluster,
      command: server,
      args: ['-D', cluster, '-k', this.#socketFolder, ...SETTINGS.flatMap((setting) => ['-c', setting])],
      stopSignal: 'SIGINT',
      ...(user === undefined ? {} : { user }),
      answers: () => answers(connection),
    });
    await this.#child.start();
    return connection;
  }

  async close(): Promise<void> {
    await this.#child?.close();
    if (this.#socketFolder !== '') rmSync(this.#socketFolder, { recursive: true, force: true });
  }

  #checkReach(cluster: string, user: User): void {
    const { status } = spawnSync('setpriv', [...identityOf(user), '--', 'test', '-x', cluster]);
    if (status === 0) return;
    throw new AntipodeError(
      'CONFIG_INVALID',
      `dataFolder ${this.#dataFolder} is in a folder that user ${user.name} cannot enter, and PostgreSQL refuses to run as root; choose one such as /var/lib/antipode, or set databaseUrl`,
      {
        details: { path: this.#dataFolder, user: user.name },
      },
    );
  }
}

/** How a command reaches the server that a coordinator runs on this folder. @throws DATABASE_UNAVAILABLE */
export function runningPostgres(dataFolder: string): pg.PoolConfig {
  const folder = recordedSocketFolder({ dataFolder, server: 'postgres' });
  if (folder !== undefined && existsSync(folder)) return connectionAt(folder);
  throw new AntipodeError('DATABASE_UNAVAILABLE', `the PostgreSQL of the coordinator in ${dataFolder} has no socket`, {
    details: { path: dataFolder },
    hint: 'While a coordinator starts or ends, the socket is missing for a moment. Repeat the command, as root or as its user.',
  });
}

const connectionAt = (host: string): pg.PoolConfig => ({ host, user: 'antipode', database: 'postgres' });

const SETTINGS = [
  'listen_addresses=',
  'unix_socket_permissions=0700',
  'fsync=on',
  'max_connections=40',
  'shared_buffers=32MB',
  'log_min_messages=warning',
  'timezone=UTC',
];

function initialise(initdb: string, cluster: string, user: User | undefined): void {
  const identity = user === undefined ? [] : identityOf(user);
  const args = [
    '-D',
    cluster,
    '--username=antipode',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C.UTF-8',
    '--data-checksums',
    '--no-instructions',
  ];
  try {
    execFileSync('setpriv', [...identity, '--pdeathsig=TERM', '--', initdb, ...args], {
      stdio: 'pipe',
      cwd: '/',
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8' },
    });
  } catch (cause) {
    // A half-made cluster would be taken for a whole one next time.
    for (const entry of readdirSync(cluster)) rmSync(join(cluster, entry), { recursive: true, force: true });
    throw new AntipodeError('PROGRAM_MISSING', `initdb failed in ${cluster}`, {
      details: { path: cluster },
      cause,
      hint: 'Check owner and free space of the folder, and the output of initdb in the log: it is installed and does not work there. Or name an external server as `databaseUrl`.',
    });
  }
}

/** Debian keeps each version of PostgreSQL in a folder of its own. */
const POSTGRES_BASE = '/usr/lib/postgresql';

/** Where the programs of PostgreSQL are, the newest version first. */
export function postgresFolders(base = POSTGRES_BASE): string[] {
  const versions = (): number[] => {
    try {
      return readdirSync(base).map(Number).filter(Number.isFinite);
    } catch {
      return [];
    }
  };
  return versions()
    .sort((a, b) => b - a)
    .map((version) => join(base, String(version), 'bin'));
}

interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const identityOf = ({ uid, gid }: User): string[] => [`--reuid=${uid}`, `--regid=${gid}`, '--init-groups'];

/**
 * Whom PostgreSQL runs as under root. An administrator restores the folder of a service as root, and the service must be
 * able to use it afterwards: the owner of the cluster, or else of the data folder, stays its owner.
 */
function userFor(dataFolder: string, cluster: string): User {
  const version = join(cluster, 'PG_VERSION');
  const { uid, gid } = statSync(existsSync(version) ? version : dataFolder);
  return uid === 0 ? unprivilegedUser() : { name: String(uid), uid, gid };
}

function unprivilegedUser(): User {
  for (const name of ['postgres', 'nobody']) {
    const id = (flag: string): number => Number(spawnSync('id', [flag, name]).stdout.toString());
    const uid = id('-u');
    if (uid > 0) return { name, uid, gid: id('-g') };
  }
  throw new AntipodeError(
    'PROGRAM_MISSING',
    'PostgreSQL refuses to run as root, and the machine has neither a user postgres nor a user nobody',
    {
      details: { program: 'postgres' },
      hint: 'Run the coordinator as a user other than root, make a user `postgres`, or name an external server as `databaseUrl`.',
    },
  );
}

async function answers(connection: pg.PoolConfig): Promise<boolean> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 1_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
