/**
 * Decides which operations are due, from the database and the state of the sites. Pure. It is called again and again,
 * so that anything it missed is seen the next time (I8, I10). The database ensures that each group has at most one open
 * intent per kind and site.
 */

import { MemberRole } from '@antipode/protocol';
import { agoMs } from '../calendar/timeline.ts';
import { type Contradiction, quarantineOf } from '../groups/contradiction.ts';
import {
  activeOf,
  archivePolicyOf,
  type Generation,
  type Group,
  type IntentKind,
  isSettled,
  isVersionDue,
  type Seat,
  VOTERS_MIN,
  votersOf,
} from '../model.ts';
import { partitionIn, seatIn } from '../sites/accounts.ts';
import type { SiteView } from '../sites/detector.ts';
import type { ArchiveStanding } from '../store/tables/evidence/archives.ts';
import type { DrillEnd } from '../store/tables/evidence/drills.ts';
import type { ScrubRecord } from '../store/tables/evidence/scrubs.ts';
import type { Acknowledged } from '../store/tables/generations.ts';
import type { Intent } from '../store/tables/intents.ts';
import type { Timings } from '../timings.ts';
import { isHeld } from './archive/held.ts';
import type { ArchiveTarget } from './archive/machine.ts';
import { drillDueAgain } from './drill/retry.ts';
import { type AwaitedGenerations, awaitedGenerationsOf } from './failover/awaited-generations.ts';
import { type Handover, isSame } from './failover/plan.ts';
import { olderKeysNeededFor, seatsWithOlderKeys } from './key-retirement/older-keys.ts';
import { DAMAGE_CODES } from './scrub/machine.ts';

export interface Planned {
  readonly kind: IntentKind;
  readonly group: string;
  readonly site: string;
  readonly state: { readonly phase: string };
  readonly trace: Readonly<Record<string, string>>;
}

export interface Situation {
  readonly group: Group;
  readonly newest: Generation | undefined;
  readonly acknowledged: readonly Acknowledged[];
  /** The same of sites that join. */
  readonly joiningAcknowledged: readonly Acknowledged[];
  /** Failovers and domain key operations that ended well within the gap between automatic ones. */
  readonly recent: readonly Intent[];
  /** Newest failed intents of this group. */
  readonly failed: readonly Intent[];
  readonly open: readonly Intent[];
  /** The last of each member that had one. */
  readonly scrubs: readonly ScrubRecord[];
  /** The record of each vault. */
  readonly archives: readonly ArchiveStanding[];
  /** The last few drills, newest first. */
  readonly drills: readonly DrillEnd[];
  /**
   * How database and agents contradict each other. While they do, nothing is due until an operator reseats the group.
   */
  readonly contradiction: Contradiction | undefined;
  readonly view: (site: string) => SiteView | undefined;
  readonly nowMs: number;
  readonly timings: Timings;
}

export interface Plan {
  readonly create: readonly Planned[];
  /** Parked intents whose cause is worth another look. */
  readonly reopen: readonly string[];
  /** Why an automatic failover that is due is not ordered. */
  readonly waits?: AwaitedGenerations | undefined;
}

/** Capturing at half the objective leaves the other half for replication. */
const CAPTURE_SHARE = 0.5;
/** After a failure that only means "things have moved on". */
const STAND_DOWN_GAP_MS = 1_000;
/** The longest pause after a scrub that could not look: no damage, but not looked at either. */
const SCRUB_RETRY_MS_MAX = 3_600_000;

export function plan(situation: Situation): Plan {
  const { group, open, timings, nowMs, contradiction } = situation;
  const { name } = group.spec;
  const failover = dueFailover(situation);
  const isFailoverDue = failover.length > 0;
  // Where somebody might hand over what must not be lost, it is tried again and again, with pauses.
  const moves = isFailoverDue && awaitedGenerationsOf(situation) === undefined ? failover : [];
  const waits = isFailoverDue ? awaitedGenerationsOf({ ...situation, without: unfetchedFrom(situation) }) : undefined;
  const isOpen = (kind: IntentKind, site?: string): boolean =>
    open.some((intent) => intent.kind === kind && (site === undefined || intent.site === site));
  const create = (contradiction === undefined ? [...moves, ...dueBesides(situation)] : moves).filter(
    ({ kind, site }) =>
      !isOpen(kind, site) &&
      !hasJustFailed(situation, kind, site) &&
      quarantineOf(group, situation.view(site)) === undefined,
  );
  const isPausedMove = ({ kind, state }: Intent): boolean =>
    group.pause !== undefined &&
    isSettled(group) &&
    kind === 'failover' &&
    (state as { reason?: string }).reason === 'automatic';
  const isWorthALook = (one: Intent): boolean => isDueForALook(one) && !isPausedMove(one);
  const isDueForALook = ({ status, updatedMs }: Intent): boolean =>
    contradiction === undefined && status === 'parked' && agoMs({ nowMs, stampMs: updatedMs }) >= timings.parkedRetryMs;
  return {
    create: create.map((draft) => ({ ...draft, group: name })),
    reopen: open.filter(isWorthALook).map(({ id }) => id),
    waits,
  };
}

type Draft = Omit<Planned, 'group'>;

const WAITS_IN_A_PAUSE: ReadonlySet<IntentKind> = new Set(['scrub', 'drill', 'key-retirement']);

/**
 * Whether an operation may still be planned in a group as it is in the transaction that writes it down. A person may have
 * paused the automation since its facts were read, and a failover may have ended.
 */
export function isStillDue({ kind }: Pick<Planned, 'kind'>, { before, now }: { before: Group; now: Group }): boolean {
  if (WAITS_IN_A_PAUSE.has(kind)) return now.pause === undefined;
  if (kind !== 'failover') return true;
  const isSame = now.epoch === before.epoch && now.highestEpoch === before.highestEpoch;
  // Once an epoch was issued, somebody must serve.
  return isSame && (now.pause === undefined || !isSettled(now));
}

/** Whether {@link isStillDue} looks at the group at all. */
export const dependsOnGroup = ({ kind }: Pick<Planned, 'kind'>): boolean =>
  kind === 'failover' || WAITS_IN_A_PAUSE.has(kind);

/** The sites that could not hand over what the last failover had to fetch, if that still must not be lost. */
function unfetchedFrom({ failed, acknowledged }: Situation): readonly string[] {
  const { unfetched } = (failed.find(({ kind }) => kind === 'failover')?.state ?? {}) as { unfetched?: Handover };
  return unfetched !== undefined && acknowledged.some((one) => isSame(one, unfetched.newest)) ? unfetched.holders : [];
}

const dueBesides = (situation: Situation): Draft[] => [
  ...dueDomainKey(situation),
  ...dueCapture(situation),
  ...dueReplications(situation),
  ...dueRejoins(situation),
  ...dueJoins(situation),
  ...dueArchives(situation),
  // A pause stops what can wait (WAITS_IN_A_PAUSE). It does not stop what protects keys.
  ...(situation.group.pause === undefined
    ? [...dueScrubs(situation), ...dueDrills(situation), ...dueKeyRetirements(situation)]
    : []),
];

/**
 * Plans the first domain key, and the next one if a member does not have the version in use. An active member without
 * it captures nothing at all, and knows this from its own journal. A standby shows it by failing to open the newest
 * generation.
 */
function dueDomainKey(situation: Situation): Draft[] {
  const { group, newest, failed, recent, view } = situation;
  const next: Draft = { kind: 'domain-key', site: '', state: { phase: 'due' }, trace: {} };
  if (group.domainKeyVersion === 0) return [next];
  if (!isSettled(group)) return [];
  if (isVersionDue(group) || activeLacksKey(situation) || joiningLacksKey(situation)) return [next];
  if (newest?.domainKeyVersion !== group.domainKeyVersion) return [];
  const lacking = failed.filter((intent) => {
    const target = intent.state as { phase: string; epoch?: bigint; number?: bigint };
    return (
      intent.kind === 'replication' &&
      intent.errorCode === 'DOMAIN_KEY_MISSING' &&
      target.epoch === newest.epoch &&
      target.number === newest.number &&
      view(intent.site)?.status === 'up'
    );
  });
  // A version that did not help is not followed by another one at once, because every version is another key in every
  // HSM. A member that was away did not receive that version, so a new one can help it.
  const isHelpless = lacking.every(({ site }) =>
    recent.some((intent) => hasReached(intent, site, group.domainKeyVersion)),
  );
  return isHelpless || hasJustComeIntoUse(situation) ? [] : [next];
}

/**
 * It was promoted although it had missed a version: better than nobody. The next version is born in its own token, so that
 * this ends. Its heartbeat may be older than a version that has just come into use.
 */
function activeLacksKey(situation: Situation): boolean {
  const { group, view } = situation;
  const site = activeOf(group)?.site ?? '';
  if (hasJustComeIntoUse(situation)) return false;
  const agent = view(site);
  const seat = seatIn(agent?.state, group.spec.name);
  return agent?.status === 'up' && seat?.role === MemberRole.ACTIVE && seat.domainKeyVersion < group.domainKeyVersion;
}

/** A site that joins has missed the version in use: it was away when that was brought. */
function joiningLacksKey(situation: Situation): boolean {
  const { group, recent, view } = situation;
  if (hasJustComeIntoUse(situation)) return false;
  return group.joining.some(({ site }) => {
    const seat = standbySeatOf(group, view(site));
    const isHelpless = recent.some((intent) => hasReached(intent, site, group.domainKeyVersion));
    return seat !== undefined && seat.domainKeyVersion < group.domainKeyVersion && !isHelpless;
  });
}

/** The seat of a member that is up and knows itself to be a standby. */
function standbySeatOf(group: Group, agent: SiteView | undefined) {
  if (agent?.status !== 'up') return undefined;
  const seat = seatIn(agent.state, group.spec.name);
  return seat?.role === MemberRole.STANDBY ? seat : undefined;
}

function hasJustComeIntoUse({ recent, nowMs, timings }: Situation): boolean {
  return recent.some(
    ({ kind, updatedMs }) => kind === 'domain-key' && agoMs({ nowMs, stampMs: updatedMs }) < timings.suspectMs * 2,
  );
}

/** With the version in use: an earlier one, however lately it came, does not open what is sealed now. */
function hasReached({ kind, state }: Intent, site: string, inUse: number): boolean {
  const { version = inUse, sites } = state as { phase: string; version?: number; sites?: readonly string[] };
  return kind === 'domain-key' && version === inUse && (sites === undefined || sites.includes(site));
}

function dueCapture({ group, newest, view, nowMs, open, failed }: Situation): Draft[] {
  const active = activeOf(group);
  if (active === undefined || group.domainKeyVersion === 0 || !isSettled(group) || view(active.site)?.status !== 'up')
    return [];
  if (open.some(({ kind }) => kind === 'failover')) return [];
  const ageMs = newest === undefined ? Number.POSITIVE_INFINITY : agoMs({ nowMs, stampMs: newest.recoveryPointMs });
  const isStale =
    newest !== undefined && (newest.epoch !== group.epoch || newest.domainKeyVersion !== group.domainKeyVersion);
  // A capture that failed after the last good one is repeated early, because nobody knows what it would have captured.
  const hasFailedSince =
    newest !== undefined &&
    failed.some(
      ({ kind, site, errorCode, createdMs }) =>
        kind === 'capture' && site === active.site && !STAND_DOWN.has(errorCode) && createdMs > newest.recoveryPointMs,
    );
  return ageMs >= group.spec.rpoMs * CAPTURE_SHARE || isStale || hasFailedSince
    ? [{ kind: 'capture', site: active.site, state: { phase: 'due' }, trace: {} }]
    : [];
}

function dueReplications({ group, newest, acknowledged, joiningAcknowledged, view, open }: Situation): Draft[] {
  if (open.some(({ kind }) => kind === 'failover')) return [];
  // Until the active member has captured under its own epoch, the newest may be one that was lost with its site.
  if (newest === undefined || newest.epoch !== group.epoch || !isSettled(group)) return [];
  const standbys = group.members.filter(({ role, site }) => role === 'standby' && view(site)?.status === 'up');
  // A site that joins gets nothing before it can open it. It holds the versions since it was added, and none before.
  const isForJoining = !isVersionDue(group) && newest.domainKeyVersion >= group.domainKeyVersion;
  const joining = group.joining.filter(
    ({ site }) => isForJoining && (standbySeatOf(group, view(site))?.domainKeyVersion ?? 0) >= newest.domainKeyVersion,
  );
  return [...standbys, ...joining]
    .filter(
      (member) =>
        restoresMore(member, { group: group.spec.name, newest, view }) ||
        ![...acknowledged, ...joiningAcknowledged].some(
          ({ site, epoch, number }) => site === member.site && epoch === newest.epoch && number === newest.number,
        ),
    )
    .map(({ site }) => ({
      kind: 'replication',
      site,
      state: { phase: 'due', epoch: newest.epoch, number: newest.number, contentDigest: newest.contentDigest } as {
        phase: string;
      },
      trace: newest.trace,
    }));
}

/**
 * Whether a standby may take more of what it has acknowledged: it asks to try refused objects again, or its officer has
 * trusted the version since it left out keys for that.
 */
function restoresMore(
  { site, serial }: Seat,
  { group, newest, view }: { group: string; newest: Generation; view: Situation['view'] },
): boolean {
  const state = view(site)?.state;
  const said = seatIn(state, group);
  if (said?.refusedRetryDue === true) return true;
  const refused = said?.refused ?? [];
  if (!refused.some(({ code }) => code === 'DOMAIN_KEY_UNTRUSTED')) return false;
  const trusted = partitionIn(state, serial)?.trusted ?? [];
  return trusted.some((key) => key.group === group && key.version === newest.domainKeyVersion);
}

/** Fenced members that are back, and standbys whose agent does not know its seat (a lost journal, a late order). */
function dueRejoins({ group, view }: Situation): Draft[] {
  if (!isSettled(group) || group.domainKeyVersion === 0) return [];
  return group.members
    .filter(({ role, site, serial }) => {
      const agent = view(site);
      if (role === 'active' || agent?.status !== 'up') return false;
      const seat = seatIn(agent.state, group.spec.name);
      const standsBy = seat?.role === MemberRole.STANDBY && seat.serial === serial;
      return role === 'fenced' || (agent.state !== undefined && !standsBy);
    })
    .map(({ site }) => ({ kind: 'rejoin', site, state: { phase: 'due' }, trace: {} }));
}

/** A site that joins, until it has. */
function dueJoins({ group }: Situation): Draft[] {
  if (!isSettled(group) || group.domainKeyVersion === 0) return [];
  return group.joining.map(({ site }) => ({ kind: 'member-join', site, state: { phase: 'due' }, trace: {} }));
}

/** One member at a time, who has waited longest: the others serve meanwhile, and are there should it be damaged. */
function dueScrubs({ group, newest, scrubs, open, view, nowMs, timings }: Situation): Draft[] {
  if (newest === undefined || !isSettled(group)) return [];
  if (open.some(({ kind }) => kind === 'failover' || kind === 'scrub')) return [];
  const [first] = group.members
    .filter(({ role, site }) => role !== 'fenced' && view(site)?.status === 'up')
    .map(({ site, serial }) => {
      const { startedMs = group.createdMs, ...last } = scrubs.find((one) => one.site === site) ?? {};
      const answers = partitionIn(view(site)?.state, serial)?.errorCode === '';
      const gapMs = scrubGapMs({ group, last, answers, timings });
      return { site, overdueMs: agoMs({ nowMs, stampMs: startedMs }) - gapMs };
    })
    .filter(({ overdueMs }) => overdueMs >= 0)
    .sort((a, b) => b.overdueMs - a.overdueMs);
  return first === undefined ? [] : [{ kind: 'scrub', site: first.site, state: { phase: 'due' }, trace: {} }];
}

/**
 * The pause after the last scrub of a member. One that could not look is due again soon where the partition answers,
 * whatever the reason was, and twice as long after each in a row. An object that ends the worker would do so at each look.
 */
function scrubGapMs({
  group,
  last: { errorCode = '', failures = 0 },
  answers,
  timings,
}: Pick<Situation, 'group' | 'timings'> & { last: Partial<ScrubRecord>; answers: boolean }): number {
  if (errorCode === '' || DAMAGE_CODES.has(errorCode)) return group.spec.scrubMs;
  if (!answers || errorCode === 'HSM_WORKER_LOST') return SCRUB_RETRY_MS_MAX;
  return Math.min(timings.parkedRetryMs * 2 ** Math.max(0, failures - 1), SCRUB_RETRY_MS_MAX);
}

/** A vault that is not there is asked for again after so many pauses: each look starts the vendor's program. */
const ARCHIVE_RETRY_PAUSES = 10;

/** A backup to each vault in its time, one at a time at a site. */
function dueArchives({ group, newest, archives, view, nowMs, timings }: Situation): Draft[] {
  if (newest === undefined || !isSettled(group)) return [];
  const { everyMs } = archivePolicyOf(group.spec);
  const due = archives
    .filter(({ site }) => view(site)?.status === 'up')
    .map((standing) => {
      const { site, serial, complete, attempt } = standing;
      const stampMs = complete?.startedMs ?? group.createdMs;
      const isThere = complete !== undefined && isHeld(standing, view);
      const overdueMs = isThere ? agoMs({ nowMs, stampMs }) - everyMs : 0;
      const hasJustTried =
        attempt !== undefined &&
        attempt.id !== complete?.id &&
        agoMs({ nowMs, stampMs: attempt.startedMs }) < timings.parkedRetryMs * ARCHIVE_RETRY_PAUSES;
      return { site, serial, overdueMs, hasJustTried };
    })
    .filter(({ overdueMs, hasJustTried }) => overdueMs >= 0 && !hasJustTried);
  const bySite = new Map(due.reverse().map((one) => [one.site, one]));
  return [...bySite.values()].map(({ site, serial }) => {
    const target: ArchiveTarget = { work: 'backup', serial, backup: '', isScheduled: true };
    return { kind: 'archive', site, state: { phase: 'due', target } as { phase: string }, trace: {} };
  });
}

/** Once more, where the last one could not look. All others are the calendar's. */
function dueDrills(situation: Situation): Draft[] {
  const due = drillDueAgain(situation);
  if (due === undefined) return [];
  const { site, ...target } = due;
  return [{ kind: 'drill', site, state: { phase: 'planned', ...target } as { phase: string }, trace: {} }];
}

/** Where every member is past the older versions of the domain key, and a site says that nothing there needs one of them. */
function dueKeyRetirements(situation: Situation): Draft[] {
  const sites = new Set(seatsWithOlderKeys(situation).map(({ site }) => site));
  if (sites.size === 0 || olderKeysNeededFor(situation) !== '') return [];
  return [...sites].map((site) => ({ kind: 'key-retirement', site, state: { phase: 'due' }, trace: {} }));
}

/**
 * A failover that ended badly after its epoch was issued leaves nobody active: that is settled whatever the policy says.
 * Otherwise only where the policy asks for it, three sites vote, and no automatic failover happened lately: a flapping
 * site is a person's matter.
 */
function dueFailover({ group, recent, open, view, nowMs, timings, contradiction }: Situation): Draft[] {
  const active = activeOf(group);
  if (active === undefined || group.domainKeyVersion === 0) return [];
  // Away from a journal that cannot be believed; never out of a database that was rolled back. And only where the HSM is
  // gone, too: while that serves its applications, moving them costs more than seating the site again (ADR 0012).
  if (contradiction !== undefined && contradiction.kind !== 'journal-not-ours') return [];
  const lost = view(active.site);
  const isUnsettled = !isSettled(group) && contradiction === undefined;
  // It has issued the epoch, and is about to seat the owner.
  if (isUnsettled && open.some(({ kind, status }) => kind === 'reseat' && status === 'open')) return [];
  if (!isUnsettled) {
    const isAutomatic = group.spec.failoverPolicy === 'automatic' && votersOf(group) >= VOTERS_MIN;
    const hsmLostMs = lost?.hsmLostMs?.get(active.serial);
    const isHsmLost = hsmLostMs !== undefined && agoMs({ nowMs, stampMs: hsmLostMs }) >= timings.hsmLostMs;
    // Only where another member may serve: a failover that finds nobody would fence for nothing.
    const isWorthIt = lost?.status === 'down' || (lost?.status === 'up' && isHsmLost && hasStandby(group, view));
    if (!isAutomatic || !isWorthIt || group.pause !== undefined) return [];
    const isTooSoon = recent.some(
      ({ kind, state, createdMs }) =>
        kind === 'failover' &&
        createdMs > (group.resumedMs ?? Number.NEGATIVE_INFINITY) &&
        (state as { reason?: string }).reason === 'automatic' &&
        agoMs({ nowMs, stampMs: createdMs }) < timings.automaticFailoverGapMs,
    );
    if (isTooSoon) return [];
  }
  const request = {
    from: active.site,
    wanted: '',
    acceptLoss: false,
    accepted: [],
    reason: 'automatic',
    outageStartedMs: lost?.lastWallMs ?? nowMs,
    excluded: [],
    overtaken: 0,
  };
  return [{ kind: 'failover', site: '', state: { phase: 'requested', ...request } as { phase: string }, trace: {} }];
}

/** A standby that is up and can be used. */
function hasStandby(group: Group, view: Situation['view']): boolean {
  return group.members.some(({ site, serial, role }) => {
    const standby = view(site);
    const partition = partitionIn(standby?.state, serial);
    return (
      role === 'standby' &&
      standby?.status === 'up' &&
      partition?.errorCode === '' &&
      quarantineOf(group, standby) === undefined
    );
  });
}

/**
 * Whether this operation failed a moment ago. It would fail again, so it gets some time, and more if a person must act.
 */
function hasJustFailed({ group, failed, nowMs, timings }: Situation, kind: IntentKind, site: string): boolean {
  const last = failed.find(
    (intent) =>
      intent.kind === kind &&
      intent.site === site &&
      // A move that a person ordered, and that changed nothing, says nothing of the failover that is due by now.
      !(kind === 'failover' && (intent.state as { reason?: string }).reason === 'operator'),
  );
  if (last === undefined) return false;
  const gapMs = STAND_DOWN.has(last.errorCode) ? STAND_DOWN_GAP_MS : timings.parkedRetryMs;
  const waitMs = kind === 'failover' ? failoverWaitMs(group, last, timings) : gapMs;
  return agoMs({ nowMs, stampMs: last.updatedMs }) < waitMs;
}

/** The pause after a failover that failed. */
export function failoverWaitMs(
  group: Group,
  last: Pick<Intent, 'updatedMs' | 'errorCode'>,
  { parkedRetryMs }: Pick<Timings, 'parkedRetryMs'>,
): number {
  return failoverGapMs(group, last, STAND_DOWN.has(last.errorCode) ? STAND_DOWN_GAP_MS : parkedRetryMs);
}

const FAILOVER_GAP_MS_MAX = 3_600_000;

/**
 * The pause after a failover that ended with an epoch issued and nobody active. It grows with the epochs that no member
 * has come into force under, so that T ms of failures use no more than about sqrt(2 T / gap) rounds of epochs. Without
 * that, a thousand epochs go by in hours, and a site that was away for so long refuses the next one as a jump. A longer
 * pause only delays an attempt, so it cannot make two active members. An operator may order a failover at any time, and
 * `resume` ends the pause.
 */
export function failoverGapMs(
  { epoch, highestEpoch, members, resumedMs = Number.NEGATIVE_INFINITY }: Group,
  { updatedMs }: Pick<Intent, 'updatedMs'>,
  gapMs: number,
): number {
  if (updatedMs <= resumedMs) return gapMs;
  const rounds = Math.floor(Number(highestEpoch - epoch) / members.length);
  return Math.min(Math.max(1, rounds) * gapMs, Math.max(gapMs, FAILOVER_GAP_MS_MAX));
}

const STAND_DOWN = new Set(['EPOCH_STALE', 'ROLE_REFUSED', 'GENERATION_NOT_NEWER', 'LEADERSHIP_LOST']);
