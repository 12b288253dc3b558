/** Processor time and memory of processes, as the kernel counts them. Load of others changes neither much. */

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

let known: number | undefined;
/** Asked for only where it is needed: the other parts of the benchmark do without `getconf`. */
const ticksPerSecond = (): number => (known ??= Number(execFileSync('getconf', ['CLK_TCK']).toString()));

/** Seconds of processor time of a process with all its threads. With `andEnded`, also of its children that have ended. */
export function cpuSeconds(pid: number, { andEnded = false }: { andEnded?: boolean } = {}): number {
  const fields = statOf(pid);
  const ticks = Number(fields[11]) + Number(fields[12]) + (andEnded ? Number(fields[13]) + Number(fields[14]) : 0);
  return ticks / ticksPerSecond();
}

/** Of a server and its children, those that have ended included. */
export function cpuSecondsOfTree(pid: number): number {
  const children = childrenOf(pid);
  return (
    cpuSeconds(pid, { andEnded: true }) +
    children.reduce((sum, child) => sum + (tried(() => cpuSeconds(child)) ?? 0), 0)
  );
}

export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter(Number.isInteger)
    .filter((one) => tried(() => Number(statOf(one)[1])) === pid);
}

export const nameOf = (pid: number): string => tried(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? '';

/** The fields after the name, which may contain blanks. */
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** A process may end between two looks. */
function tried<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
