/**
 * Deletes records that are not kept for ever. Each call deletes one batch, oldest first. So no statement takes long,
 * and a backlog of a year is worked off step by step.
 */
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { toJson, type Write } from '../store.ts';
import { readAcknowledged } from './generations.ts';

const BATCH = 2_000;
/** Of one group. There are hundreds of groups. */
const GENERATIONS_BATCH = 500;

/** @returns how many were taken away; as many as a batch holds where there may be more */
export type Retire = (trx: Write) => Promise<number>;

/** Intents that ended long ago; their effects are on record elsewhere. Failovers that took place are kept. */
export const retireIntents =
  ({ beforeMs }: { beforeMs: number }): Retire =>
  async (trx) => {
    const { numDeletedRows } = await trx
      .deleteFrom('intent')
      .where('id', 'in', (eb) =>
        eb
          .selectFrom('intent')
          .select('id')
          .where('created_ms', '<', BigInt(Math.round(beforeMs)))
          .where('status', 'in', ['done', 'failed', 'cancelled', 'dismissed'])
          .where((where) => where.or([where('kind', '!=', 'failover'), where('status', '!=', 'done')]))
          .orderBy('created_ms')
          .limit(BATCH),
      )
      .executeTakeFirstOrThrow();
    return Number(numDeletedRows);
  };

/** Captures that found no change: an idle group has hundreds a day. The words are those of an index (store/schema.ts). */
export const retireUnchangedCaptures =
  ({ beforeMs }: { beforeMs: number }): Retire =>
  async (trx) => {
    const { numAffectedRows = 0n } = await sql`
      DELETE FROM intent WHERE id IN (
        SELECT id FROM intent WHERE kind = 'capture' AND status = 'done' AND state LIKE '%"isNew":false%'
          AND created_ms < ${BigInt(Math.round(beforeMs))} ORDER BY created_ms LIMIT ${BATCH})`.execute(trx);
    return Number(numAffectedRows);
  };

/**
 * Generations of a group that are older than `beforeMs`. The newest `keep` stay however old they are, and so does what
 * somebody may still ask for: the newest that each member has acknowledged, and those on which an epoch was issued.
 */
export const retireGenerations =
  (group: string, { beforeMs, keep }: { beforeMs: number; keep: number }): Retire =>
  async (trx) => {
    const [oldestKept] = await trx
      .selectFrom('generation')
      .select(['epoch', 'number'])
      .where('grp', '=', group)
      .orderBy('epoch', 'desc')
      .orderBy('number', 'desc')
      .limit(1)
      .offset(keep - 1)
      .execute();
    if (oldestKept === undefined) return 0;
    const bases = await trx
      .selectFrom('epoch')
      .select(['base_epoch as epoch', 'base_number as number'])
      .where('grp', '=', group)
      .where('base_epoch', 'is not', null)
      .execute();
    const kept = new Set(
      [...bases, ...(await readAcknowledged(trx, group))].map((one) => `${one.epoch} ${one.number}`),
    );
    // The oldest of the line, whatever their age: looking for old ones among all would read a whole month each time.
    const oldest = await trx
      .selectFrom('generation')
      .select(['epoch', 'number', 'recovery_point_ms'])
      .where('grp', '=', group)
      .where(sql<boolean>`(epoch, number) < (${oldestKept.epoch}, ${oldestKept.number})`)
      .orderBy('epoch')
      .orderBy('number')
      .limit(GENERATIONS_BATCH + kept.size)
      .execute();
    const old = oldest.filter(({ recovery_point_ms }) => recovery_point_ms < BigInt(Math.round(beforeMs)));
    const doomed = old.filter(({ epoch, number }) => !kept.has(`${epoch} ${number}`));
    if (doomed.length === 0) return 0;
    const named = sql`(SELECT * FROM unnest(${doomed.map(({ epoch }) => epoch.toString())}::int8[], ${doomed.map(({ number }) => number.toString())}::int8[]))`;
    await sql`DELETE FROM acknowledgement WHERE grp = ${group} AND (epoch, number) IN ${named}`.execute(trx);
    await sql`DELETE FROM generation WHERE grp = ${group} AND (epoch, number) IN ${named}`.execute(trx);
    return doomed.length;
  };

/** Approvals that nobody can use any more. Where and for what each was used is in the event log. */
export const retireApprovals =
  ({ beforeMs }: { beforeMs: number }): Retire =>
  async (trx) => {
    const { numDeletedRows } = await trx
      .deleteFrom('approval')
      .where('digest', 'in', (eb) =>
        eb
          .selectFrom('approval')
          .select('digest')
          .where('expires_ms', '<', BigInt(Math.round(beforeMs)))
          .orderBy('expires_ms')
          .limit(BATCH),
      )
      .executeTakeFirstOrThrow();
    return Number(numDeletedRows);
  };

/** Uses that are as old. Agents keep theirs for ever, and those that are older than this are not recorded again. */
export const retireApprovalUses =
  ({ beforeMs }: { beforeMs: number }): Retire =>
  async (trx) => {
    const { numAffectedRows = 0n } = await sql`
      DELETE FROM approval_use WHERE (site, digest) IN (
        SELECT site, digest FROM approval_use WHERE used_ms < ${BigInt(Math.round(beforeMs))} ORDER BY used_ms LIMIT ${BATCH})`.execute(
      trx,
    );
    return Number(numAffectedRows);
  };

/** Tokens that ended long ago. The event log has the operator who made each, and the machine that used it. */
export const retireSiteTokens =
  ({ beforeMs }: { beforeMs: number }): Retire =>
  async (trx) => {
    const { numDeletedRows } = await trx
      .deleteFrom('site_token')
      .where('expires_ms', '<', BigInt(Math.round(beforeMs)))
      .executeTakeFirstOrThrow();
    return Number(numDeletedRows);
  };

/** Fire times of calendars, but for the last of each. */
export const retireFires =
  ({ beforeMs }: { beforeMs: number }): Retire =>
  async (trx) => {
    const { numAffectedRows = 0n } = await sql`
      DELETE FROM schedule_fire WHERE (schedule, fire_ms) IN (
        SELECT schedule, fire_ms FROM schedule_fire old WHERE fire_ms < ${BigInt(Math.round(beforeMs))}
          AND EXISTS (SELECT 1 FROM schedule_fire WHERE schedule = old.schedule AND fire_ms > old.fire_ms) LIMIT ${BATCH})`.execute(
      trx,
    );
    return Number(numAffectedRows);
  };

/**
 * The oldest events. The log stays append-only for everybody else: a trigger permits deletion only of events whose
 * number and digest were first written into `event_retirement` (store/schema.ts). Each digest covers the one before it.
 * So a copy of the log that somebody keeps can always be checked against it.
 */
export const retireEvents =
  ({ beforeMs, keep, atMs }: { beforeMs: number; keep: number; atMs: number }): Retire =>
  async (trx) => {
    const [oldestKept] = await trx
      .selectFrom('event')
      .select('id')
      .orderBy('id', 'desc')
      .limit(1)
      .offset(keep - 1)
      .execute();
    if (oldestKept === undefined) return 0;
    const rows = await trx
      .selectFrom('event')
      .selectAll()
      .where('id', '<', oldestKept.id)
      .orderBy('id')
      .limit(BATCH)
      .execute();
    // A beginning of the log only: one that is too young keeps all that follow it.
    const young = rows.findIndex(({ at_ms }) => at_ms >= BigInt(Math.round(beforeMs)));
    const doomed = young < 0 ? rows : rows.slice(0, young);
    const [first, last] = [doomed[0], doomed.at(-1)];
    if (first === undefined || last === undefined) return 0;
    const former = await trx
      .selectFrom('event_retirement')
      .select('sha256')
      .orderBy('last_id', 'desc')
      .limit(1)
      .executeTakeFirst();
    await trx
      .insertInto('event_retirement')
      .values({
        first_id: first.id,
        last_id: last.id,
        count: doomed.length,
        sha256: digestOf(former?.sha256 ?? '', doomed),
        at_ms: BigInt(Math.round(atMs)),
      })
      .execute();
    const { numDeletedRows } = await trx.deleteFrom('event').where('id', '<=', last.id).executeTakeFirstOrThrow();
    return Number(numDeletedRows);
  };

/** SHA-256 over the digest before it and one line of JSON for each event, in order. */
export function digestOf(
  former: string,
  events: readonly { id: bigint; at_ms: bigint; kind: string; grp: string; site: string; details: string }[],
): string {
  const hash = createHash('sha256').update(`${former}\n`);
  for (const { id, at_ms, kind, grp, site, details } of events)
    hash.update(`${toJson([id, at_ms, kind, grp, site, details])}\n`);
  return hash.digest('hex');
}
