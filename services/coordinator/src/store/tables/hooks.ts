/** The newest place of each group that each hook has accepted. */
import type { Read, Write } from '../store.ts';

/** By hook and group, with a blank between. */
export async function readAcceptedEpochs(db: Read): Promise<Map<string, bigint>> {
  const rows = await db.selectFrom('hook_accepted').selectAll().execute();
  return new Map(rows.map(({ hook, grp, epoch }) => [`${hook} ${grp}`, epoch]));
}

export async function recordAcceptedEpoch(
  trx: Write,
  { hook, group, epoch }: { hook: string; group: string; epoch: bigint },
): Promise<void> {
  await trx
    .insertInto('hook_accepted')
    .values({ hook, grp: group, epoch })
    .onConflict((conflict) => conflict.columns(['hook', 'grp']).doUpdateSet({ epoch }))
    .execute();
}

/** The owner of the last epoch in force before this one; undefined where there was none. */
export async function readEpochBefore(db: Read, group: string, epoch: bigint): Promise<string | undefined> {
  const row = await db
    .selectFrom('epoch')
    .select('owner')
    .where('grp', '=', group)
    .where('epoch', '<', epoch)
    .where('is_active', '=', true)
    .orderBy('epoch', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.owner;
}
