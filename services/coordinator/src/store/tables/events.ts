/** The log of events, as operators read it. Events are written by the store itself, with the change that they tell of. */
import { sql } from 'kysely';
import type { Read } from '../store.ts';

export interface EventRow {
  readonly id: bigint;
  readonly atMs: bigint;
  readonly kind: string;
  readonly group: string;
  readonly site: string;
  /** JSON. */
  readonly details: string;
}

const COLUMNS = ['id', 'at_ms as atMs', 'kind', 'grp as group', 'site', 'details'] as const;

/** Behind `after` and up to `end`, the oldest first. */
export const readEvents = (
  db: Read,
  { after, end, limit }: { after: bigint; end: bigint; limit: number },
): Promise<EventRow[]> =>
  db
    .selectFrom('event')
    .select(COLUMNS)
    .where('id', '>', after)
    .where('id', '<=', end)
    .orderBy('id')
    .limit(limit)
    .execute();

/** The newest up to `end`, the oldest of them first. */
export async function readNewestEvents(db: Read, { end, limit }: { end: bigint; limit: number }): Promise<EventRow[]> {
  const rows = await db
    .selectFrom('event')
    .select(COLUMNS)
    .where('id', '<=', end)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
  return rows.reverse();
}

/** The highest number that is seen now. 0 for none. */
export async function readLastEvent(db: Read): Promise<bigint> {
  const row = await db.selectFrom('event').select('id').orderBy('id', 'desc').limit(1).executeTakeFirst();
  return row?.id ?? 0n;
}

/**
 * The transactions that may have drawn numbers which nobody sees yet. Each has the lock of a writer on the table before
 * it draws a number, and keeps it until others see what it wrote.
 */
export async function readEventWriters(db: Read): Promise<Set<string>> {
  const { rows } = await sql<{ writer: string }>`
    SELECT DISTINCT virtualtransaction AS writer FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'event'::regclass AND mode = 'RowExclusiveLock' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`.execute(db);
  return new Set(rows.map(({ writer }) => writer));
}

/** Whether the log holds this event, or has held it: the oldest are deleted, on record. */
export async function isOnRecord(db: Read, { id, atMs }: { id: bigint; atMs: bigint }): Promise<boolean> {
  const row = await db.selectFrom('event').select('at_ms').where('id', '=', id).executeTakeFirst();
  if (row !== undefined) return row.at_ms === atMs;
  const retired = await db
    .selectFrom('event_retirement')
    .select('last_id')
    .orderBy('last_id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return retired !== undefined && retired.last_id >= id;
}

/**
 * A number right before the first event of this time or a later one. It goes by halves, by the key alone: the log has no
 * index by time. Numbers and times grow together but for the steps of a clock.
 */
export async function numberBefore(db: Read, timeMs: bigint): Promise<bigint> {
  const from = (id: bigint) =>
    db.selectFrom('event').select(['id', 'at_ms']).where('id', '>=', id).orderBy('id').limit(1).executeTakeFirst();
  const first = await from(0n);
  if (first === undefined) return 0n;
  let [low, high] = [first.id, (await readLastEvent(db)) + 1n];
  while (low < high) {
    const middle = (low + high) / 2n;
    const row = await from(middle);
    if (row === undefined || row.at_ms >= timeMs) high = middle;
    else low = row.id + 1n;
  }
  return low - 1n;
}
