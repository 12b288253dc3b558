/** Which lists of revoked certificates the event log names. The list itself is in the data folder of each process. */
import type { Read } from '../../store.ts';

export const REVOCATION_EVENT = 'revocation-list';

/** The version that was recorded last; 0 where none is. */
export async function recordedRevocations(db: Read): Promise<number> {
  const row = await db
    .selectFrom('event')
    .select('details')
    .where('kind', '=', REVOCATION_EVENT)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? 0 : Number((JSON.parse(row.details) as { version?: unknown }).version ?? 0);
}
