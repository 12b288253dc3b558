/**
 * Asks every member what its journal says, and reseats the group from the answers. The new epoch is above every epoch
 * that was ever heard of.
 */

import {
  type DescribeResponse,
  type GenerationRef,
  generationFacts,
  generationName,
  MemberRole,
  nameRef,
  newestOf,
  roleOf,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { approvalMissing, isCovered, readUsable, requestsFor, ruleAt } from '../../groups/approvals.ts';
import { contradictionOf, witnessedBy } from '../../groups/contradiction.ts';
import {
  type Generation,
  type Group,
  haveSameVoters,
  isSettled,
  majorityOf,
  type Uncaptured,
  votersOf,
  votingSites,
  vouchersOf,
  witnessesOf,
} from '../../model.ts';
import { seatIn } from '../../sites/accounts.ts';
import { readAcknowledged, readGeneration, readNewest, recordCapture } from '../../store/tables/generations.ts';
import {
  activateEpoch,
  insertEpoch,
  lockGroup,
  orderVersion,
  readEpochOwners,
  readGroup,
  readLastIssue,
  readReseated,
  setRole,
} from '../../store/tables/groups.ts';
import type { Intent } from '../../store/tables/intents.ts';
import { requireLaterVersion } from '../../store/tables/membership.ts';
import { type EffectContext, HEARTBEATS_WAITED, WORK_TIMEOUT_MS } from '../context.ts';
import { persistedByWitnesses } from '../failover/issue-epoch.ts';
import type { ReseatEffect, ReseatEvent, ReseatOutcome } from './machine.ts';
import { type Account, type Held, missedBy, planReseat, type ReseatPlan, type WitnessAccount } from './plan.ts';

/** A member that answers, with references to generations that the database might not know. */
interface Answered extends Account {
  readonly refs: readonly GenerationRef[];
  /**
   * True if the agent itself reports the quarantine. One that only the coordinator knows could start after the order
   * that should end it.
   */
  readonly isQuarantinePersisted: boolean;
  /** The process that answers is the one that is heard, so no other one of its site may hold a lease. */
  readonly isHeard: boolean;
}

interface AnsweredWitness extends WitnessAccount {
  readonly isQuarantinePersisted: boolean;
}

export interface ReseatSurvey {
  readonly group: Group;
  readonly accounts: readonly Answered[];
  readonly witnesses: readonly AnsweredWitness[];
  readonly contradiction: string;
  /** Why this reseat has issued the highest epoch, where nothing contradicts that; empty if it has not. */
  readonly issued: string;
  readonly plan: ReseatPlan;
}

/** Why an epoch was issued: for the site that the reseat makes active, or so that a failover chooses one. */
const REASON = { tenure: 'reseat', failover: 'reseat-failover' } as const;

/** Recorded with a generation that only agents know, until a capture says which objects it does not protect. */
export const NOT_KNOWN_YET: readonly Uncaptured[] = [
  { objectId: '', kind: '', reason: 'not-known-until-the-next-capture' },
];

/**
 * @param options.sinceMs when the reseat that is carried out was ordered
 * @throws NOT_FOUND
 */
export async function surveyForReseat(
  context: EffectContext,
  name: string,
  { wanted, sinceMs = Number.POSITIVE_INFINITY }: { wanted: string; sinceMs?: number },
): Promise<ReseatSurvey> {
  const { agents, detector, store, timings } = context.ports;
  // The views come before the group: agents learn an epoch only after the database has it.
  const view = detector.snapshot();
  const group = await store.snapshot((db) => readGroup(db, name));
  const newest = await store.query((db) => readNewest(db, name));
  const answers = await Promise.all(
    group.members.map(async ({ site, serial }): Promise<Answered | undefined> => {
      try {
        const state = await agents.client(site).describe({}, { timeoutMs: timings.probeTimeoutMs * 2 });
        return accountOf(group, { site, serial }, state, view(site)?.state);
      } catch (thrown) {
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
        return undefined;
      }
    }),
  );
  const answeredWitnesses = await Promise.all(
    witnessesOf(group).map(async (site): Promise<AnsweredWitness | undefined> => {
      try {
        const state = await agents.client(site).describe({}, { timeoutMs: timings.probeTimeoutMs * 2 });
        const { epoch = 0n, owner = '' } = witnessedBy(state, name) ?? {};
        return { site, epoch, epochOwner: owner, ...quarantineIn(group, state, view(site)?.state) };
      } catch (thrown) {
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
        return undefined;
      }
    }),
  );
  const accounts = answers.filter((one) => one !== undefined);
  const witnesses = answeredWitnesses.filter((one) => one !== undefined);
  const contradiction = contradictionOf({ group, newest, view });
  const isContradicted = contradiction !== undefined;
  const last = await store.query((db) => readLastIssue(db, name));
  const issued = !isContradicted && last !== undefined && last.issuedMs >= sinceMs ? last.reason : '';
  const isIssued = issued === REASON.tenure && !isSettled(group);
  const plan = planReseat(group, accounts, { wanted, isContradicted, isIssued, witnesses });
  return { group, accounts, witnesses, contradiction: contradiction?.message ?? '', issued, plan };
}

function accountOf(
  group: Group,
  seatHere: { site: string; serial: string },
  state: DescribeResponse,
  heard: DescribeResponse | undefined,
): Answered {
  const { name } = group.spec;
  const seat = seatIn(state, name);
  const refs = [seat?.captured, seat?.applied].filter((ref) => ref !== undefined);
  const held = refs.map(generationName);
  return {
    ...seatHere,
    role: seat === undefined ? 'none' : roleOf(seat.role),
    epoch: seat?.epoch ?? 0n,
    epochOwner: seat?.epochOwner ?? '',
    newest: newestOf(held),
    domainKeyVersion: seat?.domainKeyVersion ?? 0,
    hasPartition: state.partitions.some(({ serial }) => serial === seatHere.serial),
    refs,
    isHeard: state.instance !== '' && state.instance === heard?.instance,
    ...quarantineIn(group, state, heard),
  };
}

/** By the agent's own word, or by what its last heartbeat gave away. */
function quarantineIn(
  { spec: { name } }: Group,
  state: DescribeResponse,
  heard: DescribeResponse | undefined,
): { quarantine: string | undefined; isQuarantinePersisted: boolean } {
  const [quarantine] = [state, heard].flatMap(
    (account) => account?.journal?.quarantined.filter((one) => one.group === name) ?? [],
  );
  return {
    quarantine: quarantine?.reason,
    isQuarantinePersisted: (state.journal?.quarantined ?? []).some((one) => one.group === name),
  };
}

export async function reseat(
  context: EffectContext,
  intent: Intent,
  { active: wanted }: ReseatEffect,
): Promise<ReseatEvent> {
  // A site that has not reported yet may contradict the database, or have an older copy of its journal.
  await context.untilHeard(votingSites(await context.group(intent)));
  const { group, accounts, witnesses, contradiction, issued, plan } = await surveyForReseat(context, intent.group, {
    wanted,
    sinceMs: intent.createdMs,
  });
  const done = issued === '' ? undefined : outcomeOf(group, issued);
  if (done !== undefined) return { type: 'reseated', ...done };
  if (plan.obstacle !== undefined && contradiction === '') {
    // Members in quarantine are seated without an epoch. Nothing is in quarantine any more, and it may be by this reseat.
    const before = await context.ports.store.query((db) => readReseated(db, intent.group, intent.id));
    if (before !== undefined)
      return { type: 'reseated', epoch: before.epoch, activeSite: before.site, seated: before.seated, leftAside: [] };
  }
  if (plan.obstacle !== undefined)
    throw new AntipodeError('RESEAT_REFUSED', `group ${group.spec.name}: ${plan.obstacle}`, {
      details: { group: group.spec.name },
    });
  const all = [...accounts, ...witnesses];
  const untold = all.find((one) => one.quarantine !== undefined && !one.isQuarantinePersisted);
  if (untold !== undefined)
    throw new AntipodeError('GROUP_BUSY', `site ${untold.site} does not know of its quarantine yet`, {
      details: { group: group.spec.name, site: untold.site },
    });
  for (const { site, quarantine } of all) if (quarantine !== undefined) context.ports.journals.accept(site);
  const outcome =
    plan.kind === 'members'
      ? await seatMembers(context, intent, group, { plan, accounts, witnesses })
      : await newTenure(context, intent, group, { plan, accounts });
  await context.ports.cache.refresh();
  await untilAgreed(context, group.spec.name);
  return { type: 'reseated', ...outcome };
}

/** The outcome that this reseat has recorded already, although not its end. Undefined if it is not done. */
function outcomeOf(group: Group, issued: string): ReseatOutcome | undefined {
  const { highestEpoch: epoch, owner, members } = group;
  if (issued === REASON.failover) return { epoch, activeSite: '', seated: [], leftAside: [] };
  if (issued !== REASON.tenure || !isSettled(group)) return undefined;
  const standbys = members.flatMap(({ site, role }) => (role === 'standby' ? [site] : []));
  return { epoch, activeSite: owner, seated: [owner, ...standbys], leftAside: [] };
}

/** Until the heartbeats say so too: whoever asks right after this should not meet what is over. Not for longer. */
async function untilAgreed({ ports }: EffectContext, name: string): Promise<void> {
  const { clock, detector, store, timings } = ports;
  const endMs = clock.monotonicMs() + timings.heartbeatMs * HEARTBEATS_WAITED;
  for (;;) {
    const view = detector.snapshot();
    const [group, newest] = await store.query((db) => Promise.all([readGroup(db, name), readNewest(db, name)]));
    if (contradictionOf({ group, newest, view }) === undefined || clock.monotonicMs() >= endMs) return;
    await clock.sleep(timings.heartbeatMs / 2);
  }
}

interface Planned {
  readonly plan: Extract<ReseatPlan, { obstacle?: undefined }>;
  readonly accounts: readonly Answered[];
  readonly witnesses: readonly AnsweredWitness[];
}

/** Members that were in quarantine, in the tenure that is in force: as standbys, which catch up by replication. */
async function seatMembers(
  context: EffectContext,
  intent: Intent,
  group: Group,
  planned: Planned,
): Promise<ReseatOutcome> {
  const { epoch, active, seats } = planned.plan;
  const others = seats.filter(({ site }) => site !== active);
  const ordered = await order(context, intent, group, planned, others);
  const { leftAside } = ordered;
  const seated = ordered.seated.map(({ site }) => site);
  const quarantined = planned.witnesses.filter(({ quarantine }) => quarantine !== undefined);
  const votes = quarantined.length === 0 ? 0 : await votesOfWitnesses(context, intent, group, planned.plan);
  // Bringing generations takes minutes. A failover may have made one of these members the active one since.
  await context.writeUnder({ group: group.spec.name, epoch }, async (trx, record) => {
    for (const site of seated) await setRole(trx, group.spec.name, site, 'standby');
    record({
      kind: 'group-reseated',
      group: group.spec.name,
      site: active,
      details: { operation: intent.id, epoch, seated: seated.join(','), witnesses: votes },
    });
  });
  if (seated.length === 0 && votes === 0) throw leftAside[0]?.error ?? refused(group, 'no member could be seated');
  return {
    epoch,
    activeSite: active,
    seated,
    leftAside: leftAside.map(({ site, error }) => ({ site, code: error.code })),
  };
}

/** Witnesses persist the epoch, and end their quarantine, since an operator has looked. Returns how many have. */
async function votesOfWitnesses(
  context: EffectContext,
  { requestId }: Intent,
  group: Group,
  { epoch, owner }: { readonly epoch: bigint; readonly owner: string },
): Promise<number> {
  const fence = { group: group.spec.name, epoch, owner, requestId };
  return (await persistedByWitnesses(context, group, fence, { endsQuarantine: true })).length;
}

async function newTenure(
  context: EffectContext,
  intent: Intent,
  group: Group,
  planned: Omit<Planned, 'witnesses'>,
): Promise<ReseatOutcome> {
  const { clock, leases, cache } = context.ports;
  const { plan, accounts } = planned;
  const name = group.spec.name;
  const epoch = plan.kind === 'failover' ? plan.epoch + 1n : plan.epoch;
  if (plan.kind === 'tenure' && epoch > group.highestEpoch) await requireApproved(context, group, { plan, epoch });
  const heldVersion = Math.max(0, ...accounts.map(({ domainKeyVersion }) => domainKeyVersion));
  await context.write(async (trx, record) => {
    const now = await lockGroup(trx, name);
    // The runner surveys them again.
    if (!haveSameVoters(now, group))
      throw new AntipodeError('GROUP_BUSY', `the members of group ${name} have just been changed`, {
        details: { group: name },
      });
    // This reseat has issued it already. The last write looks whether another one has followed.
    if (epoch === group.highestEpoch) return;
    // The database forgot who was there when these versions were made. No number is ordered twice, and the next version
    // goes to those who are there now.
    if (heldVersion > now.highestVersion) {
      await orderVersion(trx, name, heldVersion);
      await requireLaterVersion(trx, { ...now, highestVersion: heldVersion });
    }
    await insertEpoch(trx, name, {
      epoch,
      owner: plan.owner,
      reason: REASON[plan.kind === 'failover' ? 'failover' : 'tenure'],
      isActive: false,
      nowMs: clock.wallMs(),
    });
    await importGenerations(trx, name, accounts);
    record({ kind: 'epoch-issued', group: name, site: plan.owner, details: { epoch, reason: 'reseat' } });
  });
  // From here on no heartbeat renews a lease of an older tenure.
  await cache.refresh();
  if (plan.kind === 'failover') return { epoch, activeSite: '', seated: [], leftAside: [] };
  const at = { ...planned, plan: { ...plan, epoch } };
  const [owner] = plan.seats.filter(({ site }) => site === plan.active);
  const others = await order(
    context,
    intent,
    group,
    at,
    plan.seats.filter(({ site }) => site !== plan.active),
  );
  const votes = others.seated.length + 1 + (await votesOfWitnesses(context, intent, group, at.plan));
  const unapproved = others.leftAside.find(({ error }) => error.code.startsWith('APPROVAL_'));
  if (votes < majorityOf(votersOf(group)) && unapproved !== undefined) throw unapproved.error;
  if (owner === undefined || votes < majorityOf(votersOf(group)))
    throw refused(group, `epoch ${epoch} has ${votes} of ${votersOf(group)} votes; it needs a majority`);
  // A member that did not confirm may still hold the last lease, so wait until it has run out. So may a process whose copy
  // answers in its place.
  // By the word of others too, which ends with the epoch that they have persisted by now.
  if (vouchersOf(group).length > 0) leases.vouchingEnded(name, 0);
  if (others.seated.length + 1 < group.members.length || accounts.some(({ isHeard }) => !isHeard))
    for (let leftMs = leases.remainingMs(name); leftMs > 0; leftMs = leases.remainingMs(name))
      await clock.sleep(Math.ceil(leftMs));
  leases.ended(name);
  const own = await order(context, intent, group, at, [owner]);
  const [failed] = own.leftAside;
  if (failed !== undefined) throw failed.error;
  const base = own.seated[0]?.generation ?? owner.newest;
  const standbys = others.seated.map(({ site }) => site);
  await context.writeUnder({ group: name, epoch }, async (trx, record) => {
    await activateEpoch(trx, name, { epoch, owner: plan.active, base });
    for (const { site } of group.members)
      if (site !== plan.active) await setRole(trx, name, site, standbys.includes(site) ? 'standby' : 'fenced');
    record({
      kind: 'group-reseated',
      group: name,
      site: plan.active,
      details: { epoch, seated: standbys.join(',') },
    });
  });
  return {
    epoch,
    activeSite: plan.active,
    seated: [plan.active, ...standbys],
    leftAside: others.leftAside.map(({ site, error }) => ({ site, code: error.code })),
  };
}

/**
 * Asked before an epoch is issued, since that ends the tenure in force: whether the agents would seat the active member
 * and a majority.
 * @throws APPROVAL_REQUIRED
 */
async function requireApproved(
  { ports: { store, detector, calendarMs } }: EffectContext,
  group: Group,
  { plan, epoch }: { plan: Planned['plan']; epoch: bigint },
): Promise<void> {
  const { name } = group.spec;
  const records = await store.query((db) => readUsable(db, { group: name, act: 'reseat', calendarMs: calendarMs() }));
  const uncovered = plan.seats.filter((seat) => {
    const rule = ruleAt(detector.view(seat.site)?.state, name);
    return rule !== undefined && !isCovered(requestsFor(records, rule), { action: 'reseat', seat, epoch });
  });
  const missing = uncovered.find(({ site }) => site === plan.active) ?? uncovered[0];
  const votes = plan.seats.length - uncovered.length + witnessesOf(group).length;
  if (missing !== undefined && (missing.site === plan.active || votes < majorityOf(votersOf(group))))
    throw approvalMissing(name, missing, 'reseat');
}

interface Seated {
  readonly site: string;
  /** The generation that the member was brought, if its own journal does not know the newest one. */
  readonly generation: Held | undefined;
}

/** Side by side; whoever cannot take it is left aside with its error. */
async function order(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { plan, accounts }: Omit<Planned, 'witnesses'>,
  seats: readonly Account[],
): Promise<{ seated: Seated[]; leftAside: { site: string; error: AntipodeError }[] }> {
  const { captured, acknowledged } = await recordedOf(context, group, accounts);
  const kept = new Set(
    [...acknowledged, ...accounts.flatMap(({ newest }) => newest ?? [])].map(({ manifestDigest }) => manifestDigest),
  );
  const fence = await context.guarded(
    group,
    intent,
    {
      group: group.spec.name,
      epoch: plan.epoch,
      owner: plan.owner,
      requestId: intent.requestId,
    },
    'reseat',
  );
  const seated: Seated[] = [];
  const leftAside: { site: string; error: AntipodeError }[] = [];
  /**
   * Whether waiting for a generation brings nothing: the journal of the member was put back to before a capture that
   * nobody had pulled. The objects are in its token still, and the next capture takes them again. One that a member has
   * applied or acknowledged is waited for, until every member has been asked.
   */
  const isGone = ({ code }: AntipodeError, { manifestDigest }: Held, asked: number): boolean =>
    code === 'GENERATION_UNKNOWN' && (!kept.has(manifestDigest) || asked === group.members.length - 1);
  const seatMember = async (member: Account): Promise<void> => {
    const { site, serial } = member;
    const role = site === plan.active ? MemberRole.ACTIVE : MemberRole.STANDBY;
    const sources = await context.holders(group, site);
    for (const generation of [...missedBy(member, [...captured, ...acknowledged]), undefined]) {
      const named = generation === undefined ? {} : { generation: nameRef(generation) };
      try {
        await context.agent(site).reseat({ fence, serial, role, ...named, sources }, { timeoutMs: WORK_TIMEOUT_MS });
        seated.push({ site, generation });
        return;
      } catch (thrown) {
        const error = AntipodeError.from(thrown);
        if (error.disposition === 'defect') throw error;
        if (generation !== undefined && isGone(error, generation, sources.length)) continue;
        leftAside.push({ site, error });
        return;
      }
    }
  };
  await Promise.all(seats.map(seatMember));
  return { seated, leftAside };
}

/**
 * The generations that each member is known to have held. The sources are captures and acknowledgements on record, and
 * the generations that other members have from it.
 */
async function recordedOf(
  { ports }: EffectContext,
  group: Group,
  accounts: readonly Answered[],
): Promise<Record<'captured' | 'acknowledged', (Held & { site: string })[]>> {
  const name = group.spec.name;
  const [newest, acknowledged, owners] = await ports.store.query((db) =>
    Promise.all([readNewest(db, name), readAcknowledged(db, name), readEpochOwners(db, name)]),
  );
  const ownerOf = (epoch: bigint): string | undefined =>
    accounts.find((account) => account.epoch === epoch && account.epochOwner !== '')?.epochOwner ?? owners.get(epoch);
  const captured = [newest, ...accounts.map((account) => account.newest)].flatMap((held) => {
    const site = held === undefined ? undefined : ownerOf(held.epoch);
    return held === undefined || site === undefined
      ? []
      : [{ site, epoch: held.epoch, number: held.number, manifestDigest: held.manifestDigest }];
  });
  return { captured, acknowledged };
}

/** So that numbers never repeat, and a failover knows what it would lose. */
async function importGenerations(
  trx: Parameters<typeof recordCapture>[0],
  group: string,
  accounts: readonly Answered[],
): Promise<void> {
  // By whose clock they were captured is not known here, so they are taken for as old as the newest on record (I13).
  const before = await readNewest(trx, group);
  for (const ref of accounts.flatMap(({ refs }) => refs)) {
    if ((await readGeneration(trx, group, { epoch: ref.epoch, number: ref.generation })) !== undefined) continue;
    const generation: Generation = {
      ...generationFacts({ ...ref, uncaptured: [] }),
      uncaptured: NOT_KNOWN_YET,
      recoveryPointMs: before?.recoveryPointMs ?? 0,
      trace: {},
    };
    await recordCapture(trx, group, generation);
  }
}

const refused = (group: Group, why: string): AntipodeError =>
  new AntipodeError('RESEAT_REFUSED', `group ${group.spec.name}: ${why}`, { details: { group: group.spec.name } });
