/**
 * The npm packages that run in production on one architecture, as the lock file names them. Those of this machine are in
 * node_modules. The few for another architecture are fetched by name, and count only with the digest of the lock file.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** By Debian's name. */
export const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' } as const;
export type Architecture = keyof typeof ARCHITECTURES;

export interface ProductionPackage {
  /** Where it lies in the tree: `node_modules/koffi`. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  readonly license: string;
  /** Subresource integrity: SHA-512 in base64. */
  readonly integrity: string;
}

interface LockEntry {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly link?: boolean;
  readonly os?: string | readonly string[];
  readonly cpu?: string | readonly string[];
}

/** Types, and a driver for a platform that we do not run on: nothing loads them. */
const NEVER_LOADED = [/^@types\//, /^undici-types$/, /^pg-cloudflare$/];

const includes = (names: string | readonly string[] | undefined, name: string): boolean =>
  names === undefined || [names].flat().includes(name);

export function productionPackages(root: string, architecture: Architecture): ProductionPackage[] {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockEntry>;
  };
  return Object.entries(lock.packages)
    .filter(([path, { dev, link }]) => path.startsWith('node_modules/') && dev !== true && link !== true)
    .filter(([, { os, cpu }]) => includes(os, 'linux') && includes(cpu, ARCHITECTURES[architecture]))
    .map(([path, { version = '', license = '', integrity = '' }]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      return { path, name, version, license, integrity };
    })
    .filter(({ name }) => !NEVER_LOADED.some((pattern) => pattern.test(name)))
    .sort((one, other) => (one.path < other.path ? -1 : 1));
}

/** The folder with its files. Other versions than that of the lock file are refused. */
export function folderOf(one: ProductionPackage, { root, scratch }: { root: string; scratch: string }): string {
  const here = join(root, one.path);
  const folder = existsSync(here) ? here : fetched(one, scratch);
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
  if (version === one.version) return folder;
  throw new Error(`${folder} is version ${version}, expected ${one.version}: run npm ci --ignore-scripts`);
}

function fetched({ name, version, integrity }: ProductionPackage, scratch: string): string {
  const folder = join(scratch, `${name.replace('/', '-')}-${version}`);
  mkdirSync(folder);
  const packed = run('npm', [
    'pack',
    '--silent',
    '--ignore-scripts',
    '--pack-destination',
    scratch,
    `${name}@${version}`,
  ]);
  const file = join(scratch, basename(packed.trim().split('\n').at(-1) ?? ''));
  const found = `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
  if (found !== integrity)
    throw new Error(`${name}@${version} has digest ${found}, expected ${integrity} (package-lock.json)`);
  run('tar', ['-xzf', file, '-C', folder, '--strip-components=1', '--no-same-owner']);
  return folder;
}

/** @returns what it printed */
export function run(
  program: string,
  args: readonly string[],
  { env = process.env, cwd }: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env,
    maxBuffer: 64 * 1024 * 1024,
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (status === 0) return stdout;
  throw new Error(`${program} ${args[0]} failed: ${error?.message ?? stderr.trim()}`);
}
