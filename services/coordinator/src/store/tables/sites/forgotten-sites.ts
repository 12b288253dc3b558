/** Sites that operators have retired. The row stays until an operator takes the site back. */
import type { Read, Write } from '../../store.ts';

export interface ForgottenSiteRecord {
  readonly site: string;
  readonly operator: string;
  readonly atMs: number;
  /** Where its agent was last. */
  readonly address: string;
}

/** Moves the row of a site here. Whether it was not here yet. */
export async function forgetSite(
  trx: Write,
  { site, operator, atMs }: Pick<ForgottenSiteRecord, 'site' | 'operator' | 'atMs'>,
): Promise<boolean> {
  const known = await trx.selectFrom('site').select('address').where('name', '=', site).executeTakeFirst();
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('forgotten_site')
    .values({ name: site, operator, at_ms: BigInt(Math.round(atMs)), address: known?.address ?? '' })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .executeTakeFirst();
  await trx.deleteFrom('site').where('name', '=', site).execute();
  return numInsertedOrUpdatedRows === 1n;
}

/** Whether it was forgotten. */
export async function readmitSite(trx: Write, site: string): Promise<boolean> {
  const { numDeletedRows } = await trx.deleteFrom('forgotten_site').where('name', '=', site).executeTakeFirst();
  return numDeletedRows === 1n;
}

export async function readForgottenSites(db: Read): Promise<ForgottenSiteRecord[]> {
  const rows = await db.selectFrom('forgotten_site').selectAll().orderBy('name').execute();
  return rows.map(({ name, operator, at_ms, address }) => ({ site: name, operator, atMs: Number(at_ms), address }));
}
