/** Fills a coordinator's database with what a busy group leaves behind: a generation every two and a half minutes. */

import type { Store } from '@antipode/coordinator/testing';
import { insertGroup, SPEC } from '@antipode/coordinator/testing';
import { sql } from 'kysely';

export const GENERATIONS_A_DAY = 576;

/** Acknowledged by both standbys, with an intent for each capture and replication. The leader is of epoch 0. */
export async function fillHistory(store: Store, { group, days }: { group: string; days: number }): Promise<void> {
  const count = sql.lit(Math.round(days * GENERATIONS_A_DAY));
  const uncaptured = JSON.stringify([{ objectId: '0b', kind: 'private-key', reason: 'unextractable' }]);
  await store.write(0n, async (trx) => {
    const seats = [...SPEC.members, ...SPEC.scratch].map((seat) => ({ ...seat, serial: `${group}-${seat.serial}` }));
    await insertGroup(trx, { ...SPEC, name: group, members: seats.slice(0, 3), scratch: seats.slice(3) }, 0);
    await sql`INSERT INTO generation SELECT ${group}, 1, n, md5(n::text), md5(n::text), 1000, 1, ${uncaptured}, 1000 * n, '{}' FROM generate_series(1, ${count}) n`.execute(
      trx,
    );
    await sql`INSERT INTO acknowledgement SELECT ${group}, 1, n, site, 0 FROM generate_series(1, ${count}) n, unnest(ARRAY['b','c']) site`.execute(
      trx,
    );
    await sql`INSERT INTO intent SELECT ${group} || kind || n, kind, ${group}, 'a', '{"phase":"x"}', 'x', CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'done' END, 1, 0, '', '', '{}', 1000 * n, 1000 * n FROM generate_series(1, ${count}) n, unnest(ARRAY['capture','replication']) kind`.execute(
      trx,
    );
  });
  await store.query((db) => sql`ANALYZE`.execute(db));
}
