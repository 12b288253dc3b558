/** One agent on one data folder: two would be one identity with two memories. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AntipodeError, type Closeable } from '@antipode/runtime';

/** Held by the operating system for the life of this process, so that a killed agent leaves nothing behind. @throws FILE_EXISTS */
export function lockFolder(folder: string): Closeable {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, 'agent.lock');
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw new AntipodeError('FILE_EXISTS', `another agent runs on ${folder}`, { details: { path }, cause });
  }
  return { close: async () => database.close() };
}
