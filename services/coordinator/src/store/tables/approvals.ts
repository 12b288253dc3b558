/**
 * Approvals of operators as they were submitted, and where agents have used them. These records decide nothing: agents
 * judge the signatures themselves.
 */
import type { OperatorSignature } from '@antipode/protocol';
import { fromHex, hex } from '@antipode/runtime';
import { type Read, toJson, type Write } from '../store.ts';

/** `by` has submitted it. Absent from what earlier releases stored. */
export interface SubmittedSignature extends OperatorSignature {
  readonly by?: string;
}

export interface ApprovalRecord {
  readonly digest: string;
  readonly group: string;
  readonly action: string;
  /** The canonical text. */
  readonly request: string;
  readonly signatures: readonly SubmittedSignature[];
  readonly submittedBy: string;
  readonly submittedMs: number;
  readonly expiresMs: number;
}

/** As an agent reports it. */
export interface ApprovalUseRecord {
  readonly site: string;
  readonly digest: string;
  readonly group: string;
  readonly action: string;
  readonly operation: string;
  readonly requestedBy: string;
  readonly approvedBy: readonly string[];
  readonly usedMs: number;
}

/** Expired approvals are kept for so long, and so are the uses that agents report. The event log has them too. */
export const APPROVAL_DAYS = 400;

/** As many as people look at. */
const LIST_MAX = 200;

/** With the signatures that are on record already. Returns what is on record then. */
export async function recordApproval(trx: Write, approval: ApprovalRecord): Promise<ApprovalRecord> {
  const [before] = await readApprovals(trx, { digest: approval.digest });
  const own = approval.signatures.map(({ operator, signature }) => ({ operator, signature, by: approval.submittedBy }));
  const signatures = mergedSignatures([...(before?.signatures ?? []), ...own]);
  const values = {
    digest: approval.digest,
    grp: approval.group,
    action: approval.action,
    request: approval.request,
    signatures: toJson(signatures.map((one) => ({ ...one, signature: hex(one.signature) }))),
    submitted_by: approval.submittedBy,
    submitted_ms: BigInt(Math.round(approval.submittedMs)),
    expires_ms: BigInt(Math.round(approval.expiresMs)),
  };
  await trx
    .insertInto('approval')
    .values(values)
    .onConflict((conflict) => conflict.column('digest').doUpdateSet({ signatures: values.signatures }))
    .execute();
  return { ...(before ?? approval), signatures };
}

/** As many as an agent looks at. */
const SIGNATURES_MAX = 64;

/**
 * One of a kind: people submit the same file twice. Somebody who signs again may have had a wrong key before, so the last
 * one counts of those that one person has submitted. Signatures that others have submitted stay. Nobody here knows the
 * keys, and a wrong signature must not take the place of the right one.
 */
function mergedSignatures(all: readonly SubmittedSignature[]): SubmittedSignature[] {
  const last = new Map(all.map((one) => [`${one.operator} ${one.by ?? ''}`, one])).values();
  const distinct = new Map<string, SubmittedSignature>();
  for (const one of last) {
    const key = `${one.operator} ${hex(one.signature)}`;
    if (!distinct.has(key)) distinct.set(key, one);
  }
  return [...distinct.values()].slice(0, SIGNATURES_MAX);
}

/** Newest first. */
export async function readApprovals(
  db: Read,
  {
    group,
    digest,
    actions,
    endAfterMs,
    limit = LIST_MAX,
  }: { group?: string; digest?: string; actions?: readonly string[]; endAfterMs?: number; limit?: number },
): Promise<ApprovalRecord[]> {
  let query = db.selectFrom('approval').selectAll().orderBy('submitted_ms', 'desc').orderBy('digest').limit(limit);
  if (group !== undefined) query = query.where('grp', '=', group);
  if (digest !== undefined) query = query.where('digest', '=', digest);
  if (actions !== undefined) query = query.where('action', 'in', [...actions]);
  if (endAfterMs !== undefined) query = query.where('expires_ms', '>', BigInt(Math.round(endAfterMs)));
  return (await query.execute()).map((row) => ({
    digest: row.digest,
    group: row.grp,
    action: row.action,
    request: row.request,
    signatures: (JSON.parse(row.signatures) as { operator: string; signature: string; by?: string }[]).map((one) => ({
      ...one,
      signature: fromHex(one.signature),
    })),
    submittedBy: row.submitted_by,
    submittedMs: Number(row.submitted_ms),
    expiresMs: Number(row.expires_ms),
  }));
}

/** Whether it is new. */
export async function recordApprovalUse(trx: Write, use: ApprovalUseRecord): Promise<boolean> {
  const { site, digest, group, usedMs } = use;
  const { numInsertedOrUpdatedRows = 0n } = await trx
    .insertInto('approval_use')
    .values({ site, digest, grp: group, use: toJson(use), used_ms: BigInt(Math.round(usedMs)) })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows > 0n;
}

/** Newest first. */
export async function readApprovalUses(
  db: Read,
  { group, limit = LIST_MAX }: { group?: string; limit?: number },
): Promise<ApprovalUseRecord[]> {
  const all = db.selectFrom('approval_use').select('use').orderBy('used_ms', 'desc').limit(limit);
  const rows = await (group === undefined ? all : all.where('grp', '=', group)).execute();
  return rows.map(({ use }) => JSON.parse(use) as ApprovalUseRecord);
}
