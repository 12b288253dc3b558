/**
 * The one row that says which coordinator leads. Only election.ts calls these functions. store.ts checks the epoch in
 * every write.
 */
import type { Schema } from '../schema.ts';
import type { Read } from '../store.ts';

export type LeaderLease = Pick<Schema['leader_lease'], 'epoch' | 'seq' | 'holder'>;

interface Led {
  readonly epoch: bigint;
  readonly id: string;
}

export async function readLeaderLease(db: Read): Promise<LeaderLease> {
  return db.selectFrom('leader_lease').select(['epoch', 'seq', 'holder']).executeTakeFirstOrThrow();
}

/** Counts the row up. Returns false if this coordinator does not lead under this epoch any more. */
export async function renewLeaderLease(db: Read, { epoch, id }: Led): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('leader_lease')
    .set((eb) => ({ seq: eb('seq', '+', 1n) }))
    .where('epoch', '=', epoch)
    .where('holder', '=', id)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Begins the next epoch. Returns false if the row has changed since it was `seen`. */
export async function takeLeaderLease(db: Read, { seen, id }: { seen: LeaderLease; id: string }): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('leader_lease')
    .set({ epoch: seen.epoch + 1n, seq: 0n, holder: id })
    .where('epoch', '=', seen.epoch)
    .where('seq', '=', seen.seq)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Leaves the row without a holder, so that the next coordinator need not wait. */
export async function releaseLeaderLease(db: Read, { epoch, id }: Led): Promise<void> {
  await db
    .updateTable('leader_lease')
    .set({ holder: '' })
    .where('epoch', '=', epoch)
    .where('holder', '=', id)
    .execute();
}
