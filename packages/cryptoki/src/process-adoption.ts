/**
 * A process that answers for everything it has started. Linux makes it the parent of each orphan below it, so that a
 * program that leaves its parent and its session is still found below. Needs Linux 3.4 (prctl(2)).
 */
import koffi from 'koffi';

const PR_SET_CHILD_SUBREAPER = 36;
/** waitpid(2). */
const WNOHANG = 1;

/** From now on, and until it ends, this process adopts the orphans below it. @returns whether the system does it */
export function adoptOrphans(): boolean {
  if (process.platform !== 'linux') return false;
  const prctl = koffi.load('libc.so.6').func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);
  return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) === 0;
}

let waitpid: ((pid: number, status: null, options: number) => number) | undefined;

/** Takes an adopted child that has ended off the list of processes. Never for a child that Node has started. */
export function reapChild(pid: number): void {
  waitpid ??= koffi.load('libc.so.6').func('waitpid', 'int', ['int', 'void *', 'int']);
  waitpid?.(pid, null, WNOHANG);
}
