/**
 * The tables of the coordinators in SQLite, in the process of a simulation. The statements are those of production
 * (sqlite-statements.ts). A statement takes a tenth of the time that it takes in PGlite. The values have the types
 * that the driver of PostgreSQL gives. The conformance suite of the store runs over it too.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
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

interface Prepared {
  /** The tables that it reads; undefined if it does anything else. */
  readonly reads: readonly string[] | undefined;
  /** The table that it writes to; undefined for none, or for any. */
  readonly writes: string | undefined;
  /** Answers that hold while their tables have changed so often, by the values that were given. */
  readonly answers: Map<string, { readonly changes: number; readonly rows: readonly object[] }>;
  readonly statement: StatementSync;
  readonly parameters: readonly number[];
  readonly command: string;
  /** Name and type of each column; none if the statement answers with a count only. */
  readonly columns: readonly { name: string; read: (value: unknown) => unknown }[];
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
  for (const statement of [...sqliteSchema(MIGRATIONS), ...GUARDS, ...DONE]) database.exec(statement);
  const bytes = database.serialize();
  database.close();
  return bytes;
}

export class SqliteDatabase {
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, Prepared>();
  readonly #tables: readonly string[];
  readonly #changes = new Map<string, number>();
  #changesOfAny = 0;
  /** How many statements it has run. */
  statements = 0;
  /** A statement of the transaction has failed. Nothing else is done in it. */
  #isFailed = false;

  /** With its tables, as the migrations leave them, or as they were when `bytes` were taken. */
  constructor(bytes?: Uint8Array) {
    this.#database = new DatabaseSync(':memory:');
    migrated ??= migratedBytes();
    this.#database.deserialize(bytes ?? migrated);
    this.#database.exec('PRAGMA foreign_keys = ON; PRAGMA case_sensitive_like = ON');
    this.#tables = this.#database
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
      .all()
      .map(({ name }) => String(name));
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
    const prepared = this.#prepare(text);
    const { statement, parameters, command, columns, reads, answers } = prepared;
    const given = parameters.map((number) => inputOf(values[number - 1]));
    if (this.#isFailed) {
      if (command === 'COMMIT') this.#rollBack();
      if (command !== 'ROLLBACK') throw new Error('current transaction is aborted');
      this.#isFailed = false;
    }
    if (reads === undefined) this.#note(prepared);
    const changes = reads?.reduce((sum, table) => sum + (this.#changes.get(table) ?? 0), this.#changesOfAny) ?? 0;
    const key = reads === undefined ? '' : keyOf(given);
    const known = reads === undefined ? undefined : answers.get(key);
    // Coordinators ask the same again and again. An answer holds until somebody writes to its tables.
    if (known?.changes === changes)
      return { command, rowCount: known.rows.length, rows: known.rows.map((row) => ({ ...row })) as R[] };
    try {
      if (columns.length === 0) {
        const { changes } = statement.run(...given);
        return { command, rowCount: Number(changes), rows: [] };
      }
      const found = statement.all(...given) as never as unknown[][];
      const rows = found.map(
        (row) => Object.fromEntries(columns.map(({ name, read }, at) => [name, read(row[at])])) as R,
      );
      if (reads === undefined) return { command, rowCount: rows.length, rows };
      answers.set(key, { changes, rows: rows as object[] });
      return { command, rowCount: rows.length, rows: rows.map((row) => ({ ...row })) };
    } catch (thrown) {
      this.#isFailed = this.#database.isTransaction;
      const { errcode = 0 } = thrown as { errcode?: number };
      if ((errcode & 0xff) !== SQLITE_CONSTRAINT) throw thrown;
      throw Object.assign(new Error((thrown as Error).message, { cause: thrown }), { code: UNIQUE_VIOLATION });
    }
  }

  /** Ends the transaction of a client that is gone. */
  forget(): void {
    if (this.#database.isTransaction) this.#rollBack();
    this.#isFailed = false;
  }

  #rollBack(): void {
    this.#database.exec('ROLLBACK');
    this.#changesOfAny += 1;
    this.#isFailed = false;
  }

  /** A statement is about to change something. */
  #note({ command, writes }: Prepared): void {
    if (command === 'BEGIN' || command === 'COMMIT') return;
    if (writes === undefined) this.#changesOfAny += 1;
    else this.#changes.set(writes, (this.#changes.get(writes) ?? 0) + 1);
  }

  close(): void {
    this.#database.close();
  }

  #prepare(text: string): Prepared {
    const known = this.#prepared.get(text);
    if (known !== undefined) return known;
    const form = formOf(text, this.#tables);
    const statement = this.#database.prepare(form.translated);
    statement.setReadBigInts(true);
    statement.setReturnArrays(true);
    const columns = statement.columns().map(({ name, type }) => ({ name, read: readerOf(type) }));
    const prepared: Prepared = { ...form, statement, columns, answers: new Map() };
    this.#prepared.set(text, prepared);
    return prepared;
  }
}

type Form = Pick<Prepared, 'parameters' | 'command' | 'reads' | 'writes'> & { readonly translated: string };

/** The same in every database of this process. */
const forms = new Map<string, Form>();

function formOf(text: string, all: readonly string[]): Form {
  const known = forms.get(text);
  if (known !== undefined) return known;
  const { text: translated, parameters } = sqliteStatement(text);
  const command = /^\w+/.exec(translated)?.[0].toUpperCase() ?? '';
  const words = new Set(translated.match(/\w+/g));
  const tables = all.filter((table) => words.has(table));
  const reads = command === 'SELECT' && tables.length > 0 ? tables : undefined;
  // A deletion may take rows of other tables with it.
  const writes = /^(?:insert into|update) "?(\w+)/i.exec(translated)?.[1];
  const form = { translated, parameters, command, reads, writes };
  forms.set(text, form);
  return form;
}

/** Names these values, and no others. */
const keyOf = (values: readonly SQLInputValue[]): string =>
  values.map((value) => `${typeof value} ${String(value).length} ${String(value)}`).join();

function inputOf(value: unknown): SQLInputValue {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return (value ?? null) as SQLInputValue;
}
