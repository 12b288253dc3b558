/**
 * The objects that each member last reported it could not restore. They are kept here for a site that is down, or was
 * not heard since a restart.
 */
import type { Read, Write } from '../store.ts';

export interface RefusedThere {
  readonly objectId: string;
  readonly kind: string;
  readonly code: string;
  readonly returnValue: string;
}

export interface RefusedRecord {
  readonly site: string;
  /** The first of them. */
  readonly refused: readonly RefusedThere[];
  readonly objects: number;
  /** When it was said first as it is now. */
  readonly atMs: number;
}

export async function recordRefused(
  trx: Write,
  { group, site, refused, objects, atMs }: RefusedRecord & { group: string },
): Promise<void> {
  const said = { refused: JSON.stringify(refused), objects, at_ms: BigInt(Math.round(atMs)) };
  await trx
    .insertInto('member_refused')
    .values({ grp: group, site, ...said })
    .onConflict((conflict) => conflict.columns(['grp', 'site']).doUpdateSet(said))
    .execute();
}

export async function readRefused(db: Read, group: string): Promise<RefusedRecord[]> {
  const rows = await db.selectFrom('member_refused').selectAll().where('grp', '=', group).execute();
  return rows.map(({ site, refused, objects, at_ms }) => ({
    site,
    refused: JSON.parse(refused) as RefusedThere[],
    objects,
    atMs: Number(at_ms),
  }));
}
