/** The coordinator's status as entries of the model. Pure, and a list of what may cross: nothing else does. */
import {
  FailoverPolicy,
  type GetStatusResponse,
  type GroupMember,
  type GroupState,
  type Operation as OperationMessage,
  roleName,
  type SiteState,
} from '@antipode/protocol';
import { PROTECTION_STATES } from '@antipode/runtime';
import type { Entry, Group, Head, Operation, Seat, Site } from './entries.ts';
import type { Instants } from './instants.ts';

export function entriesOf(status: GetStatusResponse, instants: Instants): Map<string, Entry> {
  return new Map<string, Entry>([
    ['head', headOf(status, instants)],
    ...status.sites.map((site) => [`site/${site.site}`, siteOf(site, instants)] as const),
    ...status.groups.map((group) => [`group/${group.spec?.name ?? ''}`, groupOf(group, instants)] as const),
    ...status.operations.map((operation) => [`operation/${operation.id}`, operationOf(operation)] as const),
  ]);
}

function headOf(status: GetStatusResponse, instants: Instants): Head {
  return {
    kind: 'head',
    coordinator: status.coordinator,
    version: status.version,
    isLeader: status.isLeader,
    isQueueUp: status.isQueueUp,
    coordinators: status.coordinators.map(({ coordinator, state, stateAgeMs, missedBy }) => ({
      name: coordinator,
      state,
      since: instants.of(`coordinator ${coordinator} ${state}`, stateAgeMs),
      missedBy,
    })),
    troubles: status.planningTroubles.map(
      ({ group, message }) => `Nothing is planned for ${group === '' ? 'any group' : `group ${group}`}: ${message}`,
    ),
  };
}

function siteOf(site: SiteState, instants: Instants): Site {
  const { site: name, state, silenceMs, certificate } = site;
  return {
    kind: 'site',
    name,
    state,
    reason: site.reason,
    since: instants.of(`site ${name} ${state}`, site.stateAgeMs),
    ...(silenceMs === undefined ? {} : { heardAt: instants.exact(silenceMs) }),
    version: site.version,
    partitions: site.partitions.map(({ name, serial, errorCode }) => ({ name, serial, error: errorCode })),
    lost: site.lostPartitions.map(({ serial, ageMs }) => ({
      serial,
      since: instants.of(`lost ${name} ${serial}`, ageMs),
    })),
    observations: site.observations.map(({ observer, reached, sinceMs }) => ({
      observer,
      reached,
      since: instants.of(`seen ${name} ${observer} ${reached}`, sinceMs),
    })),
    ...(certificate === undefined ? {} : { certificateEnds: Number(certificate.certificateEndsMs) }),
    isClaimedTwice: site.refusedAgent !== undefined,
  };
}

/** The higher, the worse. A word of another release is as bad as it can be. */
export function rankOf(protection: string): number {
  const at = (PROTECTION_STATES as readonly string[]).indexOf(protection);
  return at === -1 ? PROTECTION_STATES.length : at;
}

export function groupOf(group: GroupState, instants: Instants): Group {
  const { newest, spec, protectedKeys, unprotectedKeys, recoveryPointAgeMs, lastProvenMs, automationPause } = group;
  const name = spec?.name ?? '';
  return {
    kind: 'group',
    name,
    protection: group.protection,
    rank: rankOf(group.protection),
    activeSite: group.activeSite,
    epoch: Number(group.epoch),
    ...(newest === undefined ? {} : { generation: Number(newest.generation), objects: newest.objectCount }),
    uncaptured: newest?.uncaptured.length ?? 0,
    ...(protectedKeys === undefined || unprotectedKeys === undefined
      ? {}
      : { keys: { protected: protectedKeys, not: unprotectedKeys } }),
    ...(recoveryPointAgeMs === undefined ? {} : { recoveryPointAt: instants.of(`point ${name}`, recoveryPointAgeMs) }),
    rpoMs: (spec?.rpoSeconds ?? 0) * 1_000,
    ...(lastProvenMs === undefined ? {} : { lastProven: Number(lastProvenMs) }),
    policy: spec?.failoverPolicy === FailoverPolicy.AUTOMATIC ? 'automatic' : 'manual',
    seats: seatsOf(group),
    ...(automationPause === undefined
      ? {}
      : {
          pause: {
            since: instants.of(`pause ${name}`, automationPause.ageMs),
            operator: automationPause.operator,
            reason: automationPause.reason,
          },
        }),
    concerns: group.concerns.map(({ kind, site, errorCode }) => ({ kind, site, code: errorCode })),
  };
}

function seatsOf(group: GroupState): Seat[] {
  return [
    ...group.members.map((member) => memberSeat(member, group)),
    ...group.joining.map(({ site, siteState }): Seat => ({ site, role: 'joining', siteState, error: '' })),
    ...group.witnesses.map(
      ({ site, siteState, quarantine }): Seat => ({
        site,
        role: 'witness',
        siteState,
        error: quarantine,
      }),
    ),
  ];
}

function memberSeat(member: GroupMember, { newest }: GroupState): Seat {
  const { site, siteState, acknowledgedGeneration, quarantine, partitionErrorCode } = member;
  const role = roleName(member.role) ?? 'unknown';
  const held = role === 'active' ? (newest?.generation ?? 0n) : acknowledgedGeneration;
  return {
    site,
    role,
    siteState,
    ...(held === 0n ? {} : { acknowledged: Number(held), behind: Number((newest?.generation ?? held) - held) }),
    error: quarantine || partitionErrorCode,
  };
}

export function operationOf(operation: OperationMessage): Operation {
  const { id, kind, group, site, phase, status, errorCode, errorMessage, hint, attempts } = operation;
  return {
    kind: 'operation',
    id,
    what: kind,
    group,
    site,
    phase,
    status,
    error: errorCode,
    message: errorMessage,
    hint,
    attempts,
    created: Number(operation.createdMs),
    updated: Number(operation.updatedMs),
  };
}
