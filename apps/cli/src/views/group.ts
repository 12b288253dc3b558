/** Groups as tables and sentences for people. */
import { duration, troublesOf, unprotectedKeys } from '@antipode/operator';
import { type GroupState, movementName, roleName } from '@antipode/protocol';
import { PROTECTION_STATES } from '@antipode/runtime';
import { table } from '../output.ts';
import { WAYS_OUT } from '../ways-out.ts';
import { isHeard } from './heard.ts';

/** The worst first, and those that are equally well by their names. */
export function worstFirst(groups: readonly GroupState[]): GroupState[] {
  const rank = ({ protection }: GroupState): number => {
    const at = (PROTECTION_STATES as readonly string[]).indexOf(protection);
    return at === -1 ? PROTECTION_STATES.length : at;
  };
  const nameOf = ({ spec }: GroupState): string => spec?.name ?? '';
  return [...groups].sort((one, other) => rank(other) - rank(one) || (nameOf(one) < nameOf(other) ? -1 : 1));
}

export function groupTable(groups: readonly GroupState[]): string {
  return table(
    [
      'GROUP',
      'PROTECTION',
      'KEYS NOT PROTECTED',
      'ACTIVE',
      'EPOCH',
      'GENERATION',
      'OBJECTS',
      'NOT CAPTURED',
      'RECOVERY POINT AGE',
      'LAST PROVEN',
    ],
    worstFirst(groups).map((group) => [
      group.spec?.name ?? '',
      group.protection,
      unprotectedKeys(group) ?? '-',
      group.activeSite || '-',
      String(group.epoch),
      String(group.newest?.generation ?? '-'),
      String(group.newest?.objectCount ?? '-'),
      String(group.newest?.uncaptured.length ?? '-'),
      duration(group.recoveryPointAgeMs),
      group.lastProvenMs === undefined ? 'never' : new Date(Number(group.lastProvenMs)).toISOString(),
    ]),
  );
}

/** `down (was HSM_WORKER_LOST)`: its error is from before. */
function stateCell({ siteState, partitionErrorCode: code }: GroupState['members'][number]): string {
  if (code === '') return siteState;
  return `${siteState} (${isHeard(siteState) ? '' : 'was '}${code})`;
}

export function memberTable(group: GroupState): string {
  return table(
    [
      'SITE',
      'ROLE',
      'SITE STATE',
      'SERIAL',
      'ACKNOWLEDGED',
      'RECOVERY POINT AGE',
      'DIVERGENT',
      'UNACCOUNTED',
      'SET ASIDE',
    ],
    [
      ...group.members.map((member) => [
        member.site,
        roleName(member.role) ?? '?',
        stateCell(member),
        member.serial,
        String(member.acknowledgedGeneration || '-'),
        duration(member.recoveryPointAgeMs),
        String(member.divergentObjects),
        String(member.unaccountedObjects),
        String(member.setAsideObjects),
      ]),
      ...group.joining.map(({ site, siteState, serial, waitsFor }) => [
        site,
        'joining',
        waitsFor === '' ? siteState : `${siteState} (${waitsFor})`,
        serial,
        '-',
        '-',
        '-',
        '-',
        '-',
      ]),
      ...group.witnesses.map(({ site, siteState, epoch }) => [
        site,
        'witness',
        siteState,
        '-',
        epoch === 0n ? '-' : `epoch ${epoch}${isHeard(siteState) ? '' : ' (last word)'}`,
        '-',
        '-',
        '-',
        '-',
      ]),
    ],
  );
}

/** The source of the domain keys of a group. */
export function distributorText({ spec }: GroupState): string {
  const { name = '', distributor } = spec ?? {};
  return distributor === undefined
    ? `the active member of group ${name} makes its domain keys`
    : `partition ${distributor.serial} of site ${distributor.site} alone brings domain keys to group ${name}`;
}

/** How the keys of a group move; nothing where all are sealed. */
export function movementText({ spec }: GroupState): string | undefined {
  const movement = movementName(spec?.movement);
  if (movement === 'sealed') return undefined;
  const name = spec?.name ?? '';
  if (movement === undefined) return `keys of group ${name} move in a way that only a later release knows`;
  const others =
    movement === 'native'
      ? 'all others are sealed'
      : 'all others have both forms, and each member takes the clone if it can';
  return `keys of group ${name} that no token wraps move by the cloning of their device; ${others} (${movement})`;
}

export function disagreements(group: GroupState): string {
  const troubles = troublesOf(group);
  return troubles.length === 0 ? '' : `\n\n${troubles.join('\n')}`;
}

/** Attributes of the active member's objects that no replica gets: they are missing after a failover. */
export function notCarriedTable({ members }: GroupState): string {
  return members
    .filter(({ notCarriedObjects }) => notCarriedObjects > 0)
    .map(({ site, notCarried, notCarriedObjects: objects, notCarriedWeighty: weighty }) => {
      const listed = table(
        ['OBJECT', 'KIND', 'ATTRIBUTES'],
        notCarried.map(({ objectId, kind, attributes }) => [objectId, kind, attributes.join(', ')]),
      );
      const warning = weighty === 0 ? '' : ` ${weighty} of them lose a protection: trust, a date, or a limit.`;
      return `\n\n${objects} ${objects === 1 ? 'object has' : 'objects have'} attributes at site ${site} that no replica gets.${warning}\n${listed}\nTo see labels, run at site ${site}: antipode partition attributes <partition>`;
    })
    .join('');
}

/** The versions of the domain key in every partition, and what keeps those that are not in use. */
export function domainKeyTable({ domainKeyVersion, domainKeys, olderKeysNeededFor, spec }: GroupState): string {
  if (domainKeys.length === 0) return '';
  const listed = table(
    ['SITE', 'SERIAL', 'VERSION', 'KEPT BECAUSE', 'REPORTED'],
    domainKeys.map(({ site, serial, version, neededFor, ageMs }) => [
      site,
      serial,
      String(version),
      neededFor || (olderKeysNeededFor === '' ? 'not needed: about to be destroyed' : 'not needed at this site'),
      `${duration(ageMs)} ago`,
    ]),
  );
  const hasOlder = domainKeys.some(({ version }) => version < domainKeyVersion);
  const everywhere =
    hasOlder && olderKeysNeededFor !== ''
      ? `\nOlder versions of group ${spec?.name ?? ''} stay at every member, because ${olderKeysNeededFor}.`
      : '';
  return `\n\nDomain key versions (in use: ${domainKeyVersion}):\n${listed}${everywhere}`;
}

/** The uncaptured objects, and the way out for each reason in the list. */
export function uncapturedTable(group: GroupState): string {
  const objects = group.newest?.uncaptured ?? [];
  if (objects.length === 0) return refusedTable(group);
  const listed = table(
    ['OBJECT', 'KIND', 'REASON'],
    objects.map(({ objectId, kind, reason }) => [objectId, kind, reason]),
  );
  const reasons = new Set(objects.map(({ reason }) => reason));
  const waysOut = Object.entries(WAYS_OUT).flatMap(([reason, what]) =>
    reasons.has(reason) ? [`${reason}: ${what}.`] : [],
  );
  return `\nNot captured, so not protected in the present state:\n${listed}\n\n${waysOut.join('\n')}${refusedTable(group)}`;
}

/** Captured objects that one of the members cannot hold. */
function refusedTable({ members }: GroupState): string {
  const rows = members.flatMap(({ site, siteState, refused, refusedAgeMs }) =>
    refused.map(({ objectId, kind, code, returnValue }) => [
      isHeard(siteState) ? site : `${site} (${siteState})`,
      objectId,
      kind,
      returnValue || code,
      refusedAgeMs === undefined ? '-' : `${duration(refusedAgeMs)} ago`,
    ]),
  );
  if (rows.length === 0) return '';
  const listed = table(['SITE', 'OBJECT', 'KIND', 'WHY', 'REPORTED'], rows);
  return `\n\nNot restored at these sites. They cannot serve these objects:\n${listed}`;
}

/** The approvals that sites of the group have used, by their own account, with the people who gave them. */
export function approvalUseTable({ approvalUses, spec }: GroupState): string {
  if (approvalUses.length === 0) return '';
  const listed = table(
    ['SITE', 'ACTION', 'REQUESTED BY', 'APPROVED BY', 'WHEN', 'APPROVAL'],
    approvalUses.map(({ site, use }) => [
      site,
      use?.action ?? '',
      use?.requestedBy ?? '',
      use?.approvedBy.join(', ') ?? '',
      new Date(Number(use?.usedMs ?? 0n)).toISOString(),
      (use?.digest ?? '').slice(0, 16),
    ]),
  );
  return `\n\nApprovals used (all of them: antipode approve list ${spec?.name ?? ''}):\n${listed}`;
}
