/** Notices for operators, and how far each receiver has been told. */
import type { NoticeKind } from '../../notices/causes.ts';
import type { Notice } from '../../notices/ledger.ts';
import type { Read, Write } from '../store.ts';

/** All on record, the oldest first. */
export async function readNotices(db: Read): Promise<Notice[]> {
  const rows = await db.selectFrom('notice').selectAll().orderBy('since_ms').orderBy('id').execute();
  return rows.map((row) => ({
    id: row.id,
    kind: row.kind as NoticeKind,
    group: row.grp,
    site: row.site,
    text: row.text,
    sinceMs: Number(row.since_ms),
    raisedMs: numberOf(row.raised_ms),
    absentMs: numberOf(row.absent_ms),
    resolvedMs: numberOf(row.resolved_ms),
  }));
}

export async function putNotice(trx: Write, notice: Notice): Promise<void> {
  const { id, kind, group, site, text, sinceMs, raisedMs, absentMs, resolvedMs } = notice;
  const changing = {
    text,
    raised_ms: bigOf(raisedMs),
    absent_ms: bigOf(absentMs),
    resolved_ms: bigOf(resolvedMs),
  };
  await trx
    .insertInto('notice')
    .values({ id, kind, grp: group, site, since_ms: BigInt(Math.round(sinceMs)), ...changing })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(changing))
    .execute();
}

/** With what receivers have accepted of them. */
export async function dropNotices(trx: Write, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await trx
    .deleteFrom('notice_told')
    .where('notice', 'in', [...ids])
    .execute();
  await trx
    .deleteFrom('notice')
    .where('id', 'in', [...ids])
    .execute();
}

/** A message to a receiver that it has not accepted yet. */
export interface Batch {
  readonly id: string;
  /** JSON of the message, so that every attempt sends the same. */
  readonly message: string;
  readonly madeMs: number;
  readonly parts: readonly Told[];
}

export interface Told {
  readonly notice: string;
  readonly state: 'raised' | 'resolved';
}

export interface ReceiverRecord {
  readonly name: string;
  /** In the configuration since then: it hears of nothing that had ended before. */
  readonly sinceMs: number;
  readonly batch: Batch | undefined;
  /** The last state of each notice that it has accepted. */
  readonly told: ReadonlyMap<string, Told['state']>;
}

export async function readReceivers(db: Read): Promise<ReceiverRecord[]> {
  const receivers = await db.selectFrom('notice_receiver').selectAll().orderBy('name').execute();
  const told = await db.selectFrom('notice_told').selectAll().execute();
  return receivers.map(({ name, since_ms, batch }) => ({
    name,
    sinceMs: Number(since_ms),
    batch: batch === '' ? undefined : (JSON.parse(batch) as Batch),
    told: new Map(
      told.filter(({ receiver }) => receiver === name).map(({ notice, state }) => [notice, state as Told['state']]),
    ),
  }));
}

export async function insertReceiver(trx: Write, { name, sinceMs }: { name: string; sinceMs: number }): Promise<void> {
  await trx
    .insertInto('notice_receiver')
    .values({ name, since_ms: BigInt(Math.round(sinceMs)), batch: '' })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function dropReceivers(trx: Write, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  await trx
    .deleteFrom('notice_told')
    .where('receiver', 'in', [...names])
    .execute();
  await trx
    .deleteFrom('notice_receiver')
    .where('name', 'in', [...names])
    .execute();
}

/** Undefined where the last one was accepted. */
export async function setBatch(trx: Write, name: string, batch: Batch | undefined): Promise<void> {
  await trx
    .updateTable('notice_receiver')
    .set({ batch: batch === undefined ? '' : JSON.stringify(batch) })
    .where('name', '=', name)
    .execute();
}

/** A notice that is off the record by now needs no word of it. */
export async function recordTold(trx: Write, receiver: string, parts: readonly Told[]): Promise<void> {
  const ids = parts.map(({ notice }) => notice);
  const rows = await trx.selectFrom('notice').select('id').where('id', 'in', ids).execute();
  const there = new Set(rows.map(({ id }) => id));
  for (const { notice, state } of parts.filter((part) => there.has(part.notice)))
    await trx
      .insertInto('notice_told')
      .values({ receiver, notice, state })
      .onConflict((conflict) => conflict.columns(['receiver', 'notice']).doUpdateSet({ state }))
      .execute();
}

const numberOf = (value: bigint | null): number | undefined => (value === null ? undefined : Number(value));
const bigOf = (value: number | undefined): bigint | null => (value === undefined ? null : BigInt(Math.round(value)));
