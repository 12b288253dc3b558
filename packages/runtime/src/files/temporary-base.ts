/** Where temporary folders may lie that another user, and a socket, must fit into. */
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { AntipodeError } from '../errors.ts';

/** Sockets of PostgreSQL and Redis lie in it, and the path of a socket ends at 107 bytes. */
const PATH_BYTES_MAX = 56;

/** Whether anybody can pass through a folder and all above it. */
export function isOpenToAll(folder: string): boolean {
  for (let path = realpathSync(folder); ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

/**
 * The folder for temporary files. PostgreSQL refuses to run as root: if we are root, it runs as another user, who must
 * be able to reach its data. A private TMPDIR is closed to that user, so a folder that every machine has is used
 * instead.
 *
 * @throws CONFIG_INVALID
 */
export function temporaryBase({
  isRoot = process.getuid?.() === 0,
  candidates = [tmpdir(), '/tmp', '/var/tmp'],
}: {
  isRoot?: boolean;
  candidates?: readonly string[];
} = {}): string {
  const found = candidates.find((folder) => {
    try {
      accessSync(folder, constants.W_OK | constants.X_OK);
      return Buffer.byteLength(folder) <= PATH_BYTES_MAX && (!isRoot || isOpenToAll(folder));
    } catch {
      return false;
    }
  });
  if (found !== undefined) return found;
  throw new AntipodeError(
    'CONFIG_INVALID',
    `found no suitable folder for temporary files: ${candidates.join(', ')}; set TMPDIR to one with a short path that ${isRoot ? 'every user' : 'this user'} can enter`,
    { details: { path: candidates[0] ?? '' } },
  );
}
