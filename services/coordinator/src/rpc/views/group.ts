/**
 * Groups as operators see them: the database's truth and the detector's view as messages. Numbers are never better than
 * reality (I13).
 */

import { type GroupStateSchema, nameRef, roleNumber } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Concern } from '../../groups/concerns.ts';
import { type Contradiction, quarantineOf, witnessedEpoch } from '../../groups/contradiction.ts';
import { specMessage } from '../../groups/group-spec.ts';
import { troubleOf, usableAcknowledgements } from '../../groups/member-trouble.ts';
import { activeOf, type Generation, type Group, isSettled, isVersionDue, votersOf, witnessesOf } from '../../model.ts';
import { refOf } from '../../operations/context.ts';
import type { Held } from '../../operations/failover/plan.ts';
import { olderKeysNeededFor } from '../../operations/key-retirement/older-keys.ts';
import { lackOf } from '../../operations/member-join/effects.ts';
import { failoverWaitMs } from '../../operations/planner.ts';
import type { WaitingFailover } from '../../operations/reconciler.ts';
import { DAMAGE_CODES } from '../../operations/scrub/machine.ts';
import { partitionIn, seatIn } from '../../sites/accounts.ts';
import { type SiteView, stateWordOf } from '../../sites/detector.ts';
import type { ApprovalUseRecord } from '../../store/tables/approvals.ts';
import type { ArchiveStanding } from '../../store/tables/evidence/archives.ts';
import type { ScrubRecord } from '../../store/tables/evidence/scrubs.ts';
import type { Acknowledged } from '../../store/tables/generations.ts';
import type { Intent } from '../../store/tables/intents.ts';
import type { RefusedRecord, RefusedThere } from '../../store/tables/refused.ts';
import type { Timings } from '../../timings.ts';
import { useMessage } from '../approvals.ts';
import { archiveMessage } from './archive.ts';
import { catalogueHint, type ToWall } from './operation.ts';

export interface GroupFacts {
  readonly group: Group;
  readonly newest: Generation | undefined;
  readonly acknowledged: readonly Acknowledged[];
  /** Acknowledgements of sites that join. */
  readonly joiningAcknowledged?: readonly Acknowledged[];
  readonly lastPassedMs: number | undefined;
  readonly scrubs: readonly ScrubRecord[];
  /** The record of each vault. */
  readonly archives?: readonly ArchiveStanding[];
  readonly leaseRemainingMs: number;
  /** No automatic failover before this, since there was one lately. */
  readonly pausedUntilMs?: number | undefined;
  readonly contradiction: Contradiction | undefined;
  /** Its last failover, if that ended with nobody active. */
  readonly failedMove?: Pick<Intent, 'updatedMs' | 'errorCode'> | undefined;
  readonly timings?: Pick<Timings, 'parkedRetryMs'> | undefined;
  /** The conditions that its automatic failover waits for, and since when. */
  readonly wait?: { readonly waiting: Omit<WaitingFailover, 'sinceMs'>; readonly ageMs: number } | undefined;
  readonly open: readonly Pick<Intent, 'kind'>[];
  readonly concerns?: readonly Concern[];
  /** The objects that each member could not restore, by its last report. */
  readonly refused: readonly RefusedRecord[];
  /** Approvals that its sites have used, newest first. */
  readonly approvalUses?: readonly ApprovalUseRecord[];
  readonly view: (site: string) => SiteView | undefined;
  readonly nowMs: number;
  /** Converts a moment of the timeline to the wall-clock time that people see. */
  readonly toWallMs: ToWall;
}

const LAG_MS_MAX = 2_000;

export function groupState(facts: GroupFacts): MessageInitShape<typeof GroupStateSchema> {
  const { group, newest, lastPassedMs, scrubs, leaseRemainingMs, view, nowMs, toWallMs } = facts;
  const acknowledged = usableAcknowledgements(group, facts.acknowledged, view);
  const standbys = group.members.filter(({ role }) => role !== 'active');
  const ages = standbys.map(({ site }) => ageOf(site));
  function ageOf(site: string): number | undefined {
    const held = acknowledged.find((one) => one.site === site);
    // One that lies ahead says nothing of its age; but a coordinator that has just taken over may lag a little.
    return held === undefined || held.recoveryPointMs > nowMs + LAG_MS_MAX
      ? undefined
      : Math.max(0, nowMs - held.recoveryPointMs);
  }
  function acknowledgedBy(site: string) {
    const held = acknowledged.find((one) => one.site === site);
    return {
      acknowledgedGeneration: held?.number ?? 0n,
      acknowledgedEpoch: held?.epoch ?? 0n,
      acknowledgedDigest: fromHex(held?.manifestDigest ?? ''),
    };
  }
  const known = ages.filter((age) => age !== undefined);
  return {
    approvalUses: (facts.approvalUses ?? []).map(useMessage),
    spec: specMessage(group.spec),
    epoch: group.epoch,
    activeSite: group.members.find(({ role }) => role === 'active')?.site ?? '',
    domainKeyVersion: group.domainKeyVersion,
    ...(newest === undefined
      ? {}
      : { newest: { ...refOf(newest), captureStartedMs: BigInt(toWallMs(newest.recoveryPointMs)) } }),
    ...(newest?.keyCount === undefined
      ? {}
      : { protectedKeys: keysCaptured(newest, newest.keyCount), unprotectedKeys: keysNotCaptured(newest).length }),
    members: group.members.map(({ site, serial, role, divergent, unaccounted }) => {
      const ageMs = ageOf(site);
      const scrubbed = scrubs.find((one) => one.site === site);
      return {
        site,
        serial,
        role: roleNumber(role),
        siteState: stateWordOf(view(site)),
        partitionErrorCode: troubleOf(view(site), { serial }),
        ...reportAge(facts, site),
        ...acknowledgedBy(site),
        ...(ageMs === undefined || role === 'active' ? {} : { recoveryPointAgeMs: BigInt(Math.round(ageMs)) }),
        leaseRemainingMs: BigInt(role === 'active' ? Math.round(leaseRemainingMs) : 0),
        divergentObjects: divergent,
        unaccountedObjects: unaccounted,
        ...sealedThereOnly(facts, site),
        ...(scrubbed === undefined ? {} : { lastScrubMs: BigInt(toWallMs(scrubbed.startedMs)) }),
        scrubErrorCode: scrubbed?.errorCode ?? '',
        quarantine: quarantineOf(group, view(site)) ?? '',
        heldObjects: heldAt(facts, site),
        namesakeObjects: namesakesAt(facts, site),
        ...sharedNamesAt(facts, site),
        ...refusedBy(facts, site),
        ...(role === 'active' ? notCarriedAt(facts, site) : {}),
      };
    }),
    witnesses: witnessesOf(group).map((site) => ({
      site,
      siteState: stateWordOf(view(site)),
      epoch: witnessedEpoch(view(site)?.state, group.spec.name),
      ...reportAge(facts, site),
      quarantine: quarantineOf(group, view(site)) ?? '',
    })),
    archives: (facts.archives ?? []).map((standing) => archiveMessage(facts, standing)),
    votingSites: votersOf(group),
    ...(group.pause === undefined
      ? {}
      : {
          automationPause: {
            ageMs: BigInt(Math.max(0, Math.round(nowMs - group.pause.sinceMs))),
            operator: group.pause.operator,
            reason: group.pause.reason,
          },
        }),
    protection: protectionOf({ ...facts, acknowledged }, ages),
    concerns: (facts.concerns ?? []).map(concernMessage),
    contradiction: facts.contradiction?.message ?? '',
    ...(facts.wait === undefined ? {} : { failoverWait: waitMessage(facts.wait) }),
    ...failoverRetry(facts),
    olderKeysNeededFor: olderKeysNeededFor(facts),
    domainKeys: domainKeysOf(facts),
    distributorErrorCode: distributorTrouble(group, view),
    revision: group.revision,
    domainKeyDue: isVersionDue(group),
    joining: group.joining.map((seat) => ({
      ...seat,
      siteState: stateWordOf(view(seat.site)),
      waitsFor: lackOf({ group, seat, newest, acknowledged: facts.joiningAcknowledged ?? [], view: view(seat.site) }),
    })),
    ...(facts.pausedUntilMs === undefined
      ? {}
      : { automaticFailoverPausedUntilMs: BigInt(Math.round(toWallMs(facts.pausedUntilMs))) }),
    ...(known.length === 0 || known.length < standbys.length
      ? {}
      : { recoveryPointAgeMs: BigInt(Math.round(Math.max(...known))) }),
    ...(lastPassedMs === undefined ? {} : { lastProvenMs: BigInt(toWallMs(lastPassedMs)) }),
    ...(group.recoveryTimeMs === undefined ? {} : { lastRecoveryTimeMs: BigInt(group.recoveryTimeMs) }),
  };
}

/** The growing pause between automatic failovers that cannot end (planner.ts). */
function failoverRetry({ group, failedMove, timings, nowMs }: GroupFacts): {
  failoverRetry?: { inMs: bigint; unservedEpochs: bigint };
} {
  if (failedMove === undefined || timings === undefined || isSettled(group) || group.pause !== undefined) return {};
  if (group.spec.failoverPolicy !== 'automatic') return {};
  const waitMs = failoverWaitMs(group, failedMove, timings);
  const inMs = BigInt(Math.max(0, Math.round(failedMove.updatedMs + waitMs - nowMs)));
  return { failoverRetry: { inMs, unservedEpochs: group.highestEpoch - group.epoch } };
}

/** How old the last word of a site is; nothing for a site that was not heard. */
function reportAge({ view, nowMs }: Pick<GroupFacts, 'view' | 'nowMs'>, site: string): { reportAgeMs?: bigint } {
  const atMs = view(site)?.lastWallMs;
  return atMs === undefined ? {} : { reportAgeMs: BigInt(Math.max(0, Math.round(nowMs - atMs))) };
}

const concernMessage = ({ ageMs, hint, ...concern }: Concern) => ({
  ...concern,
  ageMs: BigInt(Math.round(ageMs)),
  hint: hint ?? catalogueHint(concern.errorCode),
});

function waitMessage({ waiting, ageMs }: NonNullable<GroupFacts['wait']>) {
  const refs = (all: readonly Held[]) => all.map(nameRef);
  return {
    toSite: waiting.to,
    generations: refs(waiting.generations),
    losses: refs(waiting.losses),
    holders: waiting.holders.map((holder) => ({ ...holder })),
    ageMs: BigInt(Math.round(ageMs)),
  };
}

/** Every version that a partition of the group holds, by its site's last account, however long ago that was. */
function domainKeysOf({ group, view, nowMs }: Pick<GroupFacts, 'group' | 'view' | 'nowMs'>) {
  return [...group.members, ...group.joining, ...group.spec.scratch].flatMap(({ site, serial }) => {
    const agent = view(site);
    const partition = partitionIn(agent?.state, serial);
    const ageMs = BigInt(Math.max(0, Math.round(nowMs - (agent?.lastWallMs ?? nowMs))));
    return (partition?.domainKeys ?? [])
      .filter((key) => key.group === group.spec.name)
      .map(({ version, neededFor }) => ({ site, serial, version, neededFor, ageMs }));
  });
}

/** Only new domain keys wait for a distributor. Operators see its trouble; it does not lower the group's protection. */
function distributorTrouble({ spec: { distributor } }: Group, view: GroupFacts['view']): string {
  if (distributor === undefined) return '';
  const seen = view(distributor.site);
  return seen?.status === 'up' ? troubleOf(seen, distributor) : 'SITE_UNREACHABLE';
}

/** For a group whose records cannot be read: nothing is known of it, and it counts as not protected. */
export function unreadableGroup(name: string): MessageInitShape<typeof GroupStateSchema> {
  return { spec: { name }, protection: 'unreadable' };
}

/**
 * The objects that a member reports it could not restore. They are exceptions to what it has acknowledged. For a site
 * that is down, or was not heard since this coordinator started, this is its last report.
 */
function refusedBy(
  { group, view, refused, nowMs }: Pick<GroupFacts, 'group' | 'view' | 'refused' | 'nowMs'>,
  site: string,
): { refused: RefusedThere[]; refusedObjects: number; refusedAgeMs?: bigint } {
  const agent = view(site);
  const member = seatIn(agent?.state, group.spec.name);
  const ageMs = (atMs: number): bigint => BigInt(Math.max(0, Math.round(nowMs - atMs)));
  if (member !== undefined)
    return {
      refused: member.refused ?? [],
      refusedObjects: member.refusedObjects ?? 0,
      ...(agent?.lastWallMs === undefined ? {} : { refusedAgeMs: ageMs(agent.lastWallMs) }),
    };
  const last = refused.find((one) => one.site === site);
  return last === undefined
    ? { refused: [], refusedObjects: 0 }
    : { refused: [...last.refused], refusedObjects: last.objects, refusedAgeMs: ageMs(last.atMs) };
}

/** Private and secret keys; certificates, public keys and data can be had again. */
const keysNotCaptured = ({ uncaptured }: Generation): Generation['uncaptured'] =>
  uncaptured.filter(({ kind }) => /^(private|secret)-key\b/.test(kind));

/** Without those that are kept and reported all the same: a key counts once. */
const keysCaptured = (newest: Generation, keyCount: number): number =>
  Math.max(0, keyCount - keysNotCaptured(newest).filter(({ isKept }) => isKept === true).length);

type Seen = Pick<GroupFacts, 'group' | 'view'>;

const memberAt = ({ group, view }: Seen, site: string) => seatIn(view(site)?.state, group.spec.name);

/** Attributes of its objects that no replica gets, by its own report. */
function notCarriedAt(seen: Seen, site: string) {
  const { notCarried = [], notCarriedObjects = 0, notCarriedWeighty = 0 } = memberAt(seen, site) ?? {};
  return { notCarried, notCarriedObjects, notCarriedWeighty };
}

/** The number of objects that the last capture of this member would have removed. */
const heldAt = (seen: Seen, site: string): number => memberAt(seen, site)?.heldObjects ?? 0;

/** Objects beside the line that an operator keeps there, and those that are sealed at that site only. */
function sealedThereOnly(seen: Seen, site: string) {
  const { keptObjects = 0, setAsideObjects = 0, keptAsideObjects = 0 } = memberAt(seen, site) ?? {};
  return { keptObjects, setAsideObjects, keptAsideObjects };
}

/** Under names of the group, and none of its objects: what a program would find at this member. */
export const namesakesAt = (seen: Seen, site: string): number => memberAt(seen, site)?.namesakeObjects ?? 0;

/** Objects of its newest generation that their names do not tell apart. */
function sharedNamesAt(seen: Seen, site: string) {
  const { sharedIdObjects = 0, sharedLabelObjects = 0, strayHalfObjects = 0 } = memberAt(seen, site) ?? {};
  return { sharedIdObjects, sharedLabelObjects, strayHalfObjects };
}

/** One word for the whole group, the worst that is true of it. */
function protectionOf(
  { group, newest, acknowledged, scrubs, contradiction, concerns = [], view, refused, nowMs }: GroupFacts,
  ages: readonly (number | undefined)[],
): string {
  if (contradiction !== undefined) return 'contradicted';
  const active = activeOf(group);
  const agent = view(active?.site ?? '');
  // Nobody serves, or nothing new can be captured: whatever was acknowledged, it gets older from here on.
  const isServed =
    isSettled(group) && active !== undefined && agent?.status === 'up' && troubleOf(agent, active) === '';
  if (group.domainKeyVersion > 0 && !isServed) return 'unserved';
  if (newest === undefined || acknowledged.length === 0 || ages.every((age) => age === undefined)) return 'unprotected';
  // Acknowledged, and not one key of those that are there.
  if (newest.keyCount === 0 && keysNotCaptured(newest).length > 0) return 'unprotected';
  // The token was emptied, or something like it: what the standbys have is all there is, and it gets older.
  if (active !== undefined && heldAt({ group, view }, active.site) > 0) return 'held';
  // A replica that is damaged is lagging until it is mended; nobody mends the original by himself.
  if (DAMAGE_CODES.has(scrubs.find(({ site }) => site === active?.site)?.errorCode ?? '')) return 'damaged';
  if (ages.some((age) => age === undefined || age > group.spec.rpoMs)) return 'lagging';
  // All of that is true now, but need not be true of the next key.
  if (concerns.some(({ kind }) => kind !== 'names')) return 'failing';
  // By a name that another object bears too, a program would find that one now and then.
  const hasNamesakes = group.members.some(({ site }) => {
    const { sharedIdObjects, sharedLabelObjects } = sharedNamesAt({ group, view }, site);
    return namesakesAt({ group, view }, site) + sharedIdObjects + sharedLabelObjects > 0;
  });
  const isWithout = group.members.some(
    ({ site }) => refusedBy({ group, view, refused, nowMs }, site).refusedObjects > 0,
  );
  return newest.uncaptured.length > 0 || hasNamesakes || isWithout ? 'partially-protected' : 'protected';
}

/** Until when no automatic failover follows the last one; undefined where one may begin now. */
export function pausedUntilMs(
  moves: readonly Pick<Intent, 'state' | 'createdMs'>[],
  { automaticFailoverGapMs }: Pick<Timings, 'automaticFailoverGapMs'>,
  { resumedMs = Number.NEGATIVE_INFINITY }: Pick<Group, 'resumedMs'> = {},
): number | undefined {
  const automatic = moves.filter(
    ({ state, createdMs }) => (state as { reason?: string }).reason === 'automatic' && createdMs > resumedMs,
  );
  return automatic.length === 0
    ? undefined
    : Math.max(...automatic.map(({ createdMs }) => createdMs)) + automaticFailoverGapMs;
}
