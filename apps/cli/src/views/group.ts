/** Groups as tables and sentences for people. */
import { type Concern, type GroupState, MemberRole, roleName } from '@antipode/protocol';
import { duration, table } from '../output.ts';
import { WAYS_OUT } from '../ways-out.ts';

/** `3 of 10`; undefined where it is not known. */
export function unprotectedKeys({ protectedKeys, unprotectedKeys: lacking }: GroupState): string | undefined {
  return protectedKeys === undefined || lacking === undefined ? undefined : `${lacking} of ${protectedKeys + lacking}`;
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
    groups.map((group) => [
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
  return `${siteState} (${siteState === 'up' ? '' : 'was '}${code})`;
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
        epoch === 0n ? '-' : `epoch ${epoch}${siteState === 'up' ? '' : ' (last word)'}`,
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

/** The obstacles of a group: a contradiction, members in quarantine, a pause of automatic failover. */
export function troublesOf(group: GroupState): string[] {
  const { spec, contradiction, members, automaticFailoverPausedUntilMs, automationPause, distributorErrorCode } = group;
  const name = spec?.name ?? '';
  return [
    ...waitOf(group),
    ...group.concerns.map((concern) => concernText(name, concern)),
    ...(contradiction === ''
      ? []
      : [
          `Group ${name}: the database and the journals contradict each other, so the coordinator orders nothing: ${contradiction}.\n  Run \`antipode group reseat ${name} --dry-run\`: it shows both versions and what a reseat would do.`,
        ]),
    ...[...members, ...group.witnesses]
      .filter(({ quarantine }) => quarantine !== '')
      .map(
        ({ site, quarantine }) =>
          `Group ${name}: site ${site} is in quarantine: ${quarantine}.\n  Run \`antipode group reseat ${name} --dry-run\` to see what a reseat would do. Then run \`antipode group reseat ${name}\`.`,
      ),
    ...(distributorErrorCode === ''
      ? []
      : [
          `Group ${name}: its distributor at site ${spec?.distributor?.site ?? ''} cannot be used (${distributorErrorCode}). New domain keys wait for it. Replication and failover continue.\n  If it is lost, name another one: \`antipode group set-distributor ${name} --distributor SITE=SERIAL\`.`,
        ]),
    ...(automaticFailoverPausedUntilMs === undefined
      ? []
      : [
          `Group ${name}: no automatic failover before ${new Date(Number(automaticFailoverPausedUntilMs)).toISOString()}, because the last failover was recent.\n  Run \`antipode failover ${name}\` to move the group by hand, or \`antipode group resume ${name}\` to end the wait.`,
        ]),
    ...(automationPause === undefined
      ? []
      : [
          `Group ${name}: its automation has been paused for ${duration(automationPause.ageMs)} by ${automationPause.operator}${automationPause.reason === '' ? '' : ` (${automationPause.reason})`}. No failover, no drill and no scrub begins by itself. Captures and replications continue.\n  Run \`antipode group resume ${name}\` to end the pause.`,
        ]),
  ];
}

const CONCERNS: Record<string, string> = {
  capture: 'the last capture failed',
  replication: 'the last replication failed',
  'domain-key': 'the domain key did not reach every member',
  // A coordinator of an earlier release calls it so.
  enrolment: 'the domain key did not reach every member',
  rejoin: 'the member could not rejoin',
  drill: 'the last drill failed',
  scrub: 'the last scrub failed',
  planning: 'the coordinator cannot plan for it',
  names: 'names do not tell objects apart',
};

/** One doubt about a state whose numbers are good. */
function concernText(name: string, { kind, site, errorCode, message, ageMs, hint }: Concern): string {
  const what = CONCERNS[kind];
  const where = site === '' || what === undefined ? '' : ` at site ${site}`;
  const code = errorCode === '' ? '' : ` [${errorCode}]`;
  const since = ageMs === 0n ? '' : `, since ${duration(ageMs)}`;
  const why = what === undefined ? message : `${what}${where}${since}:${code} ${message}`;
  return `Group ${name}: ${why}${what === undefined ? since : ''}.${hint === '' ? '' : `\n  ${hint}`}`;
}

/** Why nobody is promoted by automation, what would be lost, and the command of the person who accepts that. */
function waitOf({ spec, failoverWait: wait }: GroupState): string[] {
  if (wait === undefined) return [];
  const name = spec?.name ?? '';
  const numbers = (refs: readonly { generation: bigint }[]): string =>
    refs.map(({ generation }) => generation).join(', ');
  const holders = wait.holders.map(({ site, trouble }) => `${site} (${trouble})`).join(', ');
  return [
    `Group ${name}: the automatic failover has been waiting for ${duration(wait.ageMs)}. No member that can serve has the acknowledged generations ${numbers(wait.generations)}. They are at: ${holders || 'nobody'}.\n  It continues by itself when one of these can be used again. \`antipode failover ${name} --to ${wait.toSite} --accept-loss\` moves the group now and loses generations ${numbers(wait.losses)} to service.`,
  ];
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

/** The objects that a group does not protect, keys first, and the command that shows them. */
export function notCaptured(group: GroupState): string[] {
  const count = group.newest?.uncaptured.length ?? 0;
  if (count === 0) return [];
  const name = group.spec?.name ?? '';
  const keys =
    (group.unprotectedKeys ?? 0) > 0 ? `${unprotectedKeys(group)} keys of group ${name} not protected; ` : '';
  const objects = `${count} ${count === 1 ? 'object' : 'objects'} of group ${name} not captured`;
  return [`${keys}${objects}: \`antipode group show ${name}\` lists them, with reasons and ways out.`];
}

/** The members whose tokens have refused objects, and the command that shows which. */
export function notServed({ spec, members }: GroupState): string[] {
  const name = spec?.name ?? '';
  return members
    .filter(({ refusedObjects }) => refusedObjects > 0)
    .map(({ site, role, refusedObjects: objects }) => {
      const what = `${objects} ${objects === 1 ? 'object' : 'objects'} of group ${name}`;
      const serves = role === MemberRole.ACTIVE ? 'does not serve' : 'could not serve';
      return `Site ${site} ${serves} ${what}, because its token has refused them: \`antipode group show ${name}\` lists them with the answer of the token.`;
    });
}

/** Captured objects that one of the members cannot hold. */
function refusedTable({ members }: GroupState): string {
  const rows = members.flatMap(({ site, siteState, refused, refusedAgeMs }) =>
    refused.map(({ objectId, kind, code, returnValue }) => [
      siteState === 'up' ? site : `${site} (${siteState})`,
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
