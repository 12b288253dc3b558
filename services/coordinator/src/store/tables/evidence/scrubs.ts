/** The last scrub of each member. */
import { sql } from 'kysely';
import { fixed } from '../../fixed-statement.ts';
import type { Read, Write } from '../../store.ts';

export interface ScrubRecord {
  readonly group: string;
  readonly site: string;
  readonly startedMs: number;
  /** Empty where it passed. */
  readonly errorCode: string;
  /** How many in a row could not look: 0 where this one passed or found damage. */
  readonly failures: number;
}

/** A scrub that has ended. `hasLooked`: it passed, or it found damage. */
export interface ScrubEnd extends Omit<ScrubRecord, 'failures'> {
  readonly hasLooked: boolean;
}

/** A scrub that began before the one on record changes nothing. */
export async function recordScrub(
  trx: Write,
  { group, site, startedMs, errorCode, hasLooked }: ScrubEnd,
): Promise<void> {
  const found = { started_ms: BigInt(Math.round(startedMs)), error_code: errorCode };
  await trx
    .insertInto('scrub')
    .values({ grp: group, site, ...found, failures: hasLooked ? 0 : 1 })
    .onConflict((conflict) =>
      conflict
        .columns(['grp', 'site'])
        .doUpdateSet({ ...found, failures: hasLooked ? 0 : sql`scrub.failures + 1` })
        .where('scrub.started_ms', '<=', found.started_ms),
    )
    .execute();
}

export async function readScrubs(db: Read, group: string): Promise<ScrubRecord[]> {
  const { rows } = await scrubsOf(db, { group });
  return rows.map((row) => ({
    group: row.grp,
    site: row.site,
    startedMs: Number(row.started_ms),
    errorCode: row.error_code,
    failures: row.failures,
  }));
}

const scrubsOf = fixed((db, { group }: { group: string }) =>
  db.selectFrom('scrub').selectAll().where('grp', '=', group).orderBy('site'),
);
