/**
 * The rows of all tables, out of a database and into one. A row is the JSON that PostgreSQL makes of it, as text: nothing
 * here reads a value, so that no number loses a digit, whatever the columns are.
 */
import { sql } from 'kysely';
import type { Schema } from '../schema.ts';
import type { Read, Write } from '../store.ts';

/** All tables, each behind those that it refers to: the order in which a backup is put back. */
export const TABLES = [
  'leader_lease',
  'lease_length',
  'hook_accepted',
  'site',
  'replication_group',
  'member',
  'epoch',
  'generation',
  'acknowledgement',
  'intent',
  'drill',
  'scrub',
  'member_refused',
  'journal_mark',
  'former_seat',
  'former_group',
  'approval',
  'approval_use',
  'site_token',
  'forgotten_site',
  'schedule_fire',
  'timeline',
  'archive_run',
  'notice',
  'notice_receiver',
  'notice_told',
  'event_retirement',
  'event',
] as const satisfies readonly (keyof Schema)[];

export type TableName = (typeof TABLES)[number];

/** At a time, so that a year of events does not fill the memory. */
const ROWS_AT_ONCE = 500;

/** The version of the tables; 0 where there are none. */
export async function readSchemaVersion(db: Read): Promise<number> {
  const there = await sql<{ name: string | null }>`SELECT to_regclass('migration')::text AS name`.execute(db);
  if (there.rows[0]?.name == null) return 0;
  const done = await sql<{ version: number | null }>`SELECT max(version) AS version FROM migration`.execute(db);
  return done.rows[0]?.version ?? 0;
}

/** Of each table that is there, in the order in which they can be put back. */
export async function countRows(db: Read): Promise<Map<TableName, number>> {
  const there = await sql<{ name: string }>`SELECT tablename::text AS name FROM pg_tables
    WHERE schemaname = current_schema()`.execute(db);
  const names = new Set(there.rows.map(({ name }) => name));
  const counts = new Map<TableName, number>();
  for (const table of TABLES) {
    if (!names.has(table)) continue;
    const { rows } = await sql<{ count: string }>`SELECT count(*)::text AS count FROM ${sql.table(table)}`.execute(db);
    counts.set(table, Number(rows[0]!.count));
  }
  return counts;
}

/** In a transaction that sees one moment. */
export async function* rowsOf(db: Read, table: TableName): AsyncGenerator<readonly string[]> {
  await sql`DECLARE backup_rows NO SCROLL CURSOR FOR SELECT row_to_json(t)::text AS row
    FROM ${sql.table(table)} t`.execute(db);
  for (;;) {
    const { rows } = await sql<{ row: string }>`FETCH ${sql.lit(ROWS_AT_ONCE)} FROM backup_rows`.execute(db);
    if (rows.length === 0) break;
    yield rows.map(({ row }) => row);
  }
  await sql`CLOSE backup_rows`.execute(db);
}

/** Tables that have a row from the beginning. */
const FILLED: readonly TableName[] = ['leader_lease', 'lease_length'];

/** In place of what the tables were made with. */
export async function insertRows(trx: Write, table: TableName, rows: readonly string[]): Promise<void> {
  if (FILLED.includes(table)) await trx.deleteFrom(table).execute();
  await sql`INSERT INTO ${sql.table(table)} SELECT made.* FROM unnest(${rows}::text[]) AS given (row),
    LATERAL json_populate_record(NULL::${sql.table(table)}, given.row::json) AS made`.execute(trx);
}

/** The next event gets the number after the last one. */
export async function continueEvents(trx: Write): Promise<void> {
  await sql`SELECT setval('event_id_seq', greatest((SELECT max(id) FROM event),
    (SELECT max(last_id) FROM event_retirement), 1))`.execute(trx);
}

/** The main facts of a backup. By columns that every release has: the tables may be those of an earlier one. */
export interface Summary {
  readonly term: string;
  readonly groups: {
    readonly group: string;
    readonly epoch: string;
    readonly owner: string;
    readonly generation: string;
    readonly members: string[];
  }[];
  readonly sites: string[];
}

export async function readSummary(db: Read): Promise<Summary> {
  const lease = await db.selectFrom('leader_lease').select('epoch').executeTakeFirst();
  const sites = await db.selectFrom('site').select('name').orderBy('name').execute();
  const members = await db.selectFrom('member').select(['grp', 'site']).orderBy('position').execute();
  const epochs = await db
    .selectFrom('epoch')
    .select(['grp', 'epoch', 'owner'])
    .distinctOn('grp')
    .where('is_active', '=', true)
    .orderBy('grp')
    .orderBy('epoch', 'desc')
    .execute();
  const generations = await db
    .selectFrom('generation')
    .select((of) => ['grp', of.fn.max('number').as('number')])
    .groupBy('grp')
    .execute();
  const groups = await db.selectFrom('replication_group').select('name').orderBy('name').execute();
  return {
    term: String(lease?.epoch ?? 0n),
    groups: groups.map(({ name }) => {
      const inForce = epochs.find(({ grp }) => grp === name);
      return {
        group: name,
        epoch: String(inForce?.epoch ?? 0n),
        owner: inForce?.owner ?? '',
        generation: String(generations.find(({ grp }) => grp === name)?.number ?? 0n),
        members: members.filter(({ grp }) => grp === name).map(({ site }) => site),
      };
    }),
    sites: sites.map(({ name }) => name),
  };
}
