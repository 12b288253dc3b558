/** Work with vaults that ended, with its evidence. A vault can be offline for weeks: this is what is known of it. */
import type { ArchiveWorkName } from '@antipode/protocol';
import type { Proof, Seat } from '../../../model.ts';
import { fixed } from '../../fixed-statement.ts';
import type { Schema } from '../../schema.ts';
import { type Read, toJson, type Write } from '../../store.ts';

export interface ArchiveRunRecord {
  readonly id: string;
  readonly group: string;
  readonly site: string;
  /** Of the vault. */
  readonly serial: string;
  readonly work: ArchiveWorkName;
  /** Empty where no backup was made or found. */
  readonly backup: string;
  readonly epoch: bigint;
  readonly number: bigint;
  /** Empty where the site did not do it. */
  readonly verdict: string;
  /** Empty where it ended well. */
  readonly errorCode: string;
  readonly objects: number;
  readonly startedMs: number;
  readonly proof: Proof;
  readonly evidence: string;
  readonly signature: Uint8Array;
  readonly signer: Uint8Array;
}

/** The record of one vault, since the group was declared. */
export interface ArchiveStanding extends Seat {
  /** The newest complete backup that no order has deleted. */
  readonly complete: ArchiveRunRecord | undefined;
  /** The newest attempt at a backup. */
  readonly attempt: ArchiveRunRecord | undefined;
  /** The newest drill in which every key was used. */
  readonly proven: ArchiveRunRecord | undefined;
}

const LIST_MAX = 500;

/** The same run again changes nothing. */
export async function recordArchiveRun(trx: Write, run: ArchiveRunRecord): Promise<void> {
  await trx
    .insertInto('archive_run')
    .values({
      id: run.id,
      grp: run.group,
      site: run.site,
      serial: run.serial,
      work: run.work,
      backup: run.backup,
      epoch: run.epoch,
      number: run.number,
      verdict: run.verdict,
      error_code: run.errorCode,
      objects: run.objects,
      started_ms: BigInt(Math.round(run.startedMs)),
      proof: toJson(run.proof),
      evidence: run.evidence,
      signature: Buffer.from(run.signature),
      signer: Buffer.from(run.signer),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Newest first. */
export async function readArchiveRuns(
  db: Read,
  { group, limit }: { group: string; limit: number },
): Promise<ArchiveRunRecord[]> {
  const rows = await db
    .selectFrom('archive_run')
    .selectAll()
    .where('grp', '=', group)
    .orderBy('started_ms', 'desc')
    .limit(Math.min(limit, LIST_MAX))
    .execute();
  return rows.map(runFrom);
}

/** One for each vault. Since the group was declared: another one may have had its name. */
export async function readArchiveStandings(
  db: Read,
  group: string,
  { vaults, sinceMs }: { vaults: readonly Seat[]; sinceMs: number },
): Promise<ArchiveStanding[]> {
  const standings: ArchiveStanding[] = [];
  for (const { site, serial } of vaults) {
    const place = { group, site, serial, sinceMs: BigInt(Math.round(sinceMs)) };
    const [complete] = (await newestEnded(db, { ...place, work: 'backup', verdict: 'complete' })).rows;
    const [attempt] = (await newestTried(db, { ...place, work: 'backup' })).rows;
    const [proven] = (await newestEnded(db, { ...place, work: 'drill', verdict: 'proved' })).rows;
    standings.push({
      site,
      serial,
      complete: complete && runFrom(complete),
      attempt: attempt && runFrom(attempt),
      proven: proven && runFrom(proven),
    });
  }
  return standings;
}

interface Place {
  readonly group: string;
  readonly site: string;
  readonly serial: string;
  readonly work: string;
  readonly sinceMs: bigint;
}

const runsAt = (db: Read, { group, site, serial, work, sinceMs }: Place) =>
  db
    .selectFrom('archive_run')
    .selectAll()
    .where('grp', '=', group)
    .where('site', '=', site)
    .where('serial', '=', serial)
    .where('work', '=', work)
    .where('started_ms', '>=', sinceMs)
    .orderBy('started_ms', 'desc')
    .limit(1);

const newestTried = fixed((db, place: Place) => runsAt(db, place));
const newestEnded = fixed((db, place: Place & { readonly verdict: string }) =>
  runsAt(db, place)
    .where('verdict', '=', place.verdict)
    .where('error_code', '=', '')
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('archive_run as deletion')
            .select('deletion.id')
            .whereRef('deletion.grp', '=', 'archive_run.grp')
            .whereRef('deletion.site', '=', 'archive_run.site')
            .whereRef('deletion.serial', '=', 'archive_run.serial')
            .where('deletion.work', '=', 'delete')
            .where('deletion.verdict', '=', 'gone')
            .whereRef('deletion.backup', '=', 'archive_run.backup')
            .where('archive_run.work', '=', 'backup'),
        ),
      ),
    ),
);

const runFrom = (row: Schema['archive_run']): ArchiveRunRecord => ({
  id: row.id,
  group: row.grp,
  site: row.site,
  serial: row.serial,
  work: row.work as ArchiveWorkName,
  backup: row.backup,
  epoch: row.epoch,
  number: row.number,
  verdict: row.verdict,
  errorCode: row.error_code,
  objects: row.objects,
  startedMs: Number(row.started_ms),
  proof: JSON.parse(row.proof) as Proof,
  evidence: row.evidence,
  signature: row.signature,
  signer: row.signer,
});
