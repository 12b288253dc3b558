/**
 * Identifies this journal and how far it has come: an id of its own, and for each run of the agent a random token and a
 * count of writes. A reader that has heard of a run and a count recognises an older copy of the journal: the copy does
 * not have the run, or has fewer writes in it. It also keeps the groups in which this site does nothing until an
 * operator seats it again.
 */
import type { DatabaseSync } from 'node:sqlite';
import { hex, type Prng } from '@antipode/runtime';
import { PreparedStatements } from '../database.ts';

export const JOURNAL_HISTORY = `
  CREATE TABLE journal (id TEXT PRIMARY KEY) STRICT;
  CREATE TABLE run (seq INTEGER PRIMARY KEY, token TEXT NOT NULL, writes INTEGER NOT NULL) STRICT;
  CREATE TABLE quarantine (grp TEXT PRIMARY KEY, reason TEXT NOT NULL) STRICT`;

/** Where each run had its folder; a table of its own, so that an earlier agent can go on with the file. */
export const RUN_PLACE = 'CREATE TABLE run_place (token TEXT PRIMARY KEY, place TEXT NOT NULL) STRICT';

/** As many runs as a coordinator may have been away for. Sent with each heartbeat, so not more than a few kilobytes. */
const RUNS_MAX = 64;

export interface JournalRun {
  readonly token: string;
  readonly writes: bigint;
  /** Of the lock that the process held; absent where none is on record. */
  readonly place?: string;
}

export interface JournalAccount {
  readonly id: string;
  /** Oldest first; the last one is under way. */
  readonly runs: readonly JournalRun[];
}

export interface JournalMark {
  readonly id: string;
  readonly run: string;
  readonly writes: bigint;
}

/** Every method is called inside a transaction of the journal. */
export class JournalHistory {
  readonly #database: DatabaseSync;
  readonly #prepared: PreparedStatements;
  readonly #prng: Prng;
  /** Of the lock that this process holds; empty for a process that holds none. */
  place = '';
  #seq: number | undefined;

  constructor({ database, prng }: { database: DatabaseSync; prng: Prng }) {
    this.#database = database;
    this.#prepared = new PreparedStatements(database);
    this.#prng = prng;
  }

  /** Called once for each write; the first write of a process begins its run. */
  count(): void {
    if (this.#seq === undefined) this.#begin();
    else this.#prepared.of('UPDATE run SET writes = writes + 1 WHERE seq = ?').run(this.#seq);
  }

  get account(): JournalAccount {
    const id = this.#prepared.of('SELECT id FROM journal').get()?.['id'];
    const runs = this.#prepared
      .of(
        'SELECT run.token, writes, place FROM run LEFT JOIN run_place ON run_place.token = run.token ORDER BY seq = ?, seq',
      )
      .all(this.#seq ?? 0)
      .map((row) => ({
        token: String(row['token']),
        writes: BigInt(row['writes'] as number),
        ...(typeof row['place'] === 'string' ? { place: row['place'] } : {}),
      }));
    return { id: String(id ?? ''), runs };
  }

  get mark(): JournalMark | undefined {
    if (this.#seq === undefined) return undefined;
    const row = this.#prepared.of('SELECT journal.id, token, writes FROM journal, run WHERE seq = ?').get(this.#seq);
    return row && { id: String(row['id']), run: String(row['token']), writes: BigInt(row['writes'] as number) };
  }

  #begin(): void {
    const database = this.#database;
    if (database.prepare('SELECT id FROM journal').get() === undefined)
      database.prepare('INSERT INTO journal VALUES (?)').run(hex(this.#prng.bytes(16)));
    const token = hex(this.#prng.bytes(8));
    const { lastInsertRowid } = database.prepare('INSERT INTO run (token, writes) VALUES (?, 1)').run(token);
    this.#seq = Number(lastInsertRowid);
    if (this.place !== '') database.prepare('INSERT INTO run_place VALUES (?, ?)').run(token, this.place);
    database.prepare('DELETE FROM run WHERE seq <= ?').run(this.#seq - RUNS_MAX);
    database.prepare('DELETE FROM run_place WHERE token NOT IN (SELECT token FROM run)').run();
  }
}
