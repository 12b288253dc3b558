/** Groups, their seats and their epochs. */
import { AntipodeError } from '@antipode/runtime';
import { type Group, type GroupSpec, type Member, type Role, SCRUB_MS_DEFAULT } from '../model.ts';
import { type Read, toJson, type Write } from './store.ts';

/** Three reads: within one snapshot, or an epoch may be newer than its members. */
export async function readGroups(db: Read): Promise<Group[]> {
  const groups = await db.selectFrom('replication_group').selectAll().orderBy('name').execute();
  const members = await db.selectFrom('member').selectAll().orderBy('position').execute();
  const epochs = await db.selectFrom('epoch').selectAll().orderBy('epoch').execute();
  return groups.map((group) => {
    const own = epochs.filter(({ grp }) => grp === group.name);
    const inForce = own.findLast(({ is_active }) => is_active);
    const recovered = own.findLast(({ is_active, recovery_time_ms }) => is_active && recovery_time_ms !== null);
    return {
      spec: specFrom(group.spec),
      members: members
        .filter(({ grp }) => grp === group.name)
        .map(
          ({ site, serial, role, divergent, unaccounted }): Member => ({
            site,
            serial,
            role: role as Role,
            divergent,
            unaccounted,
          }),
        ),
      epoch: inForce?.epoch ?? 0n,
      owner: inForce?.owner ?? '',
      highestEpoch: own.at(-1)?.epoch ?? 0n,
      highestOwner: own.at(-1)?.owner ?? '',
      domainKeyVersion: group.domain_key_version,
      highestVersion: group.highest_version,
      recoveryTimeMs: recovered === undefined ? undefined : Number(recovered.recovery_time_ms),
      createdMs: Number(group.created_ms),
    };
  });
}

/** Groups of before there were scrubs have the default. */
const specFrom = (json: string): GroupSpec =>
  Object.assign({ scrubMs: SCRUB_MS_DEFAULT }, JSON.parse(json) as GroupSpec);

/** @throws NOT_FOUND */
export async function readGroup(db: Read, name: string): Promise<Group> {
  const group = (await readGroups(db)).find(({ spec }) => spec.name === name);
  if (group === undefined)
    throw new AntipodeError('NOT_FOUND', `there is no group ${name}`, { details: { group: name } });
  return group;
}

export async function insertGroup(trx: Write, spec: GroupSpec, nowMs: number): Promise<void> {
  await trx
    .insertInto('replication_group')
    .values({
      name: spec.name,
      spec: toJson(spec),
      domain_key_version: 0,
      highest_version: 0,
      created_ms: BigInt(nowMs),
    })
    .execute();
  for (const [position, { site, serial }] of spec.members.entries()) {
    const role = position === 0 ? 'active' : 'standby';
    const counts = { divergent: 0, unaccounted: 0 };
    await trx
      .insertInto('member')
      .values({ grp: spec.name, site, serial, position, role, ...counts })
      .execute();
  }
  await insertEpoch(trx, spec.name, {
    epoch: 1n,
    owner: spec.members[0]!.site,
    reason: 'created',
    isActive: true,
    nowMs,
  });
}

export async function insertEpoch(
  trx: Write,
  group: string,
  {
    epoch,
    owner,
    reason,
    isActive,
    nowMs,
  }: { epoch: bigint; owner: string; reason: string; isActive: boolean; nowMs: number },
): Promise<void> {
  await trx
    .insertInto('epoch')
    .values({ grp: group, epoch, owner, reason, issued_ms: BigInt(nowMs), is_active: isActive, recovery_time_ms: null })
    .execute();
}

/** Puts an issued epoch in force: one active member, the one before it fenced. */
export async function activateEpoch(
  trx: Write,
  group: string,
  { epoch, owner, recoveryTimeMs }: { epoch: bigint; owner: string; recoveryTimeMs: number },
): Promise<void> {
  await trx
    .updateTable('member')
    .set({ role: 'fenced' })
    .where('grp', '=', group)
    .where('role', '=', 'active')
    .where('site', '!=', owner)
    .execute();
  // What an active member holds is the group's: nothing in its partition is foreign to the line any more.
  const counts = { divergent: 0, unaccounted: 0 };
  await trx
    .updateTable('member')
    .set({ role: 'active', ...counts })
    .where('grp', '=', group)
    .where('site', '=', owner)
    .execute();
  await trx
    .updateTable('epoch')
    .set({ is_active: true, recovery_time_ms: BigInt(recoveryTimeMs) })
    .where('grp', '=', group)
    .where('epoch', '=', epoch)
    .execute();
}

export async function setRole(trx: Write, group: string, site: string, role: Role): Promise<void> {
  await trx.updateTable('member').set({ role }).where('grp', '=', group).where('site', '=', site).execute();
}

/** Objects in a member's partition that the group's line of generations does not account for. */
export async function setForeignObjects(
  trx: Write,
  group: string,
  site: string,
  counts: { divergent: number; unaccounted: number },
): Promise<void> {
  await trx.updateTable('member').set(counts).where('grp', '=', group).where('site', '=', site).execute();
}

export async function orderVersion(trx: Write, group: string, version: number): Promise<void> {
  await trx.updateTable('replication_group').set({ highest_version: version }).where('name', '=', group).execute();
}

export async function useVersion(trx: Write, group: string, version: number): Promise<void> {
  await trx.updateTable('replication_group').set({ domain_key_version: version }).where('name', '=', group).execute();
}
