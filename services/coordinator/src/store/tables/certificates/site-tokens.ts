/**
 * Tokens with which machines join as sites. The secret is known by its digest only. A token belongs to the first public
 * key that uses it: the row is taken in one statement, so that of two machines at once one gets it.
 */
import type { Schema } from '../../schema.ts';
import type { Read, Write } from '../../store.ts';

export interface SiteTokenRecord {
  readonly id: string;
  readonly site: string;
  /** SHA-256, hexadecimal. */
  readonly secretDigest: string;
  readonly createdBy: string;
  readonly createdMs: number;
  readonly expiresMs: number;
  readonly use: SiteTokenUse | undefined;
  readonly revoked: { readonly atMs: number; readonly by: string } | undefined;
}

export interface SiteTokenUse {
  /** SHA-256 of the public key, hexadecimal. */
  readonly key: string;
  readonly atMs: number;
  /** Address and port. */
  readonly from: string;
}

/** As many as people look at. */
const LIST_MAX = 200;

const whole = (ms: number): bigint => BigInt(Math.round(ms));

export async function insertSiteToken(
  trx: Write,
  { id, site, secretDigest, createdBy, createdMs, expiresMs }: Omit<SiteTokenRecord, 'use' | 'revoked'>,
): Promise<void> {
  await trx
    .insertInto('site_token')
    .values({
      id,
      site,
      secret_digest: secretDigest,
      created_by: createdBy,
      created_ms: whole(createdMs),
      expires_ms: whole(expiresMs),
    })
    .execute();
}

/** Gives a token to a key, if nobody has it yet. The record names the key that has it then. */
export async function takeSiteToken(trx: Write, { id, use }: { id: string; use: SiteTokenUse }): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('site_token')
    .set({ used_key: use.key, used_ms: whole(use.atMs), used_from: use.from })
    .where('id', '=', id)
    .where('used_key', 'is', null)
    .where('revoked_ms', 'is', null)
    .where('expires_ms', '>', whole(use.atMs))
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Whether it was in force until now. */
export async function revokeSiteToken(
  trx: Write,
  { id, atMs, by }: { id: string; atMs: number; by: string },
): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('site_token')
    .set({ revoked_ms: whole(atMs), revoked_by: by })
    .where('id', '=', id)
    .where('revoked_ms', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** All tokens of a site that are in force. Returns how many there were. */
export async function revokeSiteTokensOf(
  trx: Write,
  { site, atMs, by }: { site: string; atMs: number; by: string },
): Promise<number> {
  const { numUpdatedRows } = await trx
    .updateTable('site_token')
    .set({ revoked_ms: whole(atMs), revoked_by: by })
    .where('site', '=', site)
    .where('revoked_ms', 'is', null)
    .where('expires_ms', '>', whole(atMs))
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

export async function readSiteToken(db: Read, id: string): Promise<SiteTokenRecord | undefined> {
  const row = await db.selectFrom('site_token').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : recordOf(row);
}

/** Newest first. */
export async function readSiteTokens(db: Read): Promise<SiteTokenRecord[]> {
  const rows = await db
    .selectFrom('site_token')
    .selectAll()
    .orderBy('created_ms', 'desc')
    .orderBy('id')
    .limit(LIST_MAX)
    .execute();
  return rows.map(recordOf);
}

export async function countOpenSiteTokens(db: Read, { atMs }: { atMs: number }): Promise<number> {
  const { count } = await db
    .selectFrom('site_token')
    .select((of) => of.fn.countAll<bigint>().as('count'))
    .where('expires_ms', '>', whole(atMs))
    .executeTakeFirstOrThrow();
  return Number(count);
}

/** A copy of the database that comes back does not know which of them have been used since. */
export async function dropUnusedSiteTokens(trx: Write): Promise<void> {
  await trx.deleteFrom('site_token').where('used_key', 'is', null).execute();
}

const recordOf = (row: Schema['site_token']): SiteTokenRecord => ({
  id: row.id,
  site: row.site,
  secretDigest: row.secret_digest,
  createdBy: row.created_by,
  createdMs: Number(row.created_ms),
  expiresMs: Number(row.expires_ms),
  use:
    row.used_key === null
      ? undefined
      : { key: row.used_key, atMs: Number(row.used_ms ?? 0n), from: row.used_from ?? '' },
  revoked: row.revoked_ms === null ? undefined : { atMs: Number(row.revoked_ms), by: row.revoked_by ?? '' },
});
