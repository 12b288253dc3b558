/**
 * The disk of a site: the databases of its journal and of its store, which outlive its processes. A disk can be full,
 * locked by another program, lose what was not synced when the power fails, and be put back to an older copy. A process
 * that has ended reads and writes nothing any more.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { type KeptAnswers, TableChanges, useOf } from '@antipode/runtime/testing';
import type { SimulatedProcess } from './clock.ts';

const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;
/** PRAGMA synchronous: a commit is on the disk when it returns. */
const FULL = 2;

export type DiskFault = 'full' | 'locked' | undefined;
export type FileName = 'journal' | 'store';
export type DiskCopy = Readonly<Record<FileName, Uint8Array>>;

const FILES = ['journal', 'store'] as const;

/** A crash in the middle of a commit: the process ends right before it, or right after. */
export interface CrashAtCommit {
  commits: number;
  readonly when: 'before' | 'after';
}

interface Look {
  readonly statement: StatementSync;
  /** Of one that only reads. */
  readonly answers: KeptAnswers | undefined;
}

export class SimulatedDisk {
  readonly #files: Record<FileName, DatabaseSync> = {
    journal: new DatabaseSync(':memory:'),
    store: new DatabaseSync(':memory:'),
  };
  /** As they were when they were last known to be on the disk. Kept only where a commit does not wait for the disk. */
  #synced = new Map<FileName, Uint8Array>();
  fault: DiskFault;
  crash: CrashAtCommit | undefined;
  /** Told of each commit, once it is durable. */
  onCommit: (file: FileName) => void = () => {};
  /** Told when the process has ended in a commit. */
  onCrash: () => void = () => {};
  commits = 0;
  readonly changes: Readonly<Record<FileName, TableChanges>> = {
    journal: new TableChanges(),
    store: new TableChanges(),
  };
  readonly #statements: Record<FileName, Map<string, StatementSync>> = { journal: new Map(), store: new Map() };
  readonly #looks: Record<FileName, Map<string, Look>> = { journal: new Map(), store: new Map() };

  /** Empty, or as another one was. */
  constructor(copy?: DiskCopy) {
    if (copy !== undefined) for (const file of FILES) this.#files[file].deserialize(copy[file]);
  }

  /** As a process opens it. */
  open(file: FileName, process: SimulatedProcess): DatabaseSync {
    return new Handle({ database: this.#files[file], process, disk: this, file }) as never as DatabaseSync;
  }

  /** Everything of it, as it is now. */
  copy(): DiskCopy {
    return { journal: this.#files.journal.serialize(), store: this.#files.store.serialize() };
  }

  /** No process has it open meanwhile. */
  restore(copy: Partial<Record<FileName, Uint8Array>>): void {
    for (const file of FILES) {
      const bytes = copy[file];
      if (bytes === undefined) continue;
      this.#renew(file);
      this.#files[file].deserialize(bytes);
    }
  }

  /** Another disk, with nothing on it. */
  replace(): void {
    for (const file of FILES) this.#renew(file);
    this.#synced.clear();
  }

  #renew(file: FileName): void {
    this.#files[file].close();
    this.#files[file] = new DatabaseSync(':memory:');
    this.changes[file].noteAny();
    this.#statements[file].clear();
    this.#looks[file].clear();
  }

  /** Loses every commit that did not wait for the disk, and a transaction that is open. */
  failPower(): void {
    this.endTransactions();
    for (const [file, bytes] of this.#synced) this.restore({ [file]: bytes });
    this.#synced.clear();
  }

  endTransactions(): void {
    for (const database of Object.values(this.#files)) if (database.isTransaction) database.exec('ROLLBACK');
    for (const file of FILES) this.changes[file].noteAny();
  }

  /** Reads for those who judge, outside of every process. */
  rows(
    file: FileName,
    text: string,
    values: readonly SQLInputValue[] = [],
  ): readonly Readonly<Record<string, unknown>>[] {
    try {
      const { statement, answers } = this.#looks[file].get(text) ?? this.#look(file, text);
      const ask = () => statement.all(...values);
      return answers === undefined ? ask() : answers.of(values, ask);
    } catch {
      // It has no tables yet.
      return [];
    }
  }

  /** A statement of this file, which every process on it shares. */
  statement(file: FileName, text: string): StatementSync {
    const known = this.#statements[file].get(text) ?? this.#files[file].prepare(text);
    this.#statements[file].set(text, known);
    return known;
  }

  #look(file: FileName, text: string): Look {
    const use = useOf(text);
    const answers = use.kind === 'reads' ? this.changes[file].answersTo(use) : undefined;
    const look = { statement: this.statement(file, text), answers };
    this.#looks[file].set(text, look);
    return look;
  }

  /** Whether a commit is on the disk when it returns. */
  waits(file: FileName): boolean {
    return Number(this.#files[file].prepare('PRAGMA synchronous').get()?.['synchronous']) >= FULL;
  }

  /** The operating system has written everything. */
  sync(): void {
    for (const file of FILES) if (!this.waits(file)) this.#synced.set(file, this.#files[file].serialize());
  }

  /** Gives the memory back. Nothing uses it any more. */
  close(): void {
    for (const database of Object.values(this.#files)) database.close();
  }

  committed(file: FileName): void {
    this.commits += 1;
    this.onCommit(file);
  }
}

/** Thrown to what is left of a process that has ended. Nobody hears it. */
export class ProcessEnded extends Error {
  constructor() {
    super('the process has ended');
  }
}

/** Whether an error is only what a process that has ended still says. */
export function isOfEndedProcess(thrown: unknown): boolean {
  for (let cause = thrown; cause instanceof Error; cause = cause.cause) if (cause instanceof ProcessEnded) return true;
  return false;
}

/** The error that `node:sqlite` throws with this code. */
const fault = (errcode: number, message: string): Error =>
  Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode });

/** Nobody changes it: others get the same row, as the answer to the same question. */
const frozen = <T>(row: T): T => Object.freeze(row);

/** How long a statement waits for another program. No other program is here. */
const WAIT = /^PRAGMA busy_timeout = \d+$/;

/** It asks for the lock, and changes nothing. */
const PROBE = 'BEGIN IMMEDIATE; ROLLBACK';

class Handle {
  readonly #database: DatabaseSync;
  readonly #process: SimulatedProcess;
  readonly #disk: SimulatedDisk;
  readonly #file: FileName;
  readonly #statements = new Map<string, StatementSync>();

  constructor(options: { database: DatabaseSync; process: SimulatedProcess; disk: SimulatedDisk; file: FileName }) {
    this.#database = options.database;
    this.#process = options.process;
    this.#disk = options.disk;
    this.#file = options.file;
  }

  get isTransaction(): boolean {
    return this.#database.isTransaction;
  }

  location(): null {
    return null;
  }

  close(): void {}

  prepare(text: string): StatementSync {
    this.#live();
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const guarded = this.#guarded(text, this.#disk.statement(this.#file, text));
    this.#statements.set(text, guarded);
    return guarded;
  }

  /** A process that has ended gets no answer. A statement that only reads is answered from memory, as long as that holds. */
  #guarded(text: string, statement: StatementSync): StatementSync {
    const use = useOf(text);
    const changes = this.#disk.changes[this.#file];
    const kept = (): KeptAnswers | undefined => (use.kind === 'reads' ? changes.answersTo(use) : undefined);
    const [one, many] = [kept(), kept()];
    type Given = readonly SQLInputValue[];
    const ask = <T>(answers: KeptAnswers | undefined, values: Given, work: (values: Given) => T): T => {
      this.#live();
      if (answers !== undefined) return answers.of(values, work);
      changes.note(use);
      return work(values);
    };
    // Made once for each statement, and not for each question.
    const getOne = (values: Given) => frozen(statement.get(...values));
    const getAll = (values: Given) => statement.all(...values).map(frozen);
    const iterate = (values: Given) => statement.iterate(...values);
    return {
      get: (...values: SQLInputValue[]) => ask(one, values, getOne),
      all: (...values: SQLInputValue[]) => ask(many, values, getAll).slice(),
      iterate: (...values: SQLInputValue[]) => ask(undefined, values, iterate),
      columns: () => statement.columns(),
      run: (...values: SQLInputValue[]) => {
        this.#live();
        changes.note(use);
        if (this.#database.isTransaction) return statement.run(...values);
        this.#writable();
        const result = statement.run(...values);
        this.#commit(() => {});
        return result;
      },
    } as never as StatementSync;
  }

  exec(text: string): void {
    this.#live();
    if (text !== PROBE) this.#disk.changes[this.#file].note(useOf(text));
    if (text.startsWith('BEGIN IMMEDIATE')) this.#writable();
    if (text === 'COMMIT') this.#commit(() => this.#do(text));
    else if (!WAIT.test(text)) this.#do(text);
  }

  /** Prepares once what every transaction does. */
  #do(text: string): void {
    if (/^\w+( IMMEDIATE)?$/.test(text)) this.#disk.statement(this.#file, text).run();
    else this.#database.exec(text);
  }

  #commit(commit: () => void): void {
    const { crash } = this.#disk;
    if (crash !== undefined) crash.commits -= 1;
    const isNow = crash !== undefined && crash.commits <= 0;
    if (isNow) this.#disk.crash = undefined;
    if (isNow && crash.when === 'before') this.#die();
    commit();
    this.#disk.committed(this.#file);
    if (isNow) this.#die();
  }

  #die(): never {
    this.#process.end();
    this.#disk.endTransactions();
    this.#disk.onCrash();
    throw new ProcessEnded();
  }

  #live(): void {
    if (this.#process.hasEnded) throw new ProcessEnded();
  }

  #writable(): void {
    if (this.#disk.fault === 'full') throw fault(SQLITE_FULL, 'database or disk is full');
    if (this.#disk.fault === 'locked') throw fault(SQLITE_BUSY, 'database is locked');
  }
}
