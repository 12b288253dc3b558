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

/** All that one site reports at a time. */
export async function recordRefused(
  trx: Write,
  records: readonly (RefusedRecord & { readonly group: string })[],
): Promise<void> {
  if (records.length === 0) return;
  await trx
    .insertInto('member_refused')
    .values(
      records.map(({ group, site, refused, objects, atMs }) => ({
        grp: group,
        site,
        refused: JSON.stringify(refused),
        objects,
        at_ms: BigInt(Math.round(atMs)),
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(['grp', 'site']).doUpdateSet((eb) => ({
        refused: eb.ref('excluded.refused'),
        objects: eb.ref('excluded.objects'),
        at_ms: eb.ref('excluded.at_ms'),
      })),
    )
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
