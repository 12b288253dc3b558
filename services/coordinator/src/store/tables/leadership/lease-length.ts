/** The longest lease that an active member may hold: a later leader waits for it, whatever its own profile says. */
import { sql } from 'kysely';
import type { Write } from '../../store.ts';

/** Before the first lease of `leaseMs` is granted. Returns the longest that may have been granted, this one included. */
export async function raiseLeaseLength(trx: Write, leaseMs: number): Promise<number> {
  const row = await trx
    .updateTable('lease_length')
    .set({ lease_ms: sql<bigint>`greatest(lease_ms, ${BigInt(leaseMs)}::int8)` })
    .returning('lease_ms')
    .executeTakeFirstOrThrow();
  return Number(row.lease_ms);
}

/** Only by the leader, once nobody can hold a longer one. */
export async function lowerLeaseLength(trx: Write, leaseMs: number): Promise<void> {
  await trx
    .updateTable('lease_length')
    .set({ lease_ms: BigInt(leaseMs) })
    .where('lease_ms', '>', BigInt(leaseMs))
    .execute();
}
