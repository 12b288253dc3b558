/** Sites as they last announced themselves: where their agents are, and what an application loads there. */
import type { Seat } from '../../../model.ts';
import type { Schema } from '../../schema.ts';
import type { Read, Write } from '../../store.ts';

export interface Place {
  readonly serial: string;
  readonly module: string;
  readonly tokenLabel: string;
}

export async function recordSite(trx: Write, row: Schema['site']): Promise<void> {
  await trx
    .insertInto('site')
    .values(row)
    .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
    .execute();
}

export async function readSites(db: Read): Promise<{ site: string; address: string }[]> {
  const rows = await db
    .selectFrom('site')
    .select(['name', 'address'])
    // A coordinator of an earlier release writes the row of a forgotten site again.
    .where('name', 'not in', (of) => of.selectFrom('forgotten_site').select('name'))
    .execute();
  return rows.map(({ name, address }) => ({ site: name, address }));
}

/** Where a partition is, by what its site said last; undefined when it never did. */
export async function readPlace(db: Read, { site, serial }: Seat): Promise<Place | undefined> {
  const row = await db.selectFrom('site').select('partitions').where('name', '=', site).executeTakeFirst();
  return (JSON.parse(row?.partitions ?? '[]') as Place[]).find((place) => place.serial === serial);
}
