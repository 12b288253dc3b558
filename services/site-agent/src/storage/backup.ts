/**
 * Copies what an agent remembers while the agent runs: journal, store, pins and configuration. Takes no lock that a writer
 * would wait for, and holds no PIN and no key: the store holds sealed objects only (I5).
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AntipodeError, makeFile, makeFolder, sha256Hex, syncFolder, writeFileDurably } from '@antipode/runtime';
import type { AgentConfig } from '../config.ts';
import { OPEN_WAIT_MS, reaching } from './database.ts';

/** The journal first: every generation that the copy of it names is then in the copy of the store, which is made later. */
const DATABASES = ['journal.db', 'generations.db'] as const;

export interface BackedUp {
  readonly site: string;
  readonly folder: string;
  readonly takenAt: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
}

/**
 * Writes the copy into a folder that is new or empty, checks it, and makes it durable. If that fails, the folder is
 * left as it was.
 * @throws FILE_EXISTS if something is in the folder, NOT_FOUND if the agent has no journal yet, FILE_BUSY,
 * FILE_DAMAGED, FILE_UNWRITABLE
 */
export function backUpAgent(
  config: AgentConfig,
  { configFile, to, nowMs }: { configFile: string; to: string; nowMs: number },
): BackedUp {
  if (existsSync(to) && readdirSync(to).length > 0)
    throw new AntipodeError('FILE_EXISTS', `${to} is not empty`, {
      details: { path: to },
      hint: 'Name a new or empty folder. A backup must come from one moment.',
    });
  const journal = join(config.dataFolder, DATABASES[0]);
  if (!existsSync(journal))
    throw new AntipodeError('NOT_FOUND', `found no journal at ${journal}`, {
      details: { path: journal },
      hint: 'Check `dataFolder` in the configuration. `antipode partition init <partition>` makes the journal.',
    });
  const made: string[] = [];
  const add = (name: string): string => {
    made.push(join(to, name));
    return join(to, name);
  };
  try {
    makeFolder(to);
    for (const name of DATABASES)
      if (existsSync(join(config.dataFolder, name))) copyDatabase(join(config.dataFolder, name), add(name));
    for (const path of [config.pinsFile, configFile])
      if (existsSync(path)) writeFileDurably(add(basename(path)), readFileSync(path));
    const files = made.map((path) => {
      const bytes = readFileSync(path);
      return { name: basename(path), bytes: bytes.length, sha256: sha256Hex(bytes) };
    });
    const backedUp = { site: config.site, folder: to, takenAt: new Date(nowMs).toISOString(), files };
    writeFileDurably(add('backup.json'), `${JSON.stringify(backedUp, undefined, 2)}\n`);
    return backedUp;
  } catch (thrown) {
    for (const path of made) rmSync(path, { force: true });
    if (thrown instanceof AntipodeError) throw thrown;
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new AntipodeError('FILE_UNWRITABLE', `cannot write the backup to ${to}: ${reason}`, {
      details: { path: to },
      cause: thrown,
    });
  }
}

/** One moment of it, by a read transaction, which in WAL mode no writer waits for. */
function copyDatabase(from: string, to: string): void {
  makeFile(to);
  const source = reaching(from, () => new DatabaseSync(from, { readOnly: true, timeout: OPEN_WAIT_MS }));
  try {
    reaching(from, () => source.prepare('VACUUM INTO ?').run(to));
  } finally {
    source.close();
  }
  const copy = new DatabaseSync(to);
  try {
    const [found] = Object.values(reaching(to, () => copy.prepare('PRAGMA integrity_check(1)').get()) ?? {});
    if (found !== 'ok')
      throw new AntipodeError('FILE_DAMAGED', `the copy of ${from} is not sound: ${found}`, {
        details: { path: from },
      });
  } finally {
    copy.close();
  }
  syncFolder(to);
}
