/**
 * PIN and keys pass through the memory of a process that loads a module (I5). On Linux the process asks its system to
 * end it with its parent, to write no core file, and to keep single pages out of swap. Elsewhere it asks for nothing.
 */
import koffi from 'koffi';

/** prctl(2). */
const [PR_SET_PDEATHSIG, PR_SET_DUMPABLE, SIGKILL] = [1, 4, 9];

/**
 * From now on this process is killed when its parent ends, and its memory can be read by no process of the same user.
 */
export function hardenProcess(): void {
  if (process.platform !== 'linux') return;
  const prctl = koffi.load('libc.so.6').func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/** Keeps the pages of these bytes out of swap (mlock(2)), as far as the limit of the process permits. */
export const lockBytes = (bytes: Buffer): boolean =>
  process.platform === 'linux' && bytes.length > 0 && memory().mlock(bytes, bytes.length) === 0;

export const unlockBytes = (bytes: Buffer): void => void memory().munlock(bytes, bytes.length);

interface MemoryCalls {
  readonly mlock: (bytes: Buffer, length: number) => number;
  readonly munlock: (bytes: Buffer, length: number) => number;
}

let loaded: MemoryCalls | undefined;

function memory(): MemoryCalls {
  if (loaded !== undefined) return loaded;
  const library = koffi.load('libc.so.6');
  loaded = {
    mlock: library.func('mlock', 'int', ['void *', 'size_t']),
    munlock: library.func('munlock', 'int', ['void *', 'size_t']),
  };
  return loaded;
}
