/**
 * The one row that says which coordinator leads. Only election.ts calls these functions. store.ts checks the epoch in
 * every write.
 */
import { AntipodeError } from '@antipode/runtime';
import { fixed } from '../../fixed-statement.ts';
import type { Schema } from '../../schema.ts';
import type { Read } from '../../store.ts';

export type LeaderLease = Pick<Schema['leader_lease'], 'epoch' | 'seq' | 'holder'>;

interface Led {
  readonly epoch: bigint;
  readonly id: string;
}

export async function readLeaderLease(db: Read): Promise<LeaderLease> {
  const [row] = (await theLease(db, {})).rows;
  if (row === undefined) throw new AntipodeError('DATABASE_UNAVAILABLE', 'the database has no leader lease');
  return row;
}

const theLease = fixed((db) => db.selectFrom('leader_lease').select(['epoch', 'seq', 'holder']));

/** Counts the row up. Returns false if this coordinator does not lead under this epoch any more. */
export async function renewLeaderLease(db: Read, { epoch, id }: Led): Promise<boolean> {
  const { numAffectedRows } = await renewal(db, { epoch, id });
  return numAffectedRows === 1n;
}

const renewal = fixed((db, { epoch, id }: Led) =>
  db
    .updateTable('leader_lease')
    .set((eb) => ({ seq: eb('seq', '+', 1n) }))
    .where('epoch', '=', epoch)
    .where('holder', '=', id),
);

/** Begins the next epoch. Returns false if the row has changed since it was `seen`. */
export async function takeLeaderLease(
  db: Read,
  { seen, id, epoch }: { seen: LeaderLease; id: string; epoch: bigint },
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('leader_lease')
    .set({ epoch, seq: 0n, holder: id })
    .where('epoch', '=', seen.epoch)
    .where('seq', '=', seen.seq)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Begins a later epoch in place of the one that this coordinator leads in. Returns false if it does not lead any more. */
export async function outrunLeaderLease(db: Read, { epoch, id, next }: Led & { next: bigint }): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('leader_lease')
    .set({ epoch: next, seq: 0n })
    .where('epoch', '=', epoch)
    .where('holder', '=', id)
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
