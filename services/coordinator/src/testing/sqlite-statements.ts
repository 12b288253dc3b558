/**
 * Statements of PostgreSQL as SQLite takes them, word by word. It knows the forms that this store uses, and nothing
 * more: SQLite refuses any other form, so a new one is noticed at once. The statements stay those of production.
 */

export interface SqliteStatement {
  readonly text: string;
  /** Which parameter, counted from one, stands at each placeholder. */
  readonly parameters: readonly number[];
}

const LATERAL = /\b(inner join|left join|join) lateral \(/i;

export function sqliteStatement(statement: string): SqliteStatement {
  const parameters: number[] = [];
  const text = withoutLateral(
    statement
      .replace(/\s+/g, ' ')
      .trim()
      .replace(/pg_advisory_xact_lock\(\d+\)/, '1')
      // One connection: transactions come one after another, and nothing needs a lock.
      .replace(/ for (share|update|no key update)( skip locked| nowait)?$/i, '')
      .replace(/::(int8|int4|int|text|boolean)\b/g, '')
      .replace(
        /\(VALUES (.*?)\) AS place \(kind, site\)/,
        '(SELECT column1 AS kind, column2 AS site FROM (VALUES $1)) AS place',
      )
      .replace(/^(begin|start transaction).*/i, 'BEGIN'),
  ).replace(/\$(\d+)/g, (_all, number: string) => {
    parameters.push(Number(number));
    return '?';
  });
  return { text, parameters };
}

/**
 * A lateral join here takes at most one row of one table. SQLite has no such join. It gets the same row by its number in
 * the table.
 */
function withoutLateral(statement: string): string {
  let text = statement;
  for (let found = LATERAL.exec(text); found !== null; found = LATERAL.exec(text)) {
    const from = found.index + found[0].length;
    const to = closing(text, from);
    const inner = /^ ?select .*? from "?(\w+)"? (.*)$/is.exec(text.slice(from, to));
    const after = /^\) as "?(\w+)"? on true/i.exec(text.slice(to));
    if (inner === null || after === null) throw new Error(`a lateral join of another form: ${statement}`);
    const [, table = '', rest = ''] = inner;
    const [whole, alias = ''] = after;
    const row = `SELECT ${table}.rowid FROM ${table} ${withoutLateral(rest)}`;
    text = `${text.slice(0, found.index)}${found[1]} ${table} AS ${alias} ON ${alias}.rowid = (${row})${text.slice(to + whole.length)}`;
  }
  return text;
}

/** The place of the parenthesis that closes the one before `from`. */
function closing(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === '(') depth += 1;
    if (text[at] === ')') depth -= 1;
    if (depth === 0) return at;
  }
  throw new Error(`a parenthesis is not closed: ${text}`);
}

/**
 * The migrations for SQLite, one statement each, without the functions and triggers, which are written in PostgreSQL's
 * own language.
 */
export function sqliteSchema(migrations: readonly string[]): string[] {
  return migrations.flatMap((migration) =>
    migration
      .replace(/CREATE FUNCTION .*? AS \$\$.*?\$\$;/gs, '')
      .split(';')
      .map((statement) => statement.replace(/\s+/g, ' ').trim())
      .filter((statement) => statement !== '' && !/^(CREATE|DROP) (RULE|TRIGGER)/.test(statement))
      // SQLite knows no LIKE in the condition of an index. Its statements find the same rows without that index.
      .filter((statement) => !/^CREATE INDEX .* LIKE /.test(statement))
      .flatMap(oneColumnEach)
      .map((statement) => statement.replace('bigserial PRIMARY KEY', 'INTEGER PRIMARY KEY AUTOINCREMENT')),
  );
}

function oneColumnEach(statement: string): string[] {
  const [first = '', ...more] = statement.split(', ADD COLUMN ');
  const table = /^ALTER TABLE \w+/.exec(first)?.[0];
  return table === undefined ? [statement] : [first, ...more.map((column) => `${table} ADD COLUMN ${column}`)];
}
