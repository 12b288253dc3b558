/** Members that join and leave, with the group locked. The declaration goes with each change. */
import type { Group, Seat } from '../../model.ts';
import type { Read, Write } from '../store.ts';
import { JOINING, setSpec } from './groups.ts';

/** A member that was removed. Its agent learns it with its next heartbeat, whenever that is. */
export interface FormerSeat extends Seat {
  readonly group: string;
  /** The highest epoch of the group at that moment: an agent that knows a later one has a seat again. */
  readonly epoch: bigint;
  readonly owner: string;
}

export async function readFormerSeats(db: Read): Promise<FormerSeat[]> {
  const rows = await db.selectFrom('former_seat').selectAll().orderBy('grp').orderBy('site').execute();
  return rows.map(({ grp, site, serial, epoch, owner }) => ({ group: grp, site, serial, epoch, owner }));
}

/** A seat that counts for nothing until {@link seatJoined}. */
export async function insertJoining(trx: Write, group: Group, { site, serial }: Seat): Promise<void> {
  const { name } = group.spec;
  const { position } = await trx
    .selectFrom('member')
    .select((eb) => eb.fn.max('position').as('position'))
    .where('grp', '=', name)
    .executeTakeFirstOrThrow();
  const counts = { divergent: 0, unaccounted: 0 };
  await trx
    .insertInto('member')
    .values({ grp: name, site, serial, position: position + 1, role: JOINING, ...counts })
    .execute();
  await trx.deleteFrom('former_seat').where('grp', '=', name).where('site', '=', site).execute();
  await requireLaterVersion(trx, group);
  await setSpec(trx, group.spec);
}

/** From here on it votes, and may be promoted. */
export async function seatJoined(trx: Write, { spec }: Group, { site, serial }: Seat): Promise<void> {
  await trx
    .updateTable('member')
    .set({ role: 'standby' })
    .where('grp', '=', spec.name)
    .where('site', '=', site)
    .where('role', '=', JOINING)
    .execute();
  await setSpec(trx, { ...spec, members: [...spec.members, { site, serial }] });
}

/** Removes a member, or a site that joins, with everything that only it stands for. */
export async function removeMember(
  trx: Write,
  group: Group,
  { site, serial, nowMs }: Seat & { nowMs: number },
): Promise<void> {
  const { spec, highestEpoch: epoch, highestOwner: owner } = group;
  const { name: grp } = spec;
  // Its acknowledgements protect nobody any more.
  for (const table of ['member', 'acknowledgement', 'scrub', 'member_refused'] as const)
    await trx.deleteFrom(table).where('grp', '=', grp).where('site', '=', site).execute();
  await trx
    .updateTable('intent')
    .set({ status: 'cancelled', updated_ms: BigInt(nowMs) })
    .where('grp', '=', grp)
    .where('site', '=', site)
    .where('status', 'in', ['open', 'parked'])
    .execute();
  const seat = { serial, epoch, owner, at_ms: BigInt(nowMs) };
  await trx
    .insertInto('former_seat')
    .values({ grp, site, ...seat })
    .onConflict((conflict) => conflict.columns(['grp', 'site']).doUpdateSet(seat))
    .execute();
  await requireLaterVersion(trx, group);
  await setSpec(trx, { ...spec, members: spec.members.filter((one) => one.site !== site) });
}

/** The next version of the domain key must be above all that were ordered until now. */
export async function requireLaterVersion(trx: Write, { spec, highestVersion }: Group): Promise<void> {
  await trx
    .updateTable('replication_group')
    .set({ rotate_above: highestVersion })
    .where('name', '=', spec.name)
    .execute();
}
