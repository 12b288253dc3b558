/**
 * The tables of the coordinators in SQLite, in the process of a simulation. The statements are those of production
 * (sqlite-statements.ts). A statement takes a tenth of the time that it takes in PGlite. The values have the types
 * that the driver of PostgreSQL gives. The conformance suite of the store runs over it too.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { type KeptAnswers, TableChanges, type Use, useOf } from '@antipode/runtime/testing';
import { MIGRATIONS } from '../store/schema.ts';
import { sqliteSchema, sqliteStatement } from './sqlite-statements.ts';

const SQLITE_CONSTRAINT = 19;
/** SQLSTATE of a constraint that said no. */
const UNIQUE_VIOLATION = '23505';

export interface Answer<R> {
  readonly command: string;
  readonly rowCount: number;
  readonly rows: R[];
}

interface Column {
  readonly name: string;
  readonly read: (value: unknown) => unknown;
}

/** Of a statement, by its text. */
interface Form {
  readonly translated: string;
  readonly use: Use;
  readonly parameters: readonly number[];
  readonly command: string;
  /** None if the statement answers with a count only. Known after it was prepared once. */
  columns: readonly Column[] | undefined;
}

interface Prepared extends Form {
  readonly statement: StatementSync;
  readonly columns: readonly Column[];
  /** Of a statement that only reads. */
  readonly answers: KeptAnswers | undefined;
}

/** How a column of a declared type is read, as the driver of PostgreSQL reads it. */
function readerOf(type: string | null): (value: unknown) => unknown {
  switch (type) {
    case 'int8':
    case 'INTEGER':
      return (value) => value;
    case 'INT':
    // An expression: the only one that is selected is the largest of some positions.
    case null:
      return (value) => (typeof value === 'bigint' ? Number(value) : value);
    case 'boolean':
      return (value) => (value === null ? null : value === 1n);
    case 'bytea':
      return (value) => Buffer.from(value as Uint8Array);
    default:
      return (value) => value;
  }
}

/** The guards of the event log, as production has them in the language of PostgreSQL. */
const GUARDS = ['UPDATE', 'DELETE'].flatMap((change) =>
  ['event', 'event_retirement'].map((table) => {
    const retired = 'OLD.id <= (SELECT max(last_id) FROM event_retirement)';
    const when = change === 'DELETE' && table === 'event' ? `WHEN NOT coalesce(${retired}, false)` : '';
    return `CREATE TRIGGER ${table}_${change} BEFORE ${change} ON ${table} ${when} BEGIN SELECT RAISE(IGNORE); END`;
  }),
);

/** As the migrations of production record themselves. */
const DONE = [
  'CREATE TABLE migration (version int PRIMARY KEY)',
  ...MIGRATIONS.map((_, index) => `INSERT INTO migration VALUES (${index + 1})`),
];

let migrated: Uint8Array | undefined;

function migratedBytes(): Uint8Array {
  const database = new DatabaseSync(':memory:');
  // The answers that are kept go by the table that a statement names.
  if (/\bON (DELETE|UPDATE) (CASCADE|SET)\b/i.test(MIGRATIONS.join())) throw new Error('a table changes by itself');
  for (const statement of [...sqliteSchema(MIGRATIONS), ...GUARDS, ...DONE]) database.exec(statement);
  const bytes = database.serialize();
  database.close();
  return bytes;
}

export class SqliteDatabase {
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, Prepared>();
  readonly #changes = new TableChanges();
  /** How many statements it has run. */
  statements = 0;
  /** How many rows have been inserted, updated or deleted. */
  changedRows = 0;
  /** A statement of the transaction has failed. Nothing else is done in it. */
  #isFailed = false;

  /** With its tables, as the migrations leave them, or as they were when `bytes` were taken. */
  constructor(bytes?: Uint8Array) {
    this.#database = new DatabaseSync(':memory:', { readBigInts: true, returnArrays: true });
    migrated ??= migratedBytes();
    this.#database.deserialize(bytes ?? migrated);
    this.#database.exec('PRAGMA foreign_keys = ON; PRAGMA case_sensitive_like = ON');
    this.#database.function('greatest', { deterministic: true, useBigIntArguments: true }, (one, other) =>
      (one as bigint) > (other as bigint) ? one : other,
    );
  }

  /** Everything that is committed, as it is now. */
  serialize(): Uint8Array {
    return this.#database.serialize();
  }

  run<R>(text: string, values: readonly unknown[]): Answer<R> {
    this.statements += 1;
    const prepared = this.#prepared.get(text) ?? this.#prepare(text);
    const { command, answers, use } = prepared;
    if (this.#isFailed) {
      if (command === 'COMMIT') this.#rollBack();
      if (command !== 'ROLLBACK') throw new Error('current transaction is aborted');
      this.#isFailed = false;
    }
    this.#changes.note(use);
    try {
      if (answers === undefined) return this.#ask<R>(prepared, values);
      const { rowCount, rows } = answers.of(values, () => this.#ask<R>(prepared, values));
      return { command, rowCount, rows: [...rows] };
    } catch (thrown) {
      this.#isFailed = this.#database.isTransaction;
      const { errcode = 0 } = thrown as { errcode?: number };
      if ((errcode & 0xff) !== SQLITE_CONSTRAINT) throw thrown;
      throw Object.assign(new Error((thrown as Error).message, { cause: thrown }), { code: UNIQUE_VIOLATION });
    }
  }

  #ask<R>({ statement, parameters, command, columns }: Prepared, values: readonly unknown[]): Answer<R> {
    const given = parameters.map((number) => inputOf(values[number - 1]));
    if (columns.length === 0) {
      const rowCount = Number(statement.run(...given).changes);
      if (CHANGING.has(command)) this.changedRows += rowCount;
      return { command, rowCount, rows: [] };
    }
    const found = statement.all(...given) as never as unknown[][];
    if (CHANGING.has(command)) this.changedRows += found.length;
    return { command, rowCount: found.length, rows: found.map((row) => rowOf(columns, row) as R) };
  }

  /** Ends the transaction of a client that is gone. */
  forget(): void {
    if (this.#database.isTransaction) this.#rollBack();
    this.#isFailed = false;
  }

  #rollBack(): void {
    this.#database.exec('ROLLBACK');
    this.#changes.noteAny();
    this.#isFailed = false;
  }

  close(): void {
    this.#database.close();
  }

  #prepare(text: string): Prepared {
    const form = formOf(text);
    const statement = this.#database.prepare(form.translated);
    form.columns ??= statement.columns().map(({ name, type }) => ({ name, read: readerOf(type) }));
    const answers = form.use.kind === 'reads' ? this.#changes.answersTo(form.use) : undefined;
    const prepared: Prepared = { ...form, statement, columns: form.columns, answers };
    this.#prepared.set(text, prepared);
    return prepared;
  }
}

const CHANGING: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE']);

/** Nobody changes it: others get the same row, as the answer to the same question. */
function rowOf(columns: readonly Column[], values: readonly unknown[]): Readonly<Record<string, unknown>> {
  const row: Record<string, unknown> = {};
  for (const [at, { name, read }] of columns.entries()) row[name] = read(values[at]);
  return Object.freeze(row);
}

/** The same in every database of this process. */
const forms = new Map<string, Form>();

function formOf(text: string): Form {
  const known = forms.get(text);
  if (known !== undefined) return known;
  const { text: translated, parameters } = sqliteStatement(text);
  const command = /^\w+/.exec(translated)?.[0].toUpperCase() ?? '';
  const form = { translated, parameters, command, use: useOf(translated), columns: undefined };
  forms.set(text, form);
  return form;
}

function inputOf(value: unknown): SQLInputValue {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return (value ?? null) as SQLInputValue;
}
