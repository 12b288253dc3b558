/** The processes that still run, according to the kernel (proc(5)), and how long a campaign waits for them. */
import { readdirSync, readFileSync } from 'node:fs';
import { type Clock, systemClock } from '@antipode/runtime';

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
  return processesOf(group).length > 0;
}

/** The processes by their numbers, each with the letter of its state. One in T was stopped from outside. */
export const statesOf = (group: number): string =>
  processesOf(group)
    .map((pid) => `process ${pid} is in state ${statOf(pid)?.state ?? 'X'}`)
    .join(', ');

const TICK_MS = 1_000;

/**
 * True when so much time has passed before `done`. A tick counts once, however late it comes. So the time in which
 * somebody has stopped the campaign does not count: its processes were not looked at meanwhile.
 */
export async function isTooLate(msMax: number, done: AbortSignal, clock: Clock = systemClock): Promise<boolean> {
  for (let leftMs = msMax; leftMs > 0 && !done.aborted; leftMs -= TICK_MS)
    await clock.sleep(Math.min(leftMs, TICK_MS), done);
  // Whatever came while the campaign stood still is heard first.
  await clock.makeWay();
  return !done.aborted;
}

const LOOK_EVERY_MS = 2;

/** A worker must not outlive its agent: two would work on one token. */
export async function untilDead(group: number, msMax: number): Promise<void> {
  for (let waitedMs = 0; groupIsRunning(group); waitedMs += LOOK_EVERY_MS) {
    if (waitedMs >= msMax) throw new Error(`a process has outlived the first of its group: ${statesOf(group)}`);
    await systemClock.sleep(LOOK_EVERY_MS);
  }
}

function processesOf(group: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => statOf(pid)?.group === group && isRunning(pid));
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
