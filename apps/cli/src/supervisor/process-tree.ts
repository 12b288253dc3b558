/** The processes below a process, by proc_pid_stat(5), and their end. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Clock } from '@antipode/runtime';

export interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  readonly processGroup: number;
  /** It has ended, and its parent has not asked for its status yet. */
  readonly isOver: boolean;
  /** With the process number, it tells a process from a later one of the same number. */
  readonly startedAt: string;
}

/** @returns undefined where there is no such process */
export function processStat(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name of the program may hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, parent, processGroup] = fields;
  // The main thread can end before the others: they still work.
  const threads = Number(fields[17]);
  return {
    pid,
    parent: Number(parent),
    processGroup: Number(processGroup),
    isOver: state === 'Z' && threads <= 1,
    startedAt: fields[19] ?? '',
  };
}

const allProcesses = (): ProcessStat[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => processStat(Number(name)) ?? []);

/** The processes below `root`, parents before their children. */
export function descendantsOf(root: number, processes: readonly ProcessStat[] = allProcesses()): ProcessStat[] {
  const found: ProcessStat[] = [];
  const parents = [root];
  for (let parent = parents.pop(); parent !== undefined; parent = parents.pop())
    for (const one of processes)
      if (one.parent === parent) {
        found.push(one);
        parents.push(one.pid);
      }
  return found;
}

/** Children that have ended, other than the one that Node has started and asks for the status of. */
export const adoptedBy = (parent: number, { except }: { except: number | undefined }): number[] =>
  allProcesses().flatMap((one) => (one.parent === parent && one.isOver && one.pid !== except ? [one.pid] : []));

/** How often the processes are looked for while they end. */
const LOOK_MS = 20;

export interface EndOptions {
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly graceMs: number;
  /** Called once for each process that this one has no right to end. */
  readonly onRefused: (pid: number) => void;
  readonly look?: () => readonly ProcessStat[];
}

/**
 * Ends everything below `root`: SIGTERM, and after the grace time SIGKILL. Resolves when nothing is left, however long
 * that takes: whoever starts a program next must know that the one before is gone. `root` must adopt its orphans, or a
 * process that loses its parent meanwhile is not below it any more.
 *
 * The processes are read one after the other. One whose parent ends in between seems to be below nobody, and one that was
 * started in between is not seen. The next look finds it below `root`, so nothing is left when two looks in a row say so.
 */
export async function endDescendants(
  root: number,
  { clock, graceMs, onRefused, look = allProcesses }: EndOptions,
): Promise<void> {
  const endMs = clock.monotonicMs() + graceMs;
  const asked = new Set<string>();
  const refused = new Set<number>();
  for (let emptyLooks = 0; ; ) {
    const left = descendantsOf(root, look()).filter(({ isOver }) => !isOver);
    emptyLooks = left.length === 0 ? emptyLooks + 1 : 0;
    if (emptyLooks === 2) return;
    const isOver = clock.monotonicMs() >= endMs;
    for (const { pid, startedAt } of left) {
      const key = `${pid} ${startedAt}`;
      if (!isOver && asked.has(key)) continue;
      asked.add(key);
      // A stopped process gets SIGTERM when it goes on.
      if (sent(pid, isOver ? 'SIGKILL' : 'SIGTERM') && sent(pid, 'SIGCONT')) continue;
      if (!refused.has(pid)) onRefused(pid);
      refused.add(pid);
    }
    await clock.sleep(LOOK_MS);
  }
}

/** @returns false where this process has no right to */
function sent(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
