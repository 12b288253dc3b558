/**
 * Finds the processes that use the folder of an embedded server. Normally a server ends with its coordinator. A server
 * that is frozen, or hangs in the kernel, does not, and it holds the folder for as long as it exists. PostgreSQL then
 * refuses to start beside it. Redis would start, and lose its socket when the old server finally ends.
 */
import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError, type Clock } from '@antipode/runtime';

export interface FolderHolder {
  readonly pid: number;
  readonly parent: number;
  /** As in /proc: `T` is stopped, `D` waits in the kernel, `Z` has ended. */
  readonly state: string;
}

/** A server that ends in order takes a moment. */
const WAIT_MS_MAX = 8_000;
const LOOK_MS = 100;

/** Those whose working folder it is, which both servers make theirs; the ones that started the others first. */
export function holdersOf(folder: string): FolderHolder[] {
  let real: string;
  try {
    real = realpathSync(folder);
  } catch {
    return [];
  }
  const found = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => holderFrom(name, real));
  const locking = lockingFrom(real);
  if (locking !== undefined && !found.some(({ pid }) => pid === locking.pid)) found.push(locking);
  const pids = new Set(found.map(({ pid }) => pid));
  return found.sort(
    (one, other) => Number(pids.has(one.parent)) - Number(pids.has(other.parent)) || one.pid - other.pid,
  );
}

/**
 * The PostgreSQL server that the lock file of the folder names, while its process number is taken. One that has ended,
 * and that nobody has waited for, has no working folder any more; PostgreSQL still takes it for alive, and refuses.
 */
function lockingFrom(folder: string): FolderHolder | undefined {
  try {
    const [pid = ''] = readFileSync(join(folder, 'postmaster.pid'), 'utf8').split('\n', 1);
    if (!/^[1-9]\d*$/.test(pid)) return undefined;
    const { name, ...holder } = statOf(pid);
    return name === 'postgres' ? holder : undefined;
  } catch {
    return undefined;
  }
}

function statOf(pid: string): FolderHolder & { readonly name: string } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Name in brackets, which may hold anything; then state and parent.
  const [, name = '', rest = ''] = /\((.*)\) (.*)$/s.exec(stat) ?? [];
  const [state = '?', parent = '0'] = rest.split(' ');
  return { name, pid: Number(pid), parent: Number(parent), state };
}

function holderFrom(name: string, folder: string): FolderHolder[] {
  try {
    if (readlinkSync(`/proc/${name}/cwd`) !== folder) return [];
    const { state, pid, parent } = statOf(name);
    return state === 'Z' ? [] : [{ pid, parent, state }];
  } catch {
    // It has ended meanwhile, or belongs to another user and is none of ours.
    return [];
  }
}

/**
 * Resolves when no process uses the folder, or when `signal` aborts.
 * @throws FILE_EXISTS naming the process and the folder, if a process stays
 */
export async function untilFree(
  { folder, server }: { folder: string; server: string },
  { clock, signal, waitMs = WAIT_MS_MAX }: { clock: Clock; signal?: AbortSignal; waitMs?: number },
): Promise<void> {
  const startedMs = clock.monotonicMs();
  for (;;) {
    const [first, ...more] = holdersOf(folder);
    if (first === undefined || signal?.aborted === true) return;
    if (clock.monotonicMs() - startedMs >= waitMs) throw held(first, more.length, { folder, server });
    await clock.sleep(LOOK_MS, signal);
  }
}

function held(
  { pid, state }: FolderHolder,
  more: number,
  { folder, server }: { folder: string; server: string },
): AntipodeError {
  const others = more === 0 ? '' : ` and ${more} more`;
  const isFrozen = state === 'T' || state === 't';
  const how = isFrozen
    ? 'It is frozen (stopped by a signal or a debugger), and has been asked to end'
    : state === 'D'
      ? 'It waits in the kernel, for example for a disk that does not answer'
      : 'It has not ended';
  return new AntipodeError(
    'FILE_EXISTS',
    `an earlier ${server}, process ${pid}${others}, still lives in ${folder}. ${how}`,
    {
      details: { path: folder, pid, program: server, state },
      hint: `${isFrozen ? `\`kill -CONT ${pid}\` lets it end in order. ` : ''}\`kill -KILL ${pid}\` ends it at once, and it recovers at the next start. Remove nothing from the folder.`,
    },
  );
}
