/**
 * Reading and writing object files beside the other processes of a token. SoftHSM takes a record lock on a file while it
 * reads or writes it, and writes in place. So a file that is read under a shared lock is whole. A process notices a new
 * object when the number in the file `generation` has changed.
 *
 * New objects are written under another name, synced, and then linked to a name that SoftHSM lists. The link never
 * replaces a file. A kill at any moment leaves at most files that SoftHSM does not list, and the next call takes those
 * away. Only names that begin with {@link PREFIX} are made, replaced or removed.
 */
import {
  closeSync,
  constants,
  type Dirent,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { tryLockFile } from '@antipode/cryptoki';
import { AntipodeError, type Clock, syncFolder } from '@antipode/runtime';
import { GENERATION_BYTES } from './object-file.ts';
import { attempt, GENERATION_FILE, LOCK_SUFFIX, OBJECT_SUFFIX, TOKEN_FILE, type TokenFolder } from './token-folder.ts';

export const PREFIX = 'antipode-';
const STAGING_SUFFIX = '.staged';
/** Whoever makes objects here holds its lock. SoftHSM does not look at a file without a suffix of its own. */
const MAKING_FILE = `${PREFIX}making`;
const NOTHING = Buffer.alloc(0);
const MODE_BITS = 0o7777;

/** SoftHSM holds a lock for one read or write. Another process that is stopped may hold one for ever. */
const LOCK_LOOKS = 40;
const LOCK_PAUSE_MS = 25;
/** Another agent on the same token makes a batch of objects in a fraction of that, and a dead one holds no lock. */
const MAKING_LOOKS = 1_200;

export class ObjectStore {
  readonly #folder: TokenFolder;
  readonly #clock: Clock;

  constructor({ folder, clock }: { folder: TokenFolder; clock: Clock }) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /** Names of the files of all objects, without the suffix. SoftHSM takes only regular files for objects. */
  names(): string[] {
    return this.#list()
      .filter((entry) => entry.isFile() && entry.name.endsWith(OBJECT_SUFFIX) && entry.name !== TOKEN_FILE)
      .map(({ name }) => name.slice(0, -OBJECT_SUFFIX.length));
  }

  /**
   * The file of an object, as it is between two writes. Undefined where there is none, where this process cannot read it,
   * or where another process does not give up its lock: it holds up nothing but its own object (I15).
   */
  async read(name: string): Promise<Buffer | undefined> {
    const file = openIfReadable(this.#path(name, OBJECT_SUFFIX));
    if (file === undefined) return undefined;
    try {
      return (await this.#tryLock(file, 'shared')) ? readAll(file) : undefined;
    } catch (thrown) {
      return unlessOfTheFile(thrown);
    } finally {
      closeSync(file);
    }
  }

  /** A small file of this folder beside the objects. Undefined if it is missing, or this process cannot read it. */
  readBeside(fileName: string, bytesMax: number): Buffer | undefined {
    const file = openIfReadable(join(this.#folder.path, fileName));
    if (file === undefined) return undefined;
    try {
      const bytes = Buffer.alloc(bytesMax);
      return bytes.subarray(0, readSync(file, bytes, 0, bytesMax, 0));
    } catch (thrown) {
      return unlessOfTheFile(thrown);
    } finally {
      closeSync(file);
    }
  }

  has(name: string): boolean {
    return lstatSync(this.#path(name, OBJECT_SUFFIX), { throwIfNoEntry: false })?.isFile() === true;
  }

  /**
   * The number in front of an object file, which SoftHSM counts up with each write. Without the lock: whoever reads while
   * another process writes gets the number before or after, or none.
   */
  generationOf(name: string): bigint | undefined {
    const file = openIfReadable(this.#path(name, OBJECT_SUFFIX));
    if (file === undefined) return undefined;
    try {
      const bytes = Buffer.allocUnsafe(GENERATION_BYTES);
      return readSync(file, bytes, 0, GENERATION_BYTES, 0) < GENERATION_BYTES ? undefined : bytes.readBigUInt64BE(0);
    } catch (thrown) {
      return unlessOfTheFile(thrown);
    } finally {
      closeSync(file);
    }
  }

  /**
   * Runs `work` while no other process makes objects here. Two agents may serve one token. Otherwise one sweeps away what
   * the other has not linked yet, or the lock file of an object that it is just linking: SoftHSM never destroys that.
   * @throws HSM_UNAVAILABLE, and what the system says of a folder that cannot be written
   */
  async alone<T>(work: () => T): Promise<T> {
    const path = join(this.#folder.path, MAKING_FILE);
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) this.#write(path, NOTHING);
    const file = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      if (!(await this.#tryLock(file, 'exclusive', MAKING_LOOKS)))
        throw new AntipodeError(
          'HSM_UNAVAILABLE',
          `another process has held the lock of ${path} for ${MAKING_LOOKS * LOCK_PAUSE_MS} ms`,
          { details: { path } },
        );
      return work();
    } finally {
      closeSync(file);
    }
  }

  /** Makes the file of a new object. It is durable after {@link sync}, and running processes see it after {@link announce}. */
  make(name: string, contents: Buffer): void {
    // SoftHSM cannot destroy an object without it.
    this.#write(this.#path(name, LOCK_SUFFIX), NOTHING);
    const staged = this.#path(name, STAGING_SUFFIX);
    this.#write(staged, contents, constants.O_EXCL);
    linkSync(staged, this.#path(name, OBJECT_SUFFIX));
    unlinkSync(staged);
  }

  /** Makes the names in the folder durable. */
  sync(): void {
    syncFolder(this.#folder.path);
  }

  /** Writes a small file of this folder that is not an object. */
  writeBeside(fileName: string, contents: Buffer): void {
    this.#write(join(this.#folder.path, fileName), contents);
  }

  /** Names of all files, whatever they are. */
  allNames(): string[] {
    return this.#list().map(({ name }) => name);
  }

  /** Writes an object, or `token`, with its lock file into a folder that SoftHSM does not take for a token. */
  copyIn(name: string, contents: Buffer): void {
    this.#write(this.#path(name, LOCK_SUFFIX), NOTHING);
    this.#write(this.#path(name, OBJECT_SUFFIX), contents);
  }

  /** Takes away an object that {@link make} has made. */
  remove(name: string): void {
    if (!name.startsWith(PREFIX)) throw new Error('only files of our own are removed');
    rmSync(this.#path(name, OBJECT_SUFFIX), { force: true });
    rmSync(this.#path(name, LOCK_SUFFIX), { force: true });
    syncFolder(this.#folder.path);
  }

  /** Removes the files that an interrupted call has left. None of them is an object yet. Only in {@link alone}. */
  sweep(): void {
    const all = new Set(this.#list().map(({ name }) => name));
    for (const name of all) {
      if (!name.startsWith(PREFIX)) continue;
      const isLoneLock = name.endsWith(LOCK_SUFFIX) && !all.has(name.slice(0, -LOCK_SUFFIX.length) + OBJECT_SUFFIX);
      if (name.endsWith(STAGING_SUFFIX) || isLoneLock) rmSync(join(this.#folder.path, name), { force: true });
    }
  }

  /** The number that SoftHSM counts up with each object that comes or goes. */
  generation(): bigint {
    const path = join(this.#folder.path, GENERATION_FILE);
    const bytes = attempt(`cannot read ${path}`, () => readFileSync(path));
    return bytes.length < GENERATION_BYTES ? 0n : bytes.readBigUInt64BE(0);
  }

  /**
   * Has running processes look at the folder again, as SoftHSM does itself. `after`: of a new folder, the generation of
   * the one in whose place it comes.
   * @throws HSM_UNAVAILABLE
   */
  async announce({ after }: { after?: bigint } = {}): Promise<void> {
    const path = join(this.#folder.path, GENERATION_FILE);
    const isNew = after !== undefined || lstatSync(path, { throwIfNoEntry: false }) === undefined;
    if (isNew) this.#write(path, NOTHING);
    const file = attempt(`cannot open ${path}`, () => openSync(path, constants.O_RDWR));
    try {
      if (!(await this.#tryLock(file, 'exclusive')))
        throw new AntipodeError(
          'HSM_UNAVAILABLE',
          `another process has held the lock of ${path} for ${LOCK_LOOKS * LOCK_PAUSE_MS} ms`,
          { details: { path } },
        );
      const bytes = readAll(file);
      const next = Buffer.alloc(GENERATION_BYTES);
      // Where somebody has removed the file, a number that no process has seen: SoftHSM counts, and does not get so far.
      const unseen = BigInt(this.#clock.wallMs());
      const before = after ?? (bytes.length < GENERATION_BYTES ? unseen : bytes.readBigUInt64BE(0));
      const counted = BigInt.asUintN(64, before + 1n);
      // SoftHSM has no generation 0.
      next.writeBigUInt64BE(counted === 0n ? 1n : counted);
      writeSync(file, next, 0, next.length, 0);
    } finally {
      closeSync(file);
    }
  }

  #path(name: string, suffix: string): string {
    return `${this.#folder.path}/${name}${suffix}`;
  }

  #list(): Dirent[] {
    const { path } = this.#folder;
    return attempt(`cannot list ${path}`, () => readdirSync(path, { withFileTypes: true }));
  }

  async #tryLock(file: number, kind: 'shared' | 'exclusive', looks = LOCK_LOOKS): Promise<boolean> {
    for (let look = 1; look <= looks; look += 1) {
      if (tryLockFile(file, kind)) return true;
      await this.#clock.sleep(LOCK_PAUSE_MS);
    }
    return false;
  }

  /** With the owner and mode that the token's other files have. */
  #write(path: string, contents: Buffer, flags = 0): void {
    const { fileMode, uid, gid } = this.#folder;
    const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | flags, fileMode);
    try {
      const made = fstatSync(file);
      if (made.uid !== uid || made.gid !== gid) fchownSync(file, uid, gid);
      if ((made.mode & MODE_BITS) !== fileMode) fchmodSync(file, fileMode);
      for (let written = 0; written < contents.length; ) written += writeSync(file, contents, written);
      // An empty file has nothing to lose.
      if (contents.length > 0) fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }
}

/** The process itself has no room for another file: no object can be read then. */
const OF_THE_PROCESS: ReadonlySet<string | undefined> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** Undefined for what the system says of one file, such as that this user must not read it. */
function unlessOfTheFile(thrown: unknown): undefined {
  const { code, syscall } = thrown as NodeJS.ErrnoException;
  if (syscall === undefined || OF_THE_PROCESS.has(code)) throw thrown;
  return undefined;
}

/** Follows no symbolic link, as SoftHSM does not, and waits for nobody who would write into a pipe. */
function openIfReadable(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    return unlessOfTheFile(thrown);
  }
}

function readAll(file: number): Buffer {
  const { size } = fstatSync(file);
  const bytes = Buffer.alloc(size);
  let length = 0;
  while (length < size) {
    const read = readSync(file, bytes, length, size - length, length);
    if (read === 0) break;
    length += read;
  }
  return bytes.subarray(0, length);
}
