/** Which process a call started: a worker is not dumpable, so that not even its own user may read its environment. */
import { readFileSync } from 'node:fs';

/** Runs `start` and returns the process number of the one child of this process that it left behind. */
export async function childStartedBy(start: () => Promise<unknown>): Promise<number> {
  const before = new Set(children());
  await start();
  const started = children().filter((child) => !before.has(child));
  if (started.length !== 1) throw new Error(`expected one new child process, got ${started.length}`);
  return started[0]!;
}

/** The children of this process's main thread, by proc_pid_task(5). */
function children(): number[] {
  const list = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8');
  return list.split(' ').filter(Boolean).map(Number);
}
