/**
 * Operations that have been failing since they last ended well. Each answer is one index lookup, however long the
 * history is.
 */
import { sql } from 'kysely';
import type { IntentKind } from '../../model.ts';
import type { Schema } from '../schema.ts';
import type { Read } from '../store.ts';
import { type Intent, intentFrom } from './intents.ts';

/** A kind of operation, and the site that it is for; empty if it is not for one site. */
export interface Place {
  readonly kind: IntentKind;
  readonly site: string;
}

export interface FailingIntent {
  /** The last that failed. */
  readonly intent: Intent;
  /** When the first of the streak failed. */
  readonly sinceMs: number;
}

/** Of each place the failures since the last success, but for those that only say that something else came first. */
export async function readFailing(
  db: Read,
  group: string,
  { places, noFailure }: { places: readonly Place[]; noFailure: readonly string[] },
): Promise<FailingIntent[]> {
  if (places.length === 0) return [];
  const asked = sql.join(places.map(({ kind, site }) => sql`(${kind}::text, ${site}::text)`));
  const codes = sql.join(noFailure);
  const { rows } = await sql<Schema['intent'] & { since_ms: bigint }>`
    SELECT last.*, first.updated_ms AS since_ms
    FROM (VALUES ${asked}) AS place (kind, site)
    LEFT JOIN LATERAL (
      SELECT created_ms FROM intent
      WHERE grp = ${group} AND kind = place.kind AND site = place.site AND status = 'done'
      ORDER BY created_ms + 0 DESC LIMIT 1
    ) AS done ON true
    JOIN LATERAL (
      SELECT * FROM intent
      WHERE grp = ${group} AND kind = place.kind AND site = place.site AND status = 'failed'
        AND created_ms + 0 > coalesce(done.created_ms, -1) AND error_code NOT IN (${codes})
      ORDER BY created_ms + 0 DESC LIMIT 1
    ) AS last ON true
    JOIN LATERAL (
      SELECT updated_ms FROM intent
      WHERE grp = ${group} AND kind = place.kind AND site = place.site AND status = 'failed'
        AND created_ms + 0 > coalesce(done.created_ms, -1) AND error_code NOT IN (${codes})
      ORDER BY created_ms + 0 LIMIT 1
    ) AS first ON true`.execute(db);
  return rows.map((row) => ({ intent: intentFrom(row), sinceMs: Number(row.since_ms) }));
}
