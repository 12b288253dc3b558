/** The whole picture, for people. */
import { CHOSEN_FOR, notCaptured, notServed, troublesOf } from '@antipode/operator';
import type { GetStatusResponse, GroupState, Operation, PartitionState, SiteState } from '@antipode/protocol';
import { warningsOf } from '@antipode/protocol';
import { divergentMembers } from '../commands/operator/divergence.ts';
import { undeliveredLines } from '../commands/operator/notify.ts';
import { failureText } from '../commands/operator/operation.ts';
import { duration, table } from '../output.ts';
import { archiveLines } from './archive.ts';
import { groupTable } from './group.ts';
import { isHeard } from './heard.ts';
import { revocationLines } from './revocations.ts';

/** Whether the account of a site is its last word from before, and not of now. */
const isLastWord = ({ state }: Pick<SiteState, 'state'>): boolean => ['suspect', 'down', 'unknown'].includes(state);

/** `a`, or `a (down)`: what follows is its last word. */
const named = ({ site, state }: Pick<SiteState, 'site' | 'state'>): string =>
  isLastWord({ state }) ? `${site} (${state})` : site;

/**
 * `main ok, scratch PIN_REFUSED`: the name in the agent's configuration, and what keeps the partition from being used.
 * With the age of that word, if the site does not say so now.
 */
function partitionsCell(site: Pick<SiteState, 'state' | 'silenceMs' | 'partitions' | 'mutenesses'>): string {
  const state = ({ errorCode, returnValue, unenforced, serial, identitySha256 }: PartitionState) =>
    (errorCode && (returnValue === '' ? errorCode : `${errorCode} (${returnValue})`)) ||
    site.mutenesses.find((one) => one.partition !== '' && one.serial === serial)?.errorCode ||
    (identitySha256 === '' && 'not initialised') ||
    (unenforced.length > 0 ? `weak (${unenforced.join(' ')})` : 'ok');
  const told = site.partitions.map((partition) => `${partition.name} ${state(partition)}`).join(', ');
  if (told === '') return '-';
  return isLastWord(site) ? `${told} (${duration(site.silenceMs)} ago)` : told;
}

/**
 * Operations that are under way, wait for a person, or failed, newest first. A failure counts until another operation of
 * its kind has ended at the same place: a disk that was full for a day is one line. `operation list` has all of them.
 */
export function notableOf(operations: readonly Operation[]): Operation[] {
  const ended = new Set<string>();
  return operations.filter(({ kind, group, site, status }) => {
    if (status === 'open' || status === 'parked') return true;
    // Captures follow the active member from site to site.
    const place = kind === 'capture' ? [kind, group] : [kind, group, site];
    const isOver = ended.has(place.join());
    if (status === 'done' || status === 'failed') ended.add(place.join());
    return status === 'failed' && !isOver;
  });
}

/** A new user sees what comes next. */
const NO_SITE = 'No site has joined. Run `antipode site token <site>` here, and `antipode site join` at its machine.';
const NO_GROUP = 'There is no group. `antipode group create` makes one, once the partitions trust each other.';

/** Sites with their partitions; what is under way or waits for a person; and the groups. */
export function statusText(status: GetStatusResponse): string {
  const sites = table(
    ['SITE', 'STATE', 'SINCE', 'SILENT FOR', 'ADDRESS', 'PARTITIONS', 'REASON'],
    status.sites.map((site) => [
      site.site,
      site.state,
      duration(site.stateAgeMs),
      duration(site.silenceMs),
      site.address,
      partitionsCell(site),
      // In sentences of their own below.
      site.mutenesses.length === 0 ? site.reason : site.mutenesses.map(({ errorCode }) => errorCode).join(', '),
    ]),
  );
  const notable = notableOf(status.operations);
  const operations = table(
    ['OPERATION', 'KIND', 'GROUP', 'SITE', 'PHASE', 'STATUS', 'ERROR'],
    notable.map((operation) => [
      operation.id.slice(0, 8),
      operation.kind,
      operation.group,
      operation.site || '-',
      operation.phase,
      operation.status,
      operation.errorCode || '-',
    ]),
  );
  const hints = notable
    .filter(({ status: state, kind }) => state === 'parked' || (state === 'failed' && kind === 'failover'))
    .map((operation) => `${failureText(operation)}\n  ${operation.hint}`);
  return [
    `coordinator ${status.coordinator} ${status.version}${status.isLeader ? '' : ' (does not lead: its view of sites can be out of date; ask the leader)'}${queueText(status)}`,
    ...coordinatorLines(status),
    ...(status.clockStep === undefined
      ? []
      : [
          `The coordinator's clock was set ${status.clockStep.byMs < 0n ? 'back' : 'ahead'} by ${duration(status.clockStep.byMs < 0n ? -status.clockStep.byMs : status.clockStep.byMs)}, ${duration(status.clockStep.ageMs)} ago. Deadlines do not move with it. Scheduled drills do.`,
        ]),
    ...status.planningTroubles.map(
      ({ group, message, ageMs, hint }) =>
        `Nothing has been planned for ${group === '' ? 'any group' : `group ${group}`} for ${duration(ageMs)}: no capture, no replication, no failover. ${message}\n  ${hint}`,
    ),
    ...(status.sites.length > 0 ? [sites] : [NO_SITE]),
    ...(status.sites.length > 0 && status.groups.length === 0 ? [NO_GROUP] : []),
    ...muteSites(status),
    ...reachedBy(status),
    ...lostPartitions(status),
    ...refusedAgents(status),
    ...forgottenCalls(status),
    ...revocationLines(status),
    ...approvalLines(status),
    ...(status.groups.length > 0 ? [groupTable(status.groups)] : []),
    ...status.groups.flatMap(troublesOf),
    ...status.groups.flatMap(notCaptured),
    ...archiveLines(status.groups),
    ...status.groups.flatMap(notServed),
    ...besideTheLine(status.groups),
    ...awaitedOfficers(status.sites),
    ...automaticMoves(status),
    ...undeliveredLines(status),
    ...(notable.length > 0 ? [operations] : []),
    ...hints,
  ].join('\n\n');
}

const queueText = ({ isQueueUp, isQueueMute }: Pick<GetStatusResponse, 'isQueueUp' | 'isQueueMute'>): string => {
  if (isQueueUp) return '';
  return isQueueMute
    ? ' (the queue takes wake-ups and delivers none: slower, nothing lost)'
    : ' (queue unavailable: slower, nothing lost)';
};

/** Why an automatic failover chose its target: while it is under way, and for as long as it holds up the next one. */
export function automaticMoves({ groups, operations }: Pick<GetStatusResponse, 'groups' | 'operations'>): string[] {
  return groups.flatMap(({ spec, automaticFailoverPausedUntilMs }) => {
    const name = spec?.name ?? '';
    // The newest comes first.
    const move = operations.find(
      ({ kind, group, status }) => kind === 'failover' && group === name && status !== 'failed',
    );
    const { outcome, status } = move ?? {};
    if (outcome?.case !== 'failover' || outcome.value.reason !== 'automatic' || outcome.value.toSite === '') return [];
    const isShown = status === 'open' || status === 'parked' || automaticFailoverPausedUntilMs !== undefined;
    const { fromSite, toSite, chosenFor, passedOver } = outcome.value;
    const why = CHOSEN_FOR[chosenFor];
    if (!isShown || why === undefined) return [];
    const others = passedOver.map(({ site, errorCode }) => `${site} (${errorCode})`).join(', ');
    const before = others === '' ? '' : ` Sites that were chosen before it and could not serve: ${others}.`;
    return [
      `Group ${name}: the automatic failover from site ${fromSite} ${status === 'done' ? 'chose' : 'has chosen'} site ${toSite}, because ${why}.${before}`,
    ];
  });
}

/** All of them, where there are several; and those that some site does not reach. */
function coordinatorLines({ coordinators }: GetStatusResponse): string[] {
  if (coordinators.length < 2) return [];
  const rows = coordinators.map(({ coordinator, state, stateAgeMs, silenceMs, address }) => [
    coordinator,
    state,
    duration(stateAgeMs),
    state === 'leads' && silenceMs === 0n ? '-' : duration(silenceMs),
    address || '-',
  ]);
  const missed = coordinators
    .filter(({ missedBy }) => missedBy.length > 0)
    .map(({ coordinator, missedBy, reachedBy }) =>
      reachedBy.length === 0
        ? `No site reaches coordinator ${coordinator}: it cannot take over. Runbook: docs/runbooks/coordinator-lost.md.`
        : `Coordinator ${coordinator} is not reached from site ${missedBy.join(', ')}, but it is from site ${reachedBy.join(', ')}.`,
    );
  return [table(['COORDINATOR', 'STATE', 'SINCE', 'SILENT FOR', 'ADDRESS'], rows), ...missed];
}

/** The work that a site does not do although its heartbeats arrive. */
function muteSites({ sites }: GetStatusResponse): string[] {
  return sites.flatMap(({ site, mutenesses }) =>
    mutenesses.map(
      ({ errorCode, message, ageMs, hint }) =>
        `Site ${site} is heard and does not do its work (${errorCode}, for ${duration(ageMs)}): ${message}.\n  ${hint}`,
    ),
  );
}

/** The views that others have of a site that is not up, and of one that somebody cannot reach although it is up. */
function reachedBy({ sites }: GetStatusResponse): string[] {
  return sites.flatMap(({ site, state, observations, refutations }) => {
    const notable = isHeard(state) ? observations.filter(({ reached }) => !reached) : observations;
    if (notable.length === 0) return [];
    const seen = notable.map(
      ({ observer, reached, ageMs, sinceMs }) =>
        `${observer} ${reached ? 'reaches' : 'does not reach'} it (for ${duration(sinceMs)}, last tried ${duration(ageMs)} ago)`,
    );
    const refuted = refutations === 0 ? '' : ` It was suspected and then reached by another site ${refutations} times.`;
    return [`Site ${site} is ${state}, as others see it: ${seen.join('; ')}.${refuted}`];
  });
}

/** An HSM that is gone while its agent lives is a loss like that of the site. */
function lostPartitions({ sites }: GetStatusResponse): string[] {
  return sites.flatMap(({ site, state, silenceMs, partitions, lostPartitions: lost }) =>
    lost.map(({ serial, ageMs }) => {
      const name = partitions.find((one) => one.serial === serial)?.name ?? serial;
      if (isLastWord({ state }))
        return `The HSM of partition ${name} was gone when site ${site} was last heard, ${duration(silenceMs)} ago.`;
      return `The HSM of partition ${name} at site ${site} has been gone for ${duration(ageMs)}, although its agent answers.`;
    }),
  );
}

/** Which sites guard their actions, and which leave them to a single operator. */
export function approvalLines({ sites, groups }: Pick<GetStatusResponse, 'sites' | 'groups'>): string[] {
  const seated = new Set(groups.flatMap(({ members }) => members.map(({ site }) => site)));
  const members = sites.filter(({ site }) => seated.has(site));
  const isUnheard = ({ state, silenceMs }: SiteState): boolean => state === 'unknown' && silenceMs === undefined;
  const open = members.filter((site) => site.approvalRules.length === 0 && !isUnheard(site)).map(named);
  const unheard = members.filter(isUnheard).map(({ site }) => site);
  const rules = members.flatMap((site) =>
    site.approvalRules.map(({ group, required, operators }) => ({
      site: named(site),
      text: `${group === '' ? '' : `group ${group}: `}${required} of ${operators.join(', ')}, without the requester`,
    })),
  );
  const guarded = [...Map.groupBy(rules, ({ text }) => text)].map(
    ([text, same]) => `Guarded actions at site ${same.map(({ site }) => site).join(', ')} need approvals: ${text}.`,
  );
  const unguarded =
    open.length === 0
      ? []
      : [
          `${open.length === 1 ? 'Site' : 'Sites'} ${open.join(', ')} ${open.length === 1 ? 'guards' : 'guard'} nothing by approvals: the certificate of one operator is enough for a failover with loss and for new members (docs/howto/approvals.md).`,
        ];
  const unknown =
    unheard.length === 0
      ? []
      : [
          unheard.length === 1
            ? `Site ${unheard.join()} has not said yet whether it guards anything by approvals.`
            : `Sites ${unheard.join(', ')} have not said yet whether they guard anything by approvals.`,
        ];
  return [...guarded, ...unguarded, ...unknown];
}

/** Two agents that speak for one site: nothing is taken from the second, and nobody else would tell of it. */
function refusedAgents({ sites }: GetStatusResponse): string[] {
  return sites.flatMap(({ site, address, refusedAgent: refused }) =>
    refused === undefined
      ? []
      : [
          `A second agent claims to be site ${site} and has been refused for ${duration(refused.sinceMs)} (last ${duration(refused.lastMs)} ago). It gives its address as ${refused.address || 'unknown'} and connects from ${refused.peer || 'an unknown address'}. The accepted agent is at ${address}.\n  Stop the agent that must not run. If its data folder is a copy, never start it again. If site ${site} has moved, stop the old agent first.`,
        ],
  );
}

/** Agents of retired sites that call all the same. */
function forgottenCalls({ forgottenSites }: GetStatusResponse): string[] {
  return forgottenSites.flatMap(({ site, operator, forgottenMs, calling }) => {
    if (calling === undefined) return [];
    const { address, peer, sinceMs, lastMs } = calling;
    const since = `refused for ${duration(sinceMs)} (last ${duration(lastMs)} ago)`;
    const from = `its address as ${address || 'unknown'} and connects from ${peer || 'an unknown address'}`;
    const day = new Date(Number(forgottenMs)).toISOString().slice(0, 10);
    return [
      [
        `The agent of site ${site}, which ${operator} has retired on ${day}, calls and has been ${since}. It gives ${from}.`,
        '  Stop the agent. If nobody has started it on purpose, revoke its certificate (docs/runbooks/a-key-was-stolen.md).',
        `  \`antipode site readmit ${site}\` takes the site back.`,
      ].join('\n'),
    ];
  });
}

/** Whose security officer has to act, where, and by which command. */
export function awaitedOfficers(sites: GetStatusResponse['sites']): string[] {
  return sites.flatMap(({ site, state, partitions }) =>
    partitions.flatMap(({ name, awaitingOfficer }) => {
      const keys = awaitingOfficer.map(({ group, version }) => `version ${version} of group ${group}`);
      return keys.length === 0
        ? []
        : [
            `The security officer of site ${named({ site, state })} must trust domain key ${keys.join(', ')}. Until then, site ${site} neither restores nor captures keys with CKA_WRAP_WITH_TRUSTED under that key.\n  Run there: antipode partition trust-domain-key ${name} --officer-pin-file FILE`,
          ];
    }),
  );
}

/** Keys of applications that the group does not have, at sites that have returned. */
export function besideTheLine(groups: readonly GroupState[]): string[] {
  return divergentMembers(groups).flatMap(({ group, site, role, divergent, unaccounted, setAside }) => [
    ...(divergent + unaccounted === 0
      ? []
      : [
          `Site ${site} has ${divergent} divergent and ${unaccounted} unaccounted objects, which group ${group} does not have: \`antipode divergence show ${group} ${site}\` lists them.`,
        ]),
    ...(setAside === 0
      ? []
      : [
          `${setAside} ${setAside === 1 ? 'object is' : 'objects are'} sealed at site ${site} only, because group ${group} has others with their names: ${role === 'active' ? `\`antipode deleted list\` at site ${site} lists them` : `\`antipode divergence show ${group} ${site}\` lists them`}.`,
        ]),
  ]);
}

/** The faults of certificates of coordinator and agents, including those due within a month. */
export function certificateWarnings({ coordinator, certificate, sites }: GetStatusResponse, nowMs: number): string[] {
  const owners = [
    { who: `coordinator ${coordinator}`, certificate },
    ...sites.map((site) => ({ who: `site ${named(site)}`, certificate: site.certificate })),
  ];
  return owners.flatMap(({ who, certificate: info }) =>
    info === undefined
      ? []
      : warningsOf(
          {
            certificateEndsMs: Number(info.certificateEndsMs),
            authorityEndsMs: Number(info.authorityEndsMs),
            problem: info.problem,
          },
          nowMs,
        ).map((warning) => `${who}: ${warning}`),
  );
}

export function isDegraded(status: GetStatusResponse): boolean {
  const { isLeader, coordinators, groups, sites, planningTroubles, receivers, heartbeats, forgottenSites } = status;
  return (
    !isLeader ||
    revocationLines(status).length > 0 ||
    [...receivers, ...heartbeats].some(({ trouble }) => trouble !== '') ||
    planningTroubles.length > 0 ||
    forgottenSites.some(({ calling }) => calling !== undefined) ||
    coordinators.some(({ state }) => state === 'silent') ||
    groups.some(
      ({ protection, members }) => protection !== 'protected' || members.some(({ quarantine }) => quarantine !== ''),
    ) ||
    sites.some(
      ({ state, partitions, refusedAgent }) =>
        refusedAgent !== undefined || state !== 'up' || partitions.some(({ errorCode }) => errorCode !== ''),
    )
  );
}
