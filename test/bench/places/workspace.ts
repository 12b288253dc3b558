/** Everything that a run of the benchmark leaves on the machine, so that it is gone afterwards, however the run ends. */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeToken, SOFTHSM_MODULE, type TestToken, USER_PIN } from '../../support/tokens.ts';

const run = promisify(execFile);

/** TMPFS_MAGIC, statfs(2). */
const TMPFS = 0x01021994;

export type Place = 'tmpfs' | 'disk';

export class Workspace {
  readonly #roots = new Map<Place, string>();
  readonly #children = new Set<ChildProcess>();
  #made = 0;

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => {
        console.error(`\ninterrupted by ${signal}: cleaning up`);
        this.close();
        process.exit(128 + constants.signals[signal]);
      });
    process.once('exit', () => this.close());
  }

  /** A new folder. @throws where this machine has no such place */
  folder(name: string, place: Place = 'tmpfs'): string {
    this.#made += 1;
    const folder = join(this.#root(place), `${name}-${this.#made}`);
    mkdirSync(folder);
    return folder;
  }

  token(label: string, place: Place = 'tmpfs'): TestToken {
    return makeToken(label, { folder: this.folder(label, place) });
  }

  /** The same token, objects and serial number included, in a folder of its own. */
  copyOf(token: TestToken, place: Place = 'tmpfs'): TestToken {
    const folder = this.folder(token.label, place);
    cpSync(join(token.folder, 'tokens'), join(folder, 'tokens'), { recursive: true });
    const configFile = join(folder, 'softhsm2.conf');
    writeFileSync(
      configFile,
      `directories.tokendir = ${join(folder, 'tokens')}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    const pinFile = join(folder, `${token.label}.pin`);
    writeFileSync(pinFile, `${USER_PIN}\n`, { mode: 0o600 });
    const environment = { SOFTHSM2_CONF: configFile };
    return {
      ...token,
      folder,
      environment,
      config: { ...token.config, pinFile, environment, stateFolder: join(folder, 'state') },
      tool: () => {
        throw new Error('a copy is used through pkcs11Tool');
      },
      remove: () => rmSync(folder, { recursive: true, force: true }),
    };
  }

  /** A program that must end well; returns what it printed. */
  async run(
    program: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const ended = run(program, [...args], { env: { ...process.env, ...environment }, maxBuffer: 64 << 20 });
    this.#children.add(ended.child);
    try {
      return (await ended).stdout;
    } finally {
      this.#children.delete(ended.child);
    }
  }

  /** A program that runs on. The kernel ends it with us, whatever happens to us. */
  spawn(program: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', program, ...args], options);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Idempotent, and synchronous, since it also runs when the process ends. */
  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#children.clear();
    for (const root of this.#roots.values()) rmSync(root, { recursive: true, force: true, maxRetries: 5 });
    this.#roots.clear();
  }

  #root(place: Place): string {
    const known = this.#roots.get(place);
    if (known !== undefined) return known;
    const base = baseOf(place);
    const root = mkdtempSync(join(base, `antipode-bench-${process.pid}-`));
    this.#roots.set(place, root);
    return root;
  }
}

function baseOf(place: Place): string {
  const isTmpfs = (folder: string): boolean => existsSync(folder) && statfsSync(folder).type === TMPFS;
  const wanted = ['/dev/shm', tmpdir(), '/var/tmp'].find((folder) => isTmpfs(folder) === (place === 'tmpfs'));
  if (wanted === undefined) throw new Error(`this machine has no folder on ${place} for temporary files`);
  return wanted;
}

/** pkcs11-tool on a token, logged in, as an operator's script runs it. */
export function pkcs11Tool({ label, environment }: TestToken): { args: string[]; environment: typeof environment } {
  return {
    args: ['--module', SOFTHSM_MODULE, '--token-label', label, '--login', '--pin', USER_PIN],
    environment,
  };
}
