/** Where and on what a run was made: without it no figure means anything. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { rounded } from '../report/statistics.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly distribution: string;
}

export interface Versions {
  readonly node: string;
  readonly softhsm: string;
  readonly opensc: string;
  readonly compiler: string | null;
}

export interface Commit {
  readonly hash: string | null;
  /** Files differ from it. */
  readonly isChanged: boolean;
}

export function machine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: rounded(totalmem() / 2 ** 30, 1),
    kernel: release(),
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(contentsOf('/etc/os-release'))?.[1] ?? 'unknown',
  };
}

export function versions(): Versions {
  return {
    node: process.version,
    softhsm: firstLineOf('softhsm2-util', '--version') ?? 'unknown',
    opensc: packageVersion('opensc') ?? 'unknown',
    compiler: firstLineOf('cc', '--version') ?? firstLineOf('gcc', '--version') ?? null,
  };
}

export function commit(): Commit {
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'safe.directory=*', ...args], {
      cwd: fileURLToPath(new URL('../../..', import.meta.url)),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    return { hash: git('rev-parse', '--short=12', 'HEAD'), isChanged: git('status', '--porcelain') !== '' };
  } catch {
    return { hash: null, isChanged: false };
  }
}

/** Of the last minute. */
export const load = (): number => rounded(loadavg()[0] ?? 0);

/** Resident memory of a process now and at its highest, MiB. */
export function residentMiB(pid: number): { now: number; peak: number } {
  const status = contentsOf(`/proc/${pid}/status`);
  const kib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN);
  return { now: rounded(kib('VmRSS') / 1024, 1), peak: rounded(kib('VmHWM') / 1024, 1) };
}

function contentsOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function firstLineOf(program: string, ...args: string[]): string | undefined {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0]?.trim() : undefined;
}

/** pkcs11-tool does not tell its own version. */
function packageVersion(name: string): string | undefined {
  return firstLineOf('dpkg-query', '--show', '--showformat', `${name} \${Version}\n`, name);
}
