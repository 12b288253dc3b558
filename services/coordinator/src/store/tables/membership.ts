/** Members that join and leave, with the group locked. The declaration goes with each change. */
import type { Group, Seat } from '../../model.ts';
import { fixed } from '../fixed-statement.ts';
import type { Read, Write } from '../store.ts';
import { JOINING, setSpec } from './groups.ts';

/** A member that was removed. Its agent learns it with its next heartbeat, whenever that is. */
export interface FormerSeat extends Seat {
  readonly group: string;
  /** The highest epoch of the group at that moment: an agent that knows a later one has a seat again. */
  readonly epoch: bigint;
  readonly owner: string;
  /** The whole group was deleted. */
  readonly deleted: boolean;
}

export async function readFormerSeats(db: Read): Promise<FormerSeat[]> {
  const { rows } = await formerSeats(db, {});
  return rows.map(({ grp, site, serial, epoch, owner, is_deleted }) => ({
    group: grp,
    site,
    serial,
    epoch,
    owner,
    deleted: is_deleted,
  }));
}

const formerSeats = fixed((db) => db.selectFrom('former_seat').selectAll().orderBy('grp').orderBy('site'));

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
  // A witness at this site has become a member: the site still votes once.
  const { witnesses: before = [], ...rest } = spec;
  const witnesses = before.filter((one) => one !== site);
  await setSpec(trx, {
    ...rest,
    ...(witnesses.length === 0 ? {} : { witnesses }),
    members: [...spec.members, { site, serial }],
  });
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
  const seat = { serial, epoch, owner, at_ms: BigInt(nowMs), is_deleted: false };
  await trx
    .insertInto('former_seat')
    .values({ grp, site, ...seat })
    .onConflict((conflict) => conflict.columns(['grp', 'site']).doUpdateSet(seat))
    .execute();
  await requireLaterVersion(trx, group);
  const { prefer: before = [], ...rest } = spec;
  const prefer = before.filter((one) => one !== site);
  await setSpec(trx, {
    ...rest,
    ...(prefer.length === 0 ? {} : { prefer }),
    members: spec.members.filter((one) => one.site !== site),
  });
}

/** The next version of the domain key must be above all that were ordered until now. */
export async function requireLaterVersion(trx: Write, { spec, highestVersion }: Group): Promise<void> {
  await trx
    .updateTable('replication_group')
    .set({ rotate_above: highestVersion })
    .where('name', '=', spec.name)
    .execute();
}

/** Deletes a group. Events and drills stay: they are the record of what was. */
export async function deleteGroup(trx: Write, group: Group, { nowMs }: { nowMs: number }): Promise<void> {
  const { spec, members, joining, highestEpoch, highestOwner, highestVersion, revision } = group;
  const { name } = spec;
  const { highest_number } = await trx
    .selectFrom('replication_group')
    .select('highest_number')
    .where('name', '=', name)
    .executeTakeFirstOrThrow();
  const former = {
    highest_epoch: highestEpoch,
    highest_version: highestVersion,
    highest_number,
    revision,
    deleted_ms: BigInt(nowMs),
  };
  await trx
    .insertInto('former_group')
    .values({ name, ...former })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(former))
    .execute();
  // Sites that were removed before learn of the deletion like all others.
  await trx
    .updateTable('former_seat')
    .set({ epoch: highestEpoch, owner: highestOwner, is_deleted: true })
    .where('grp', '=', name)
    .execute();
  for (const { site, serial } of [...members, ...joining]) {
    const seat = { serial, epoch: highestEpoch, owner: highestOwner, at_ms: BigInt(nowMs), is_deleted: true };
    await trx
      .insertInto('former_seat')
      .values({ grp: name, site, ...seat })
      .onConflict((conflict) => conflict.columns(['grp', 'site']).doUpdateSet(seat))
      .execute();
  }
  // Operations under way end. Those that have ended would count for a group of the same name.
  await trx
    .updateTable('intent')
    .set({ status: 'cancelled', updated_ms: BigInt(nowMs) })
    .where('grp', '=', name)
    .where('status', 'in', ['open', 'parked'])
    .execute();
  await trx.deleteFrom('intent').where('grp', '=', name).where('status', '!=', 'cancelled').execute();
  for (const table of [
    'acknowledgement',
    'generation',
    'epoch',
    'member',
    'scrub',
    'member_refused',
    'hook_accepted',
  ] as const)
    await trx.deleteFrom(table).where('grp', '=', name).execute();
  await trx.deleteFrom('replication_group').where('name', '=', name).execute();
}

export async function readDeletedGroups(db: Read): Promise<string[]> {
  return (await formerGroups(db, {})).rows.map(({ name }) => name);
}

const formerGroups = fixed((db) => db.selectFrom('former_group').select('name').orderBy('name'));

/** The highest epoch of a group of this name that was deleted; undefined where none was. */
export async function readFormerEpoch(db: Read, name: string): Promise<bigint | undefined> {
  const row = await db.selectFrom('former_group').select('highest_epoch').where('name', '=', name).executeTakeFirst();
  return row?.highest_epoch;
}
