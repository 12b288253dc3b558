/** One process on one data folder. Taken before anything in the folder is touched. */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AntipodeError } from '../errors.ts';
import { readBoot } from '../process/boot.ts';
import type { Closeable } from '../process/lifecycle.ts';
import { makeFile, makeFolder, writeFileDurably } from './files.ts';

export interface FolderLock extends Closeable {
  /**
   * Names what is locked: the start of the machine, the file system and the file. Of two processes with the same place, the
   * earlier one has ended. A copy of the folder has another place. Empty where the system does not name its start.
   */
  readonly place: string;
}

/** SQLite's result code for a lock that another connection holds. */
const SQLITE_BUSY = 5;

/**
 * Held by the operating system for the life of this process, so that a killed one leaves nothing behind.
 * @throws FILE_EXISTS when another `program` runs on the folder; its number is in the message. FILE_UNWRITABLE
 */
export function lockFolder(folder: string, { program }: { program: 'agent' | 'coordinator' }): FolderLock {
  const path = join(folder, `${program}.lock`);
  const pidFile = join(folder, `${program}.pid`);
  let database: DatabaseSync | undefined;
  try {
    makeFolder(folder);
    makeFile(path);
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    writeFileDurably(pidFile, `${process.pid}\n`);
  } catch (cause) {
    database?.close();
    const isHeld = (cause as { errcode?: number }).errcode === SQLITE_BUSY;
    if (!isHeld) throw new AntipodeError('FILE_UNWRITABLE', `cannot lock ${folder}`, { details: { path }, cause });
    const pid = holderIn(pidFile);
    throw new AntipodeError(
      'FILE_EXISTS',
      `another ${program}${pid === undefined ? '' : `, process ${pid},`} runs on ${folder}`,
      {
        details: { path, ...(pid === undefined ? {} : { pid }) },
        cause,
        hint: `Leave the running one, or stop it first. Another ${program} needs its own \`dataFolder\`. Remove nothing from this one.`,
      },
    );
  }
  const held = database;
  return {
    place: placeOf(path),
    close: async () => {
      if (!held.isOpen) return;
      rmSync(pidFile, { force: true });
      held.close();
    },
  };
}

/** A digest: the number of a file says nothing to others. */
function placeOf(path: string): string {
  const boot = readBoot();
  if (boot === undefined) return '';
  const { dev, ino } = statSync(path, { bigint: true });
  return createHash('sha256').update(`${boot.id} ${dev} ${ino}`).digest('hex').slice(0, PLACE_LENGTH);
}

const PLACE_LENGTH = 32;

/** The record of the holder. It may have taken the lock just now, and not written yet. */
function holderIn(pidFile: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile, 'utf8').trim());
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
