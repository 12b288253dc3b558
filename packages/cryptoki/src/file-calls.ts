/** Calls of Linux for files that Node does not have. */
import koffi from 'koffi';

const [F_SETLK, F_RDLCK, F_WRLCK, SEEK_SET] = [6, 0, 1, 0];
/** `struct flock` with 64-bit offsets: type and whence (16 bits each), start, length, process. */
const FLOCK_BYTES = 32;
const [AT_FDCWD, RENAME_EXCHANGE] = [-100, 2];
const { EACCES, EAGAIN } = koffi.os.errno;

/**
 * Takes a record lock on a whole file without waiting (fcntl(2), F_SETLK), as SoftHSM does to keep its processes apart.
 * False where another process has a lock that excludes this one.
 *
 * A process has one lock on a file, whoever in it asked. It loses that lock when it closes any descriptor of the file.
 * So hold one only between two calls of a module that locks the same files.
 */
export function tryLockFile(descriptor: number, kind: 'shared' | 'exclusive'): boolean {
  const flock = Buffer.alloc(FLOCK_BYTES);
  flock.writeInt16LE(kind === 'shared' ? F_RDLCK : F_WRLCK, 0);
  flock.writeInt16LE(SEEK_SET, 2);
  if (calls().fcntl(descriptor, F_SETLK, 'void *', flock) === 0) return true;
  const errno = koffi.errno();
  if (errno === EACCES || errno === EAGAIN) return false;
  throw new Error(`fcntl: errno ${errno}`);
}

/** Exchanges two paths of one file system at one moment (renameat2(2)). Neither is ever absent. */
export function exchangePaths(one: string, other: string): void {
  if (calls().renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) === 0) return;
  throw new Error(`renameat2: errno ${koffi.errno()}`);
}

interface Calls {
  readonly fcntl: (descriptor: number, command: number, type: string, flock: Buffer) => number;
  readonly renameat2: (oldFolder: number, old: string, newFolder: number, path: string, flags: number) => number;
}

let loaded: Calls | undefined;

function calls(): Calls {
  if (process.platform !== 'linux') throw new Error('record locks and exchanges are known of Linux only');
  if (loaded !== undefined) return loaded;
  const library = koffi.load('libc.so.6');
  loaded = {
    fcntl: library.func('int fcntl(int descriptor, int command, ...)') as Calls['fcntl'],
    renameat2: library.func('renameat2', 'int', ['int', 'str', 'int', 'str', 'uint']) as Calls['renameat2'],
  };
  return loaded;
}
