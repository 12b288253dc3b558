/** How large the tables are. Estimates, which cost a look into the catalogue of PostgreSQL, whatever is in the tables. */
import { sql } from 'kysely';
import type { Read } from '../store.ts';

export interface TableSize {
  readonly table: string;
  /** Undefined while PostgreSQL has not counted it. */
  readonly rows: number | undefined;
  /** With its indexes. */
  readonly bytes: number;
}

export async function readTableSizes(db: Read): Promise<TableSize[]> {
  const { rows } = await sql<{ name: string; live: string | null; bytes: string }>`
    SELECT c.relname::text AS name,
           CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup WHEN c.reltuples >= 0 THEN c.reltuples::int8 END::text AS live,
           pg_total_relation_size(c.oid)::text AS bytes
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
     WHERE c.relkind = 'r' AND n.nspname = current_schema()
     ORDER BY c.relname`.execute(db);
  return rows.map(({ name, live, bytes }) => ({
    table: name,
    rows: live === null ? undefined : Number(live),
    bytes: Number(bytes),
  }));
}
