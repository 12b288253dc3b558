/** Fire times of calendars, as they were kept. Times of the clock on the wall. */
import type { Read, Write } from '../store.ts';

export async function readLastFire(db: Read, schedule: string): Promise<number | undefined> {
  const row = await db
    .selectFrom('schedule_fire')
    .select('fire_ms')
    .where('schedule', '=', schedule)
    .orderBy('fire_ms', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row && Number(row.fire_ms);
}

/** @returns false where it is on record already */
export async function recordFire(trx: Write, schedule: string, fireMs: number): Promise<boolean> {
  const inserted = await trx
    .insertInto('schedule_fire')
    .values({ schedule, fire_ms: BigInt(fireMs) })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return inserted.numInsertedOrUpdatedRows === 1n;
}

/** Those of one calendar, and when its expressions were seen first, after a moment. */
export async function forgetFires(
  trx: Write,
  { schedule, afterMs }: { schedule: string; afterMs: number },
): Promise<void> {
  await trx
    .deleteFrom('schedule_fire')
    .where((eb) => eb.or([eb('schedule', '=', schedule), eb('schedule', 'like', `${schedule} from %`)]))
    .where('fire_ms', '>', BigInt(afterMs))
    .execute();
}
