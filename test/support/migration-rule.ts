/**
 * The rule for migrations of the coordinator's tables (docs/upgrading.md): the previous release can still read and write
 * them. So a migration adds, and takes away only what the previous release does not know. A statement that this does not
 * understand counts as a breach: write the migration in a form that it understands, or teach it the form.
 */

/** The tables of a release, and their columns. */
export type Tables = ReadonlyMap<string, ReadonlySet<string>>;

/** By its interface `Schema`. */
export function tablesIn(schemaSource: string): Tables {
  const [, body = ''] =
    /export interface Schema \{\n(.*?)\n\}\n/s.exec(schemaSource.replace(/\/\*.*?\*\//gs, '')) ?? [];
  const tables = new Map<string, ReadonlySet<string>>();
  for (const [, table = '', columns = ''] of body.matchAll(/^ {2}(\w+): \{(.*?)\};$/gms))
    tables.set(table, new Set([...columns.matchAll(/(\w+)\??:/g)].map(([, column]) => column!)));
  return tables;
}

/** Why the previous release could not go on with the tables; empty where it can. */
export function breachesOf(migration: string, previous: Tables): string[] {
  return statementsOf(migration).flatMap((statement) => breachesOfStatement(statement, previous));
}

function breachesOfStatement(statement: string, previous: Tables): string[] {
  const short = statement.length > 60 ? `${statement.slice(0, 57)}...` : statement;
  const [, created] = /^CREATE TABLE (?:IF NOT EXISTS )?(\w+)/i.exec(statement) ?? [];
  if (created !== undefined)
    return [...statement.matchAll(/REFERENCES (\w+)(?:\s*\([^)]*\))?(?! ON DELETE CASCADE)/gi)].flatMap(
      ([, to = '']) =>
        previous.has(to) ? [`${short}: the previous release does not delete ${created} before ${to}`] : [],
    );
  const [, altered = '', actions] = /^ALTER TABLE (?:IF EXISTS )?(\w+)\s+(.*)$/is.exec(statement) ?? [];
  if (actions !== undefined)
    return partsOf(actions).flatMap((action) => breachesOfAction(action, { table: altered, previous }));
  const [, on] =
    /^(?:CREATE UNIQUE INDEX \w+ ON|CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER\b.*? ON|CREATE (?:OR REPLACE )?RULE\b.*? TO|DROP TABLE(?: IF EXISTS)?|TRUNCATE(?: TABLE)?|DELETE FROM|INSERT INTO|UPDATE)\s+(\w+)/is.exec(
      statement,
    ) ?? [];
  if (on !== undefined) return previous.has(on) ? [`${short}: the previous release uses ${on}`] : [];
  if (/^CREATE (INDEX|FUNCTION)\b/i.test(statement)) return [];
  return [`${short}: not understood`];
}

function breachesOfAction(action: string, { table, previous }: { table: string; previous: Tables }): string[] {
  const columns = previous.get(table);
  // A table that only this release knows.
  if (columns === undefined) return [];
  const [, added] = /^ADD COLUMN (?:IF NOT EXISTS )?(\w+)/i.exec(action) ?? [];
  if (added !== undefined) {
    const isLeftOut =
      /\bDEFAULT\b/i.test(action) || !/\b(NOT NULL|UNIQUE|PRIMARY KEY|CHECK|REFERENCES)\b/i.test(action);
    return isLeftOut ? [] : [`${table}.${added}: the previous release writes rows without it`];
  }
  const [, dropped] = /^DROP COLUMN (?:IF EXISTS )?(\w+)/i.exec(action) ?? [];
  if (dropped !== undefined)
    return columns.has(dropped) ? [`${table}.${dropped}: the previous release reads or writes it`] : [];
  const [, from] = /^RENAME (?:COLUMN )?(\w+) TO/i.exec(action) ?? [];
  if (from !== undefined && from.toUpperCase() !== 'TO')
    return columns.has(from) ? [`${table}.${from}: the previous release knows it by this name`] : [];
  const [, changed] = /^ALTER (?:COLUMN )?(\w+)/i.exec(action) ?? [];
  if (changed !== undefined && (!columns.has(changed) || /\b(SET DEFAULT|DROP NOT NULL)\b/i.test(action))) return [];
  return [`ALTER TABLE ${table} ${action}: the previous release uses ${table}`];
}

/** The body of a function holds statements of its own. */
function statementsOf(migration: string): string[] {
  return splitOutside(migration, ';', /\$\$/).filter((statement) => statement !== '');
}

const partsOf = (actions: string): string[] => splitOutside(actions, ',', /[()]/);

/** Splits where no bracket, or no quoted body, is open. */
function splitOutside(text: string, at: string, marks: RegExp): string[] {
  const parts: string[] = [''];
  let depth = 0;
  for (const piece of text.split(new RegExp(`(${marks.source}|${at})`))) {
    if (piece === '(') depth += 1;
    else if (piece === ')') depth -= 1;
    else if (piece === '$$') depth = 1 - depth;
    if (piece === at && depth === 0) parts.push('');
    else parts[parts.length - 1] += piece;
  }
  return parts.map((part) => part.replace(/\s+/g, ' ').trim());
}
