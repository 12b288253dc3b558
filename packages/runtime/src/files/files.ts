/**
 * Files that are either whole or absent, also after a crash, and that stay with the user whose they are. Root writes into
 * folders of the services' users. So no link that such a user has put there is followed.
 */
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { AntipodeError } from '../errors.ts';

/**
 * Replaces `path` with `contents`: written beside it, synced, renamed, the folder synced. A file that is there keeps its
 * owner and mode; a new one belongs to the owner of its folder, so that what root writes is still read by the agent.
 * @throws FILE_UNWRITABLE
 */
export function writeFileDurably(
  path: string,
  contents: string | Uint8Array,
  { mode = 0o600 }: { mode?: number } = {},
): void {
  const staging = stagingOf(path);
  try {
    stageFile(path, contents, mode);
    renameSync(staging, path);
    syncFolder(dirname(path));
  } catch (cause) {
    if (existsSync(staging)) rmSync(staging);
    throw unwritable(path, cause);
  }
}

/** The name beside `path` under which it is written first. */
export const stagingOf = (path: string): string => `${path}.new-${process.pid}`;

/** Writes and syncs the file under its first name, with the owner and the mode that it is to have. */
export function stageFile(path: string, contents: string | Uint8Array, mode: number): void {
  makeFolder(dirname(path));
  const before = statOf(path);
  // Left by a process that has ended. A link that somebody has put there is not followed.
  rmSync(stagingOf(path), { force: true });
  const file = openSync(stagingOf(path), 'wx', mode);
  try {
    if (before === undefined) giveToOwnerOf(dirname(path), file);
    else {
      if (before.uid !== process.geteuid?.() || before.gid !== fstatSync(file).gid)
        fchownSync(file, before.uid, before.gid);
      fchmodSync(file, before.mode & 0o7777);
    }
    const bytes = typeof contents === 'string' ? Buffer.from(contents) : contents;
    for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

export function unwritable(path: string, cause: unknown): AntipodeError {
  const reason = cause instanceof Error ? `: ${cause.message}` : '';
  return new AntipodeError('FILE_UNWRITABLE', `cannot write ${path}${reason}`, { details: { path }, cause });
}

/** Makes a folder and what is above it, mode 0700, each with the owner of the folder that it is made in. */
export function makeFolder(path: string): void {
  const above = dirname(path);
  if (existsSync(path) || above === path) return void mkdirSync(path, { recursive: true, mode: 0o700 });
  makeFolder(above);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const { uid, gid } = statSync(above);
  if (isRoot() && uid !== 0) lchownSync(path, uid, gid);
}

/**
 * Makes an empty file where there is none, mode 0600, with the owner of its folder.
 * @throws FILE_UNWRITABLE for a link that leads nowhere: it would make a file of that owner wherever it points
 */
export function makeFile(path: string): void {
  if (existsSync(path)) return;
  let file: number;
  try {
    file = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    // Another process has made it meanwhile.
    if (existsSync(path)) return;
    throw unwritable(path, cause);
  }
  try {
    giveToOwnerOf(dirname(path), file);
  } finally {
    closeSync(file);
  }
}

/** Only root can give a file away, and only what root makes has to be. */
function giveToOwnerOf(folder: string, file: number): void {
  const { uid, gid } = statSync(folder);
  if (isRoot() && uid !== 0) fchownSync(file, uid, gid);
}

const isRoot = (): boolean => process.geteuid?.() === 0;

const statOf = (path: string): Stats | undefined => statSync(path, { throwIfNoEntry: false });

/** Makes the names in a folder durable. */
export const syncFolder = (path: string): void => syncFile(path);

/** Makes what was written to a file durable. */
export function syncFile(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
