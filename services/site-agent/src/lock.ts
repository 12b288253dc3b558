/** One agent on one data folder: two would be one identity with two memories. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AntipodeError, type Closeable } from '@antipode/runtime';

/** SQLite's result code for a lock that another connection holds. */
const SQLITE_BUSY = 5;

/**
 * Held by the operating system for the life of this process, so that a killed agent leaves nothing behind.
 * @throws FILE_EXISTS when another agent runs on the folder, FILE_UNWRITABLE
 */
export function lockFolder(folder: string): Closeable {
  const path = join(folder, 'agent.lock');
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database?.close();
    const isHeld = (cause as { errcode?: number }).errcode === SQLITE_BUSY;
    throw isHeld
      ? new AntipodeError('FILE_EXISTS', `another agent runs on ${folder}`, { details: { path }, cause })
      : new AntipodeError('FILE_UNWRITABLE', `cannot lock ${folder}`, { details: { path }, cause });
  }
  const held = database;
  return { close: async () => held.close() };
}
