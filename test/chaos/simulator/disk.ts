/**
 * The disk of a site: the databases of its journal and of its store, which outlive its processes. A disk can be full,
 * locked by another program, lose what was not synced when the power fails, and be put back to an older copy. A process
 * that has ended reads and writes nothing any more.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
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
  /** Counts everything that may have changed a file. */
  readonly changes: Record<FileName, number> = { journal: 0, store: 0 };
  readonly #looks = new Map<string, StatementSync>();

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
      this.#files[file].close();
      this.#files[file] = new DatabaseSync(':memory:');
      this.#files[file].deserialize(bytes);
      this.changes[file] += 1;
      this.#looks.clear();
    }
  }

  /** Another disk, with nothing on it. */
  replace(): void {
    for (const file of ['journal', 'store'] as const) {
      this.#files[file].close();
      this.#files[file] = new DatabaseSync(':memory:');
    }
    this.#synced.clear();
  }

  /** Loses every commit that did not wait for the disk, and a transaction that is open. */
  failPower(): void {
    this.endTransactions();
    for (const [file, bytes] of this.#synced) this.restore({ [file]: bytes });
    this.#synced.clear();
  }

  endTransactions(): void {
    for (const database of Object.values(this.#files)) if (database.isTransaction) database.exec('ROLLBACK');
    for (const file of FILES) this.changes[file] += 1;
  }

  /** Reads for those who judge, outside of every process. */
  rows(file: FileName, text: string): Record<string, unknown>[] {
    try {
      const key = `${file} ${text}`;
      const look = this.#looks.get(key) ?? this.#files[file].prepare(text);
      this.#looks.set(key, look);
      return look.all();
    } catch {
      // It has no tables yet.
      return [];
    }
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

/** A reader may change the row that he has got. */
const copyOf = <T>(row: T): T => (Array.isArray(row) ? [...row] : typeof row === 'object' ? { ...row } : row) as T;

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
    const statement = this.#database.prepare(text);
    const read = this.#reader(text);
    const guarded = {
      get: (...values: SQLInputValue[]) => copyOf(read('get', values, () => statement.get(...values))),
      all: (...values: SQLInputValue[]) => read('all', values, () => statement.all(...values)).map(copyOf),
      iterate: (...values: SQLInputValue[]) => read(undefined, values, () => statement.iterate(...values)),
      columns: () => statement.columns(),
      setReadBigInts: (isOn: boolean) => statement.setReadBigInts(isOn),
      setReturnArrays: (isOn: boolean) => statement.setReturnArrays(isOn),
      run: (...values: SQLInputValue[]) => {
        this.#live();
        this.#disk.changes[this.#file] += 1;
        if (this.#database.isTransaction) return statement.run(...values);
        this.#writable();
        const result = statement.run(...values);
        this.#commit(() => {});
        return result;
      },
    } as never as StatementSync;
    this.#statements.set(text, guarded);
    return guarded;
  }

  /** A statement that only reads is answered from memory until something is written to its file. */
  #reader(text: string) {
    const isRead = /^\s*SELECT\b/.test(text);
    const answers = new Map<string, unknown>();
    let changes = -1;
    return <T>(method: string | undefined, values: readonly SQLInputValue[], work: () => T): T => {
      this.#live();
      if (!isRead) this.#disk.changes[this.#file] += 1;
      if (!isRead || method === undefined) return work();
      const now = this.#disk.changes[this.#file];
      if (changes !== now) answers.clear();
      changes = now;
      const key = `${method} ${values.map((value) => (value === null ? 'null' : `'${String(value)}'`)).join()}`;
      if (!answers.has(key)) answers.set(key, work());
      return answers.get(key) as T;
    };
  }

  exec(text: string): void {
    this.#live();
    this.#disk.changes[this.#file] += 1;
    if (text.startsWith('BEGIN IMMEDIATE')) this.#writable();
    if (text === 'COMMIT') this.#commit(() => this.#database.exec(text));
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
