/** Files that are either whole or absent, also after a crash. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { AntipodeError } from './errors.ts';

/** Replaces `path` with `contents`: written beside it, synced, renamed, the folder synced. @throws FILE_UNWRITABLE */
export function writeFileDurably(
  path: string,
  contents: string | Uint8Array,
  { mode = 0o600 }: { mode?: number } = {},
): void {
  const staging = `${path}.new-${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const file = openSync(staging, 'w', mode);
    try {
      const bytes = typeof contents === 'string' ? Buffer.from(contents) : contents;
      for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(staging, path);
    syncFolder(dirname(path));
  } catch (cause) {
    if (existsSync(staging)) rmSync(staging);
    throw new AntipodeError('FILE_UNWRITABLE', `cannot write ${path}`, { details: { path }, cause });
  }
}

/** Makes the names in a folder durable. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
