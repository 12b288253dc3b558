/** The mark from which the next leader counts on. */
import type { TimelineMark } from '../../../calendar/timeline.ts';
import type { Read, Write } from '../../store.ts';

export async function readTimeline(db: Read): Promise<TimelineMark | undefined> {
  const row = await db.selectFrom('timeline').selectAll().executeTakeFirst();
  return (
    row && {
      atMs: Number(row.at_ms),
      wallMs: Number(row.wall_ms),
      bootId: row.boot_id,
      uptimeMs: Number(row.uptime_ms),
    }
  );
}

export async function writeTimeline(trx: Write, { atMs, wallMs, bootId, uptimeMs }: TimelineMark): Promise<void> {
  const row = { at_ms: BigInt(atMs), wall_ms: BigInt(wallMs), boot_id: bootId, uptime_ms: BigInt(uptimeMs) };
  await trx
    .insertInto('timeline')
    .values({ id: 1, ...row })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(row))
    .execute();
}
