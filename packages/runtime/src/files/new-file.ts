/**
 * Files that are made where there is none, and that replace nothing. Of two processes at once, one makes the file. It is
 * whole when its name appears, also after a crash.
 */
import { constants, copyFileSync, existsSync, linkSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { AntipodeError } from '../errors.ts';
import { stageFile, stagingOf, syncFile, syncFolder, unwritable } from './files.ts';

/** For a command that finds out before it begins its work. @throws FILE_EXISTS */
export function requireNoFile(path: string, { hint }: { hint?: string } = {}): void {
  if (existsSync(path)) throw fileExists(path, { hint });
}

/** @throws FILE_EXISTS, FILE_UNWRITABLE */
export function writeNewFile(path: string, contents: string | Uint8Array, options: { mode?: number } = {}): void {
  if (!writeFileOnce(path, contents, options)) throw fileExists(path);
}

/** Whether it was this call that wrote the file. @throws FILE_UNWRITABLE */
export function writeFileOnce(
  path: string,
  contents: string | Uint8Array,
  { mode = 0o600 }: { mode?: number } = {},
): boolean {
  if (existsSync(path)) return false;
  try {
    stageFile(path, contents, mode);
  } catch (cause) {
    if (existsSync(stagingOf(path))) rmSync(stagingOf(path));
    throw unwritable(path, cause);
  }
  return placeFileOnce(path);
}

/**
 * Gives a file, durable under its staging name, its own name. The staging name is removed. Whether it was this
 * call that did it.
 * @throws FILE_UNWRITABLE
 */
export function placeFileOnce(path: string, link: typeof linkSync = linkSync): boolean {
  const staging = stagingOf(path);
  try {
    try {
      // Unlike a rename, a link replaces nothing.
      link(staging, path);
    } catch (cause) {
      if (!hasNoLinks(cause)) throw cause;
      copyFileSync(staging, path, constants.COPYFILE_EXCL);
      syncFile(path);
    }
    syncFolder(dirname(path));
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw unwritable(path, cause);
  } finally {
    rmSync(staging, { force: true });
  }
}

/** FAT and its like, which people carry about, have no links. A crash can leave half a file there. */
const hasNoLinks = (cause: unknown): boolean =>
  ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes((cause as NodeJS.ErrnoException).code ?? '');

const fileExists = (path: string, { hint }: { hint?: string | undefined } = {}): AntipodeError =>
  new AntipodeError('FILE_EXISTS', `${path} already exists and is kept as it is`, {
    details: { path },
    ...(hint === undefined ? {} : { hint }),
  });
