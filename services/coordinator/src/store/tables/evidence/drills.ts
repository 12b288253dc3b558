/** Drills that ended, with their evidence. */
import type { Proof } from '../../../model.ts';
import { type Read, toJson, type Write } from '../../store.ts';

export interface DrillRecord {
  readonly id: string;
  readonly group: string;
  readonly site: string;
  readonly number: bigint;
  readonly passed: boolean;
  readonly proof: Proof;
  readonly errorCode: string;
  readonly startedMs: number;
  readonly recoveryTimeMs: number;
  readonly evidence: string;
  readonly signature: Uint8Array;
  readonly signer: Uint8Array;
  /** Serial number of the vault that it restored from; absent for a drill of a sealed generation. */
  readonly vault?: string;
}

const LIST_MAX = 500;

export async function recordDrill(trx: Write, drill: DrillRecord): Promise<void> {
  await trx
    .insertInto('drill')
    .values({
      id: drill.id,
      grp: drill.group,
      site: drill.site,
      number: drill.number,
      passed: drill.passed,
      proof: toJson(drill.proof),
      error_code: drill.errorCode,
      started_ms: BigInt(drill.startedMs),
      recovery_time_ms: BigInt(drill.recoveryTimeMs),
      evidence: drill.evidence,
      signature: Buffer.from(drill.signature),
      signer: Buffer.from(drill.signer),
      vault: drill.vault ?? '',
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Newest first. */
export async function readDrills(
  db: Read,
  { group, limit }: { group?: string; limit: number },
): Promise<DrillRecord[]> {
  const all = db.selectFrom('drill').selectAll().orderBy('started_ms', 'desc').limit(Math.min(limit, LIST_MAX));
  const rows = await (group === undefined ? all : all.where('grp', '=', group)).execute();
  return rows.map((row) => ({
    id: row.id,
    group: row.grp,
    site: row.site,
    number: row.number,
    passed: row.passed,
    proof: JSON.parse(row.proof) as Proof,
    errorCode: row.error_code,
    startedMs: Number(row.started_ms),
    recoveryTimeMs: Number(row.recovery_time_ms),
    evidence: row.evidence,
    signature: row.signature,
    signer: row.signer,
    ...(row.vault === '' ? {} : { vault: row.vault }),
  }));
}

/** How a drill ended. */
export type DrillEnd = Pick<DrillRecord, 'site' | 'passed' | 'errorCode' | 'startedMs'>;

/** So many in a row tell how long a cause has lasted. */
const ENDS_MAX = 8;

/** The last few drills of sealed generations, newest first: small, since the planner asks often. */
export async function readDrillEnds(db: Read, group: string): Promise<DrillEnd[]> {
  const rows = await db
    .selectFrom('drill')
    .select(['site', 'passed', 'error_code', 'started_ms'])
    .where('grp', '=', group)
    .where('vault', '=', '')
    .orderBy('started_ms', 'desc')
    .limit(ENDS_MAX)
    .execute();
  return rows.map(({ site, passed, error_code, started_ms }) => ({
    site,
    passed,
    errorCode: error_code,
    startedMs: Number(started_ms),
  }));
}

/** Of drills of sealed generations, since the group was declared: another one may have had its name. */
export async function readLastPassed(
  db: Read,
  group: string,
  { sinceMs }: { sinceMs: number },
): Promise<number | undefined> {
  const row = await db
    .selectFrom('drill')
    .select('started_ms')
    .where('grp', '=', group)
    .where('passed', '=', true)
    .where('vault', '=', '')
    .where('started_ms', '>=', BigInt(Math.round(sinceMs)))
    .orderBy('started_ms', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row && Number(row.started_ms);
}
