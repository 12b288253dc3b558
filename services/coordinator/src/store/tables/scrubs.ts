/** The last scrub of each member. */
import { fixed } from '../fixed-statement.ts';
import type { Read, Write } from '../store.ts';

export interface ScrubRecord {
  readonly group: string;
  readonly site: string;
  readonly startedMs: number;
  /** Empty where it passed. */
  readonly errorCode: string;
}

/** A scrub that began before the one on record changes nothing. */
export async function recordScrub(trx: Write, { group, site, startedMs, errorCode }: ScrubRecord): Promise<void> {
  const found = { started_ms: BigInt(Math.round(startedMs)), error_code: errorCode };
  await trx
    .insertInto('scrub')
    .values({ grp: group, site, ...found })
    .onConflict((conflict) =>
      conflict.columns(['grp', 'site']).doUpdateSet(found).where('scrub.started_ms', '<=', found.started_ms),
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
  }));
}

const scrubsOf = fixed((db, { group }: { group: string }) =>
  db.selectFrom('scrub').selectAll().where('grp', '=', group).orderBy('site'),
);
