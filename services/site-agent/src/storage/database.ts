/**
 * Shared by the two databases of an agent: errors of SQLite in codes of ours, and the wait for a lock that another
 * program holds. A statement waits a quarter of a second at most, since it holds up the heartbeats. An order waits
 * longer, without holding up anything.
 */
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { AntipodeError, type Clock, hasCode, makeFile, makeFolder } from '@antipode/runtime';

/** Longer than any transaction of `partition init`, far shorter than a heartbeat's time limit. */
export const STATEMENT_WAIT_MS = 250;
/** A start has nothing to hold up. */
export const OPEN_WAIT_MS = 5_000;
/** Longer than a backup program copies a journal; an order that waited in vain is repeated by the coordinator. */
export const ORDER_WAIT_MS = 30_000;
const ATTEMPT_MS = 100;

/** SQLite's result codes (sqlite.org/rescode.html), without their extension. */
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** Whether a statement failed because of the disk or the file. Everything else is a defect of ours, and stays what it is. */
export const isSqliteFault = (cause: unknown): boolean => (cause as { code?: string }).code === 'ERR_SQLITE_ERROR';

/** @returns FILE_BUSY, FILE_DAMAGED or FILE_UNWRITABLE */
export function sqliteFault(cause: unknown, path: string): AntipodeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const options = { details: { path }, cause };
  switch (((cause as { errcode?: number }).errcode ?? 0) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return new AntipodeError('FILE_BUSY', `another program holds a lock on ${path}: ${reason}`, options);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new AntipodeError('FILE_DAMAGED', `${path} is not a sound database: ${reason}`, options);
    default:
      return new AntipodeError('FILE_UNWRITABLE', `database statement failed on ${path}: ${reason}`, options);
  }
}

/** One statement. @throws FILE_BUSY, FILE_DAMAGED, FILE_UNWRITABLE */
export function reaching<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw isSqliteFault(cause) ? sqliteFault(cause, path) : cause;
  }
}

/** Statements of one database by their text, which is written in the program: each is compiled once. */
export class PreparedStatements {
  readonly #database: DatabaseSync;
  readonly #byText = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  of(sql: string): StatementSync {
    const known = this.#byText.get(sql);
    if (known !== undefined) return known;
    const prepared = this.#database.prepare(sql);
    this.#byText.set(sql, prepared);
    return prepared;
  }
}

/** All or nothing, durable on return. @throws FILE_BUSY, FILE_DAMAGED, FILE_UNWRITABLE */
export function transaction(database: DatabaseSync, work: () => void): void {
  const path = pathOf(database);
  reaching(path, () => database.exec('BEGIN IMMEDIATE'));
  try {
    work();
    database.exec('COMMIT');
  } catch (cause) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw cause instanceof AntipodeError ? cause : sqliteFault(cause, path);
  }
}

export const pathOf = (database: DatabaseSync): string => database.location() ?? 'a database in memory';

/**
 * Returns when nobody holds a lock on the database, at once in most cases. Holds up nothing meanwhile.
 * @throws FILE_BUSY after `limitMs`, FILE_UNWRITABLE, FILE_DAMAGED
 */
export async function untilWritable(
  database: DatabaseSync,
  { clock, signal, limitMs = ORDER_WAIT_MS }: { clock: Clock; signal?: AbortSignal | undefined; limitMs?: number },
): Promise<void> {
  const startedMs = clock.monotonicMs();
  for (;;) {
    const fault = faultOf(database, () => database.exec('BEGIN IMMEDIATE; ROLLBACK'));
    if (fault === undefined) return;
    const isOver = clock.monotonicMs() - startedMs >= limitMs || signal?.aborted === true;
    if (fault.code !== 'FILE_BUSY' || isOver) throw fault;
    await clock.sleep(ATTEMPT_MS, signal);
  }
}

/**
 * The reason why the database cannot be written to, if there is one. It writes a value that is there already, and waits
 * for nobody.
 */
export function writeFault(database: DatabaseSync): AntipodeError | undefined {
  return faultOf(database, () => {
    const version = database.prepare('PRAGMA user_version').get()?.['user_version'];
    database.exec(`BEGIN IMMEDIATE; PRAGMA user_version = ${Number(version)}; COMMIT`);
  });
}

function faultOf(database: DatabaseSync, work: () => void): AntipodeError | undefined {
  const path = pathOf(database);
  try {
    database.exec('PRAGMA busy_timeout = 0');
    reaching(path, work);
    return undefined;
  } catch (thrown) {
    if (database.isTransaction) database.exec('ROLLBACK');
    if (thrown instanceof AntipodeError) return thrown;
    throw thrown;
  } finally {
    database.exec(`PRAGMA busy_timeout = ${STATEMENT_WAIT_MS}`);
  }
}

/** Given instead of a path: the database is in memory and ends with the process. */
export const IN_MEMORY = ':memory:';

/** Opens the file of a database, or makes it. A simulation gives one that outlives its process. */
export type Connect = (path: string) => DatabaseSync;

const connectTo: Connect = (path) => new DatabaseSync(path, { timeout: OPEN_WAIT_MS });

/**
 * Opens a database that is durable on commit, and brings an empty or an older one to its schema.
 * @throws FILE_UNWRITABLE (including a database of a newer program), FILE_BUSY, FILE_DAMAGED
 */
export function openDatabase(
  path: string,
  {
    schema,
    version,
    upgrades = {},
    connect = connectTo,
  }: { schema: string; version: number; upgrades?: Readonly<Record<number, string>>; connect?: Connect | undefined },
): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    if (path !== IN_MEMORY) {
      makeFolder(dirname(path));
      makeFile(path);
    }
    database = connect(path);
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
    const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
    if (found > version) throw new NewerSchema(`it has schema version ${found}, expected at most ${version}`);
    const opened = database;
    if (found === 0) transaction(opened, () => opened.exec(`${schema}; PRAGMA user_version = ${version}`));
    for (let older = found; older > 0 && older < version; older += 1)
      transaction(opened, () => opened.exec(`${upgrades[older] ?? ''}; PRAGMA user_version = ${older + 1}`));
    database.exec(`PRAGMA busy_timeout = ${STATEMENT_WAIT_MS}`);
    return database;
  } catch (cause) {
    database?.close();
    if (hasCode(cause, 'FILE_BUSY', 'FILE_DAMAGED')) throw cause;
    const fault = isSqliteFault(cause) ? sqliteFault(cause, path) : undefined;
    if (fault !== undefined && fault.code !== 'FILE_UNWRITABLE') throw fault;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const hint = cause instanceof NewerSchema ? NEWER_HINT : undefined;
    throw new AntipodeError('FILE_UNWRITABLE', `cannot open ${path}: ${reason}`, {
      details: { path },
      cause,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

class NewerSchema extends Error {}
const NEWER_HINT =
  'Start the newer version of Antipode that wrote it: the file is sound. Do not remove it, and do not replace it with an older copy.';
