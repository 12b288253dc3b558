/** Which process a call started: a worker is not dumpable, so that not even its own user may read its environment. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

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

/**
 * Ends every process that runs in a folder of the test or has its path among its arguments. Daemons, such as gpg-agent,
 * outlive the shell that started them, and some of them their folder.
 */
export function endProcessesOf(folder: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      const isOurs =
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder) || readlinkSync(`/proc/${pid}/cwd`) === folder;
      if (isOurs) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended, or belongs to another user.
    }
  }
}
