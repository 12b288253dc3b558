/** Groups, their seats and their epochs. */
import { AntipodeError } from '@antipode/runtime';
import { sql } from 'kysely';
import type { Tenure } from '../../groups/generation-standing.ts';
import {
  type Group,
  type GroupSpec,
  isSettled,
  type Member,
  otherVoters,
  type Role,
  SCRUB_MS_DEFAULT,
  type Seat,
} from '../../model.ts';
import { fixed, fixedList } from '../fixed-statement.ts';
import type { Schema } from '../schema.ts';
import { type Read, toJson, type Write } from '../store.ts';

/** The role of a member that has not caught up yet, in the database only. */
export const JOINING = 'joining';

/** Told of a group whose rows cannot be made sense of. The others are read all the same. */
export type OnUnreadable = (group: string, error: unknown) => void;

const refuse: OnUnreadable = (_group, error) => {
  throw error;
};

/** All groups, or those of these names. Two reads: within one snapshot, or an epoch may be newer than its members. */
export async function readGroups(
  db: Read,
  onUnreadable: OnUnreadable = refuse,
  names?: readonly string[],
): Promise<Group[]> {
  const groups = names === undefined ? await allGroups(db, {}) : await groupsNamed(db, names);
  const members = names === undefined ? await allMembers(db, {}) : await membersOfGroups(db, names);
  return groupsFrom(groups.rows, members.rows, onUnreadable);
}

const allGroups = fixed((db) => groupRows(db).orderBy('name'));
const groupsNamed = fixedList((db, names) => groupRows(db).orderBy('name').where('name', 'in', names));
const memberRows = (db: Read) => db.selectFrom('member').selectAll().orderBy('position');
const allMembers = fixed((db) => memberRows(db));
const membersOfGroups = fixedList((db, names) => memberRows(db).where('grp', 'in', names));

/** @throws NOT_FOUND */
export async function readGroup(db: Read, name: string): Promise<Group> {
  const [group] = groupsFrom((await groupNamed(db, { name })).rows, (await membersOf(db, { name })).rows, refuse);
  if (group === undefined)
    throw new AntipodeError('NOT_FOUND', `group does not exist: ${name}`, { details: { group: name } });
  return group;
}

/** How many groups, without this one, are active at each site. */
export async function readLoads(db: Read, except: string): Promise<ReadonlyMap<string, number>> {
  const rows = await db
    .selectFrom('member')
    .select((of) => ['site', of.fn.countAll<string | number | bigint>().as('groups')])
    .where('role', '=', 'active')
    .where('grp', '!=', except)
    .groupBy('site')
    .execute();
  return new Map(rows.map(({ site, groups }) => [site, Number(groups)]));
}

/** The epochs that matter, by the index, however many a group has had. */
function groupRows(db: Read) {
  return db
    .selectFrom('replication_group')
    .leftJoinLateral(
      (eb) =>
        eb
          .selectFrom('epoch')
          .select(['epoch', 'owner'])
          .whereRef('grp', '=', 'replication_group.name')
          .orderBy('epoch', 'desc')
          .limit(1)
          .as('highest'),
      (join) => join.onTrue(),
    )
    .leftJoinLateral(
      (eb) =>
        eb
          .selectFrom('epoch')
          .select(['epoch', 'owner', 'vouchers'])
          .whereRef('grp', '=', 'replication_group.name')
          .where('is_active', '=', true)
          .orderBy('epoch', 'desc')
          .limit(1)
          .as('in_force'),
      (join) => join.onTrue(),
    )
    .leftJoinLateral(
      (eb) =>
        eb
          .selectFrom('epoch')
          .select('recovery_time_ms')
          .whereRef('grp', '=', 'replication_group.name')
          .where('is_active', '=', true)
          .where('recovery_time_ms', 'is not', null)
          .orderBy('epoch', 'desc')
          .limit(1)
          .as('recovered'),
      (join) => join.onTrue(),
    )
    .selectAll('replication_group')
    .select([
      'highest.epoch as highest_epoch',
      'highest.owner as highest_owner',
      'in_force.epoch as epoch',
      'in_force.owner as owner',
      'in_force.vouchers as vouchers',
      'recovered.recovery_time_ms',
    ]);
}

const groupNamed = fixed((db, { name }: { name: string }) => groupRows(db).where('name', '=', name));

const membersOf = fixed((db, { name }: { name: string }) =>
  db.selectFrom('member').selectAll().where('grp', '=', name).orderBy('position'),
);

type GroupRow = Awaited<ReturnType<ReturnType<typeof groupRows>['execute']>>[number];

function groupsFrom(
  rows: readonly GroupRow[],
  members: readonly Schema['member'][],
  onUnreadable: OnUnreadable,
): Group[] {
  const byGroup = new Map<string, Schema['member'][]>();
  for (const member of members) {
    const there = byGroup.get(member.grp);
    if (there === undefined) byGroup.set(member.grp, [member]);
    else there.push(member);
  }
  return rows.flatMap((row) => {
    try {
      return [groupFrom(row, byGroup.get(row.name) ?? [])];
    } catch (error) {
      onUnreadable(row.name, error);
      return [];
    }
  });
}

/** Of a row, and the members of that group. */
function groupFrom(row: GroupRow, members: readonly Schema['member'][]): Group {
  return {
    spec: specFrom(row.spec, row.name),
    joining: members.filter(({ role }) => role === JOINING).map(({ site, serial }) => ({ site, serial })),
    members: members
      .filter(({ role }) => role !== JOINING)
      .map(
        ({ site, serial, role, divergent, unaccounted }): Member => ({
          site,
          serial,
          role: role as Role,
          divergent,
          unaccounted,
        }),
      ),
    epoch: row.epoch ?? 0n,
    owner: row.owner ?? '',
    ...(row.vouchers === null || row.vouchers === undefined ? {} : { vouchers: JSON.parse(row.vouchers) as string[] }),
    highestEpoch: row.highest_epoch ?? 0n,
    highestOwner: row.highest_owner ?? '',
    domainKeyVersion: row.domain_key_version,
    highestVersion: row.highest_version,
    recoveryTimeMs:
      row.recovery_time_ms === null || row.recovery_time_ms === undefined ? undefined : Number(row.recovery_time_ms),
    createdMs: Number(row.created_ms),
    revision: row.revision,
    rotateAbove: row.rotate_above,
    firstEpoch: row.first_epoch,
    ...(row.paused_ms === null
      ? {}
      : { pause: { sinceMs: Number(row.paused_ms), operator: row.paused_by, reason: row.pause_reason } }),
    ...(row.resumed_ms === null ? {} : { resumedMs: Number(row.resumed_ms) }),
  };
}

/**
 * Groups of before there were scrubs have the default. A declaration without the fields that every release has written is
 * refused here: loops over all groups would fail at it, and each start of a coordinator with them.
 */
function specFrom(json: string, row: string): GroupSpec {
  const spec = Object.assign({ scrubMs: SCRUB_MS_DEFAULT }, JSON.parse(json) as GroupSpec);
  const { name, members, scratch, filter, rpoMs, drillCron } = spec;
  const isWhole =
    name === row &&
    Array.isArray(members) &&
    members.length > 0 &&
    Array.isArray(scratch) &&
    typeof filter === 'object' &&
    typeof rpoMs === 'number' &&
    typeof drillCron === 'string';
  if (!isWhole) throw new SyntaxError(`the declaration of group ${row} in the database is not whole`);
  return spec;
}

/**
 * Locks a group until the transaction ends, and reads it. Every change of an epoch, and every record of what members
 * hold, must call this. Otherwise one could act on facts that the other has just changed.
 */
export async function lockGroup(trx: Write, name: string): Promise<Group> {
  await lock(trx, name);
  return readGroup(trx, name);
}

const lock = (trx: Write, name: string): Promise<unknown> =>
  trx.selectFrom('replication_group').select('name').where('name', '=', name).forUpdate().execute();

/** Above every epoch, version, number and revision of a group of this name that was deleted: agents remember them. */
export async function insertGroup(trx: Write, spec: GroupSpec, nowMs: number): Promise<void> {
  const former = await trx.selectFrom('former_group').selectAll().where('name', '=', spec.name).executeTakeFirst();
  const firstEpoch = (former?.highest_epoch ?? 0n) + 1n;
  await trx
    .insertInto('replication_group')
    .values({
      name: spec.name,
      spec: toJson(spec),
      domain_key_version: 0,
      highest_version: former?.highest_version ?? 0,
      highest_number: former?.highest_number ?? 0n,
      revision: (former?.revision ?? 0) + 1,
      rotate_above: 0,
      first_epoch: firstEpoch,
      created_ms: BigInt(nowMs),
      paused_ms: null,
      paused_by: '',
      pause_reason: '',
      resumed_ms: null,
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
    epoch: firstEpoch,
    owner: spec.members[0]!.site,
    reason: 'created',
    isActive: true,
    nowMs,
  });
}

/** A group that was there before this database was: its sites know its epoch, its seats and its numbers. */
export interface KnownGroup {
  readonly spec: GroupSpec;
  readonly epoch: bigint;
  readonly owner: string;
  /** The sites that may keep the lease of the owner alive: at least those that its agent knows. */
  readonly vouchers: readonly string[];
  readonly roles: ReadonlyMap<string, Role>;
  readonly domainKeyVersion: number;
  readonly highestVersion: number;
  readonly highestNumber: bigint;
}

export async function adoptGroup(trx: Write, known: KnownGroup, nowMs: number): Promise<void> {
  const { spec, epoch, owner, vouchers, roles, domainKeyVersion, highestVersion, highestNumber } = known;
  await insertGroup(trx, spec, nowMs);
  await trx.deleteFrom('epoch').where('grp', '=', spec.name).execute();
  // A later version of the domain key is due: nobody knows who has got this one.
  await trx
    .updateTable('replication_group')
    .set({
      domain_key_version: domainKeyVersion,
      highest_version: highestVersion,
      rotate_above: highestVersion,
      highest_number: highestNumber,
      first_epoch: 1n,
    })
    .where('name', '=', spec.name)
    .execute();
  for (const role of ['standby', 'fenced', 'active'] as const)
    for (const [site] of [...roles].filter(([, one]) => one === role)) await setRole(trx, spec.name, site, role);
  await insertEpoch(trx, spec.name, { epoch, owner, reason: 'rebuilt', isActive: true, nowMs });
  // The agent of the owner may know them still, and a failover must wait for their last word.
  await trx
    .updateTable('epoch')
    .set({ vouchers: toJson(vouchers) })
    .where('grp', '=', spec.name)
    .execute();
}

/** With the group locked: nothing is acknowledged or captured under the epoch before from then on. */
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
  await lock(trx, group);
  await trx
    .insertInto('epoch')
    .values({
      grp: group,
      epoch,
      owner,
      reason,
      issued_ms: BigInt(nowMs),
      is_active: isActive,
      recovery_time_ms: null,
      base_epoch: null,
      base_number: null,
      vouchers: null,
    })
    .execute();
}

/**
 * Replaces the sites that may vouch for the active member. Only once its agent has dropped the ones before, and while
 * nothing moves. Nobody may vouch before this is durable.
 */
export async function setVouchers(
  trx: Write,
  group: string,
  { epoch, vouchers }: { epoch: bigint; vouchers: readonly string[] },
): Promise<void> {
  const now = await lockGroup(trx, group);
  if (now.epoch !== epoch || !isSettled(now) || otherVoters(now).join() !== vouchers.join()) return;
  await trx
    .updateTable('epoch')
    .set({ vouchers: toJson(vouchers) })
    .where('grp', '=', group)
    .where('epoch', '=', epoch)
    .execute();
}

/** The epochs that came into force, oldest first. */
export async function readTenures(db: Read, group: string): Promise<Tenure[]> {
  const rows = await db
    .selectFrom('epoch')
    .select(['epoch', 'base_epoch', 'base_number'])
    .where('grp', '=', group)
    .where('is_active', '=', true)
    .orderBy('epoch')
    .execute();
  return rows.map(({ epoch, base_epoch, base_number }) => ({
    epoch,
    base: base_epoch === null || base_number === null ? undefined : { epoch: base_epoch, number: base_number },
  }));
}

/** Why the highest epoch of a group was issued, and when. */
export async function readLastIssue(
  db: Read,
  group: string,
): Promise<{ reason: string; issuedMs: number } | undefined> {
  const row = await db
    .selectFrom('epoch')
    .select(['reason', 'issued_ms'])
    .where('grp', '=', group)
    .orderBy('epoch', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row && { reason: row.reason, issuedMs: Number(row.issued_ms) };
}

/** The members that a reseat has seated in the tenure in force, by its own event; undefined if it has seated none. */
export async function readReseated(
  db: Read,
  group: string,
  operation: string,
): Promise<{ epoch: bigint; site: string; seated: string[] } | undefined> {
  const rows = await db
    .selectFrom('event')
    .select(['site', 'details'])
    .where('kind', '=', 'group-reseated')
    .where('grp', '=', group)
    .orderBy('id', 'desc')
    .limit(RESEATS_MAX)
    .execute();
  for (const { site, details } of rows) {
    const { operation: by, epoch, seated } = JSON.parse(details) as Record<string, string | number | undefined>;
    if (by === operation)
      return {
        epoch: BigInt(epoch ?? 0),
        site,
        seated: String(seated ?? '')
          .split(',')
          .filter(Boolean),
      };
  }
  return undefined;
}

/** More reseats than anybody orders while one is under way. */
const RESEATS_MAX = 16;

/** The owner of each epoch. */
export async function readEpochOwners(db: Read, group: string): Promise<Map<bigint, string>> {
  const rows = await db.selectFrom('epoch').select(['epoch', 'owner']).where('grp', '=', group).execute();
  return new Map(rows.map(({ epoch, owner }) => [epoch, owner]));
}

/** Puts an issued epoch in force: one active member, the one before it fenced. */
export async function activateEpoch(
  trx: Write,
  group: string,
  {
    epoch,
    owner,
    recoveryTimeMs,
    base,
  }: {
    epoch: bigint;
    owner: string;
    recoveryTimeMs?: number;
    /** The generation that the new tenure goes on from. */
    base: { readonly epoch: bigint; readonly number: bigint } | undefined;
  },
): Promise<void> {
  await trx
    .updateTable('member')
    .set({ role: 'fenced' })
    .where('grp', '=', group)
    .where('role', '=', 'active')
    .where('site', '!=', owner)
    .execute();
  // An active member defines what its group holds, so nothing in its partition is foreign to the line any more.
  const counts = { divergent: 0, unaccounted: 0 };
  await trx
    .updateTable('member')
    .set({ role: 'active', ...counts })
    .where('grp', '=', group)
    .where('site', '=', owner)
    .execute();
  await trx
    .updateTable('epoch')
    .set({
      is_active: true,
      recovery_time_ms: recoveryTimeMs === undefined ? null : BigInt(recoveryTimeMs),
      base_epoch: base?.epoch ?? null,
      base_number: base?.number ?? null,
    })
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
  { site, serial }: Seat,
  counts: { divergent: number; unaccounted: number },
): Promise<void> {
  await trx
    .updateTable('member')
    .set(counts)
    .where('grp', '=', group)
    .where('site', '=', site)
    .where('serial', '=', serial)
    .execute();
}

/** Names another distributor, or none. */
export async function setDistributor(trx: Write, group: string, distributor: GroupSpec['distributor']): Promise<void> {
  const { distributor: _before, ...spec } = (await lockGroup(trx, group)).spec;
  await setSpec(trx, distributor === undefined ? spec : { ...spec, distributor });
}

/** Another declaration of a group, with the group locked. It has the next revision. */
export async function setSpec(trx: Write, spec: GroupSpec): Promise<void> {
  await trx
    .updateTable('replication_group')
    .set({ spec: toJson(spec), revision: sql<number>`revision + 1` })
    .where('name', '=', spec.name)
    .execute();
}

/** Uses up the number of the next domain key version. Under the lock of the group, so that no two operations get one. */
export async function orderNextVersion(trx: Write, group: string): Promise<number> {
  const version = (await lockGroup(trx, group)).highestVersion + 1;
  await orderVersion(trx, group, version);
  return version;
}

export async function orderVersion(trx: Write, group: string, version: number): Promise<void> {
  await trx.updateTable('replication_group').set({ highest_version: version }).where('name', '=', group).execute();
}

/** Nothing that was in use is used again: an operation that waited may come after one that brought a later version. */
export async function useVersion(trx: Write, group: string, version: number): Promise<void> {
  await trx
    .updateTable('replication_group')
    .set({ domain_key_version: version })
    .where('name', '=', group)
    .where('domain_key_version', '<', version)
    .execute();
}

/** Stops the automation of a group. One that is paused already stays as it is. Returns whether it was not. */
export async function pauseAutomation(
  trx: Write,
  group: string,
  { nowMs, operator, reason }: { nowMs: number; operator: string; reason: string },
): Promise<boolean> {
  const paused = await trx
    .updateTable('replication_group')
    .set({ paused_ms: BigInt(nowMs), paused_by: operator, pause_reason: reason })
    .where('name', '=', group)
    .where('paused_ms', 'is', null)
    .returning('name')
    .execute();
  return paused.length > 0;
}

/** Ends a pause. Failovers of before do not hold up the next automatic one any more. */
export async function resumeAutomation(trx: Write, group: string, { nowMs }: { nowMs: number }): Promise<void> {
  await trx
    .updateTable('replication_group')
    .set({ paused_ms: null, paused_by: '', pause_reason: '', resumed_ms: BigInt(nowMs) })
    .where('name', '=', group)
    .execute();
}
