/** Turns an operator's declaration of a group into ours, and checks it against what is there. */

import {
  FailoverPolicy,
  filterFault,
  filterMessage,
  filterRules,
  type GroupSpec as GroupSpecMessage,
  type GroupSpecSchema,
  isName,
  LeaseLapse,
  movementField,
  movementName,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { checkCron } from '../calendar/schedule.ts';
import { type GroupSpec, SCRUB_MS_DEFAULT, type Seat, VOTERS_MIN } from '../model.ts';
import { partitionIn } from '../sites/accounts.ts';
import type { Detector } from '../sites/detector.ts';

const RPO_MS_DEFAULT = 5 * 60_000;
const RPO_MS_MIN = 1_000;
/** More often, an HSM would do little else. */
const SCRUB_MS_MIN = 60_000;

/** @throws REQUEST_INVALID, naming the field */
export function specFrom(message: GroupSpecMessage | undefined): GroupSpec {
  const invalid = (field: string, why: string): never => {
    throw new AntipodeError('REQUEST_INVALID', `${field} ${why}`, { details: { field } });
  };
  if (message === undefined) return invalid('spec', 'is missing');
  if (!isName(message.name)) invalid('name', 'must be lower-case letters, digits and dashes');
  if (message.members.length === 0) invalid('members', 'must not be empty');
  const sites = message.members.map(({ site }) => site);
  if (new Set(sites).size !== sites.length) invalid('members', 'must be at different sites');
  const { distributor } = message;
  const seats = [...message.members, ...message.scratch, ...(distributor === undefined ? [] : [distributor])];
  const serials = seats.map(({ serial }) => serial);
  if (new Set(serials).size !== serials.length || serials.includes(''))
    invalid('members', 'must have serial numbers that do not repeat, including scratch partitions and distributor');
  const failoverPolicy = message.failoverPolicy === FailoverPolicy.AUTOMATIC ? 'automatic' : 'manual';
  const witnesses = [...new Set(message.witnessSites)].sort();
  const seated = witnesses.find((site) => sites.includes(site));
  if (seated !== undefined)
    invalid('witness_sites', `must not name site ${seated}: it has a member, and a site votes once`);
  if (witnesses.some((site) => !isName(site)))
    invalid('witness_sites', 'must be names of sites: lower-case letters, digits and dashes');
  const { prefer } = message;
  if (new Set(prefer).size !== prefer.length) invalid('prefer', 'must not repeat a site');
  const stranger = prefer.find((site) => !sites.includes(site));
  if (stranger !== undefined) invalid('prefer', `must name sites of members, found ${stranger}`);
  const voters = sites.length + witnesses.length;
  if (failoverPolicy === 'automatic' && voters < VOTERS_MIN)
    invalid(
      'failover_policy',
      `automatic needs ${VOTERS_MIN} voting sites, found ${voters}: with two, neither can tell a lost site from a cut link. A witness votes as well (--witness)`,
    );
  const rpoMs = message.rpoSeconds === 0 ? RPO_MS_DEFAULT : message.rpoSeconds * 1_000;
  if (rpoMs < RPO_MS_MIN) invalid('rpo_seconds', 'must be 1 or more');
  const scrubMs = message.scrubSeconds === 0 ? SCRUB_MS_DEFAULT : message.scrubSeconds * 1_000;
  if (scrubMs < SCRUB_MS_MIN) invalid('scrub_seconds', `must be ${SCRUB_MS_MIN / 1_000} or more`);
  checkCron(message.drillCron);
  const archives = archivesFrom(message, invalid);
  const movement = movementName(message.movement) ?? invalid('movement', 'must be sealed, native or prefer-native');
  const filter = filterRules(message.filter);
  const fault = filterFault(filter);
  if (fault !== undefined) invalid(`filter.${fault.field}`, fault.why);
  return {
    name: message.name,
    members: message.members.map(({ site, serial }) => ({ site, serial })),
    scratch: message.scratch.map(({ site, serial }) => ({ site, serial })),
    ...(distributor === undefined ? {} : { distributor: { site: distributor.site, serial: distributor.serial } }),
    ...(witnesses.length === 0 ? {} : { witnesses }),
    ...(prefer.length === 0 ? {} : { prefer: [...prefer] }),
    filter,
    rpoMs,
    drillCron: message.drillCron,
    scrubMs,
    failoverPolicy,
    ...(message.onLeaseLapse === LeaseLapse.STOP_SERVING ? { onLeaseLapse: 'stop-serving' } : {}),
    ...(movement === 'sealed' ? {} : { movement }),
    ...archives,
    ...deletionsFrom(message, invalid),
  };
}

/** More often, a Backup HSM would be attached for nothing else. */
const ARCHIVE_MS_MIN = 60_000;
const ARCHIVE_KEEP_MAX = 99;

function archivesFrom(
  { archives, archiveSeconds, archiveKeep }: GroupSpecMessage,
  invalid: (field: string, why: string) => never,
): Pick<GroupSpec, 'archives' | 'archiveMs' | 'archiveKeep'> {
  const places = archives.map(({ site, serial }) => `${site}=${serial}`);
  if (new Set(places).size !== places.length || archives.some(({ site, serial }) => site === '' || serial === ''))
    invalid('archives', 'must have sites and serial numbers of vaults, each once');
  if (archiveSeconds !== 0 && archiveSeconds * 1_000 < ARCHIVE_MS_MIN)
    invalid('archive_seconds', `must be ${ARCHIVE_MS_MIN / 1_000} or more`);
  if (archiveKeep > ARCHIVE_KEEP_MAX) invalid('archive_keep', `must be ${ARCHIVE_KEEP_MAX} or less`);
  return {
    ...(archives.length === 0 ? {} : { archives: archives.map(({ site, serial }) => ({ site, serial })) }),
    ...(archiveSeconds === 0 ? {} : { archiveMs: archiveSeconds * 1_000 }),
    ...(archiveKeep === 0 ? {} : { archiveKeep }),
  };
}

function deletionsFrom(
  { deletions }: GroupSpecMessage,
  invalid: (field: string, why: string) => never,
): Pick<GroupSpec, 'deletions'> {
  if (deletions === undefined) return {};
  const { lossObjects, lossPercent } = deletions;
  const retentionMs = Number(deletions.retentionMs);
  if (!Number.isSafeInteger(retentionMs)) invalid('deletions.retention_ms', 'is too large');
  if (lossPercent > 100) invalid('deletions.loss_percent', 'must be 100 or less');
  return { deletions: { retentionMs, lossObjects, lossPercent } };
}

export const deletionsMessage = ({ deletions }: GroupSpec) =>
  deletions === undefined ? undefined : { ...deletions, retentionMs: BigInt(deletions.retentionMs) };

/** A declaration as operators see it: `specFrom` makes the same of it again. */
export function specMessage(spec: GroupSpec): MessageInitShape<typeof GroupSpecSchema> {
  return {
    name: spec.name,
    members: spec.members.map(({ site, serial }) => ({ site, serial })),
    scratch: spec.scratch.map(({ site, serial }) => ({ site, serial })),
    ...(spec.distributor === undefined ? {} : { distributor: { ...spec.distributor } }),
    ...(spec.witnesses === undefined ? {} : { witnessSites: [...spec.witnesses] }),
    ...(spec.prefer === undefined ? {} : { prefer: [...spec.prefer] }),
    filter: filterMessage(spec.filter),
    rpoSeconds: Math.round(spec.rpoMs / 1_000),
    drillCron: spec.drillCron,
    scrubSeconds: Math.round(spec.scrubMs / 1_000),
    failoverPolicy: spec.failoverPolicy === 'automatic' ? FailoverPolicy.AUTOMATIC : FailoverPolicy.MANUAL,
    ...(spec.onLeaseLapse === undefined ? {} : { onLeaseLapse: LeaseLapse.STOP_SERVING }),
    ...movementField(spec.movement),
    ...(spec.archives === undefined ? {} : { archives: spec.archives.map(({ site, serial }) => ({ site, serial })) }),
    ...(spec.archiveMs === undefined ? {} : { archiveSeconds: Math.round(spec.archiveMs / 1_000) }),
    ...(spec.archiveKeep === undefined ? {} : { archiveKeep: spec.archiveKeep }),
    ...(spec.deletions === undefined ? {} : { deletions: deletionsMessage(spec)! }),
  };
}

/** A vault is for one partition, which must be one of the group's. @throws NOT_FOUND, REQUEST_INVALID */
export function checkArchives(
  archives: readonly Seat[],
  members: readonly Seat[],
  detector: Pick<Detector, 'view'>,
): void {
  for (const { site, serial } of archives) {
    const state = detector.view(site)?.state;
    const vaults = state?.vaults ?? [];
    const vault = vaults.find((one) => one.serial === serial);
    if (vault === undefined)
      throw new AntipodeError(
        'NOT_FOUND',
        state === undefined
          ? `site ${site} has not been heard`
          : `site ${site} has no vault with serial number ${serial}; it has ${vaults.map((one) => `${one.name}=${one.serial}`).join(', ') || 'none'}`,
        {
          details: { site, serial },
          hint: 'Add the vault to `vaults` in agent.yaml of its site and restart the agent there, or correct the serial number.',
        },
      );
    if (members.some((seat) => seat.site === site && seat.serial === vault.partitionSerial)) continue;
    throw new AntipodeError(
      'REQUEST_INVALID',
      `vault ${serial} of site ${site} is for partition ${vault.partitionSerial || '(not initialised)'}, which is not a member of the group`,
      {
        details: { field: 'archives', site, serial },
        hint: 'Name a vault that is for the partition of a member of the group.',
      },
    );
  }
}

/** A witness with a typing error in its name would be counted as a vote that never comes. @throws NOT_FOUND */
export function checkWitnesses({ witnesses = [] }: Pick<GroupSpec, 'witnesses'>, detector: Detector): void {
  const unknown = witnesses.find((site) => detector.view(site)?.state === undefined);
  if (unknown === undefined) return;
  throw new AntipodeError('NOT_FOUND', `witness site ${unknown} has not been heard`, {
    details: { site: unknown },
    hint: 'Start the agent of the witness (`antipode init witness` makes its folder), or correct the name of the site.',
  });
}

/** A typing error in a serial number should show now, not when the site is needed. */
export function checkSites({ members, scratch, distributor }: GroupSpec, detector: Detector): void {
  for (const { site, serial } of [...members, ...scratch, ...(distributor === undefined ? [] : [distributor])]) {
    const state = detector.view(site)?.state;
    if (state === undefined)
      throw new AntipodeError('NOT_FOUND', `site ${site} has not been heard`, {
        details: { site },
        hint: 'Start the agent of the site, or correct the name of the site. `antipode status` lists the known sites.',
      });
    const partition = partitionIn(state, serial);
    const shown = state.partitions.map((one) => `${one.name}=${one.serial || 'not initialised'}`).join(', ');
    if (partition === undefined)
      throw new AntipodeError('NOT_FOUND', `site ${site} has no partition with serial ${serial}; it has ${shown}`, {
        details: { site, serial },
      });
    const isScratchSeat = scratch.some((seat) => seat.serial === serial);
    if (partition.isScratch !== isScratchSeat) {
      throw new AntipodeError(
        'SCRATCH_REFUSED',
        `partition ${serial} is ${partition.isScratch ? '' : 'not '}declared as scratch at site ${site}`,
        { details: { site, serial } },
      );
    }
    const isDistributorSeat = distributor?.serial === serial;
    if (partition.isDistributor !== isDistributorSeat)
      throw new AntipodeError(
        'REQUEST_INVALID',
        `partition ${serial} is ${partition.isDistributor ? '' : 'not '}declared as distributor at site ${site}`,
        {
          details: { field: 'distributor', site, serial },
          hint: 'Declare it with `role: distributor` at its own site, and name it only with --distributor. A distributor must not be a member.',
        },
      );
  }
}

/** A site that still has its seat in a deleted group of this name would take the new group for that one. @throws GROUP_BUSY */
export function checkReleased({ name, members }: GroupSpec, detector: Detector): void {
  const seated = members.find(({ site }) => detector.view(site)?.state?.members.some(({ group }) => group === name));
  if (seated === undefined) return;
  throw new AntipodeError(
    'GROUP_BUSY',
    `site ${seated.site} has not given up its seat in the deleted group ${name} yet`,
    {
      details: { group: name, site: seated.site },
      hint: 'Wait some seconds and repeat the command. An agent of an earlier release does not give up its seat: upgrade it first.',
    },
  );
}

/** One that is named later: its own site alone must have been heard. @throws REQUEST_INVALID, NOT_FOUND, SCRATCH_REFUSED */
export function checkDistributor(spec: GroupSpec, distributor: Seat, detector: Detector): void {
  if ([...spec.members, ...spec.scratch].some(({ serial }) => serial === distributor.serial) || !distributor.serial)
    throw new AntipodeError('REQUEST_INVALID', `partition ${distributor.serial} is a member or a scratch partition`, {
      details: { field: 'distributor' },
    });
  checkSites({ ...spec, members: [], scratch: [], distributor }, detector);
}

/** @throws ALREADY_EXISTS for a partition that is a member of another group */
export function checkSeats({ name, members }: GroupSpec, known: readonly GroupSpec[]): void {
  for (const { site, serial } of members) {
    const other = known.find((group) => group.name !== name && group.members.some((seat) => seat.serial === serial));
    if (other === undefined) continue;
    throw new AntipodeError(
      'ALREADY_EXISTS',
      `partition ${serial} of site ${site} is a member of group ${other.name}`,
      {
        details: { group: other.name, site, serial },
        hint: 'Name another partition for this group: a partition is a member of one group only. `antipode status --json` lists the partitions of each site.',
      },
    );
  }
}

/**
 * Names the fields in which a repeated declaration differs from the one in force; empty if there are none. The order of
 * members matters only for the first, because that one was made active. The order of preferred sites matters. Rules of
 * the filter are named and not repeated, because they may hold labels of keys.
 */
export function differences(inForce: GroupSpec, declared: GroupSpec): string[] {
  const fields = new Set([...Object.keys(inForce), ...Object.keys(declared)]) as Set<keyof GroupSpec>;
  return [...fields].flatMap((field) => {
    const [before, after] = [inForce[field], declared[field]].map((value) => canonical(value, field));
    if (before === after) return [];
    return field === 'filter' ? ['filter differs'] : [`${field} is ${before}, declared ${after}`];
  });
}

/** JSON that does not depend on the order of names, nor of what is a set. PostgreSQL keeps neither. */
function canonical(value: unknown, field = ''): string {
  if (Array.isArray(value)) {
    const items = value.map((item) => canonical(item));
    const [first, ...rest] = items;
    const isOrdered = field === 'prefer' || first === undefined;
    const sorted = isOrdered ? items : field === 'members' ? [first, ...rest.sort()] : items.sort();
    return `[${sorted.join(',')}]`;
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'none';
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
}
