/** One agent on one data folder: two would be one identity with two memories. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AntipodeError, type Closeable, makeFile, makeFolder } from '@antipode/runtime';

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
    makeFolder(folder);
    makeFile(path);
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database?.close();
    const isHeld = (cause as { errcode?: number }).errcode === SQLITE_BUSY;
    throw isHeld
      ? new AntipodeError('FILE_EXISTS', `another agent runs on ${folder}`, {
          details: { path },
          cause,
          hint: 'It is running already: leave it, or stop it first. Another agent needs a `dataFolder` of its own. Remove nothing from this one: its journal is in use.',
        })
      : new AntipodeError('FILE_UNWRITABLE', `cannot lock ${folder}`, { details: { path }, cause });
  }
  const held = database;
  return { close: async () => held.close() };
}
