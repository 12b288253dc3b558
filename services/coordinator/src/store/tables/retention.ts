/**
 * Deletes records that are not kept for ever. Each call deletes one batch, oldest first. So no statement takes long,
 * and a backlog of a year is worked off step by step.
 */
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { toJson, type Write } from '../store.ts';
import { readAcknowledged } from './generations.ts';

const BATCH = 2_000;

/** @returns how many were taken away; as many as a batch holds where there may be more */
export type Retire = (trx: Write) => Promise<number>;

/**
 * Intents that ended long ago; their effects are on record elsewhere. Failovers that took place are kept. A capture
 * that found no change is of no use after a day.
 */
export const retireIntents =
  ({ beforeMs, unchangedBeforeMs }: { beforeMs: number; unchangedBeforeMs: number }): Retire =>
  async (trx) => {
    const { numDeletedRows } = await trx
      .deleteFrom('intent')
      .where('id', 'in', (eb) =>
        eb
          .selectFrom('intent')
          .select('id')
          .where('status', 'in', ['done', 'failed', 'cancelled', 'dismissed'])
          .where((where) => where.or([where('kind', '!=', 'failover'), where('status', '!=', 'done')]))
          .where((where) =>
            where.or([
              where('created_ms', '<', BigInt(Math.round(beforeMs))),
              where.and([
                where('created_ms', '<', BigInt(Math.round(unchangedBeforeMs))),
                where('kind', '=', 'capture'),
                where('status', '=', 'done'),
                where('state', 'like', '%"isNew":false%'),
              ]),
            ]),
          )
          .orderBy('created_ms')
          .limit(BATCH),
      )
      .executeTakeFirstOrThrow();
    return Number(numDeletedRows);
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
    const old = await trx
      .selectFrom('generation')
      .select(['epoch', 'number'])
      .where('grp', '=', group)
      .where('recovery_point_ms', '<', BigInt(Math.round(beforeMs)))
      .where(sql<boolean>`(epoch, number) < (${oldestKept.epoch}, ${oldestKept.number})`)
      .orderBy('epoch')
      .orderBy('number')
      .limit(BATCH)
      .execute();
    const doomed = old.filter(({ epoch, number }) => !kept.has(`${epoch} ${number}`));
    if (doomed.length === 0) return 0;
    const named = sql`(SELECT * FROM unnest(${doomed.map(({ epoch }) => epoch.toString())}::int8[], ${doomed.map(({ number }) => number.toString())}::int8[]))`;
    await sql`DELETE FROM acknowledgement WHERE grp = ${group} AND (epoch, number) IN ${named}`.execute(trx);
    await sql`DELETE FROM generation WHERE grp = ${group} AND (epoch, number) IN ${named}`.execute(trx);
    return doomed.length;
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
