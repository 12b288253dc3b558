/** The processes that still run, according to the kernel (proc(5)). */
import { readdirSync, readFileSync } from 'node:fs';

/** A killed process stays in the table until somebody has asked for its end. */
export function isRunning(pid: number): boolean {
  const { state } = statOf(pid) ?? {};
  return state !== undefined && state !== 'Z' && state !== 'X';
}

export function groupIsRunning(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch {
    return false;
  }
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.some((pid) => statOf(Number(pid))?.group === group && isRunning(Number(pid)));
}

function statOf(pid: number): { state: string; group: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state = '', , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state, group: Number(group) };
  } catch {
    return undefined;
  }
}
