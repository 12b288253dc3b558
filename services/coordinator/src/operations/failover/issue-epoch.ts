/**
 * Issues the epoch of a failover. First it records the epoch, in a transaction that reads again what the target would
 * lose. Then the members persist it. From then on no order of an earlier tenure can change what a member holds, so each
 * answer says what that member finally has.
 */
import { generationName, isNewer, MemberRole, type MemberState, newestOf } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { quarantineOf } from '../../groups/contradiction.ts';
import {
  activeOf,
  type Group,
  haveSameVoters,
  otherVoters,
  VOUCHERS_MIN,
  votersOf,
  vouchersOf,
  witnessesOf,
} from '../../model.ts';
import { isSilent } from '../../sites/expected.ts';
import {
  type Known,
  readAhead,
  readGeneration,
  readKnown,
  readNewest,
  recordCapture,
} from '../../store/tables/generations.ts';
import { insertEpoch, lockGroup, readLastIssue } from '../../store/tables/groups.ts';
import { type Intent, requireOpen } from '../../store/tables/intents.ts';
import { type EffectContext, generationFrom, NUMBER_SEEN_MAX, ORDER_TIMEOUT_MS } from '../context.ts';
import { requireAutomation } from './automation.ts';
import { requireInTime } from './deadline.ts';
import type { FailoverEffect, FailoverEvent } from './machine.ts';
import { type Held, isSame, mayLose, named, withoutVote } from './plan.ts';

type Effect = Extract<FailoverEffect, { type: 'issue-epoch' }>;

export async function issueEpoch(
  context: EffectContext,
  intent: Intent,
  group: Group,
  effect: Effect,
): Promise<FailoverEvent> {
  const { leases, cache, store, clock, detector } = context.ports;
  const name = group.spec.name;
  const { epoch, from, to } = effect;
  await askFirst(context, group, effect);
  const overtaking = await writeDown(context, intent, group, effect);
  if (overtaking !== undefined) return { type: 'overtaken', generations: overtaking };
  // From here on no heartbeat renews the old lease.
  await cache.refresh();
  const fence = { group: name, epoch, owner: to, requestId: intent.requestId };
  const [{ answers, failures, persisted, isOldActiveFenced }, witnesses] = await Promise.all([
    fenceMembers(context, intent, group, effect),
    persistedByWitnesses(context, group, fence),
  ]);
  if (!answers.has(to)) {
    const error = failures.get(to);
    // Its disk, or what else does not heal by itself.
    if (error !== undefined && error.disposition !== 'retry') return { type: 'target-lost', code: error.code };
    return targetLost(context, intent, {
      to,
      code: error?.code ?? 'SITE_UNREACHABLE',
      ...(error === undefined ? {} : { error }),
    });
  }
  // They have persisted the epoch, so nothing of an earlier tenure changes them. But what they voted for before may be
  // forgotten, by them and by a database that was put back. Their vote could give one epoch to two owners (I1).
  const quarantined = [...answers.keys()].filter((site) => quarantineOf(group, detector.view(site)) !== undefined);
  const votes = answers.size - quarantined.length + witnesses.length;
  if (votes < effect.quorum) {
    const persistedBy = `${votes} of ${votersOf(group)} voting sites have persisted epoch ${epoch}`;
    const why = quarantined.length === 0 ? '' : `; ${withoutVote(quarantined)}`;
    throw new AntipodeError('SITE_UNREACHABLE', `${persistedBy}, expected at least ${effect.quorum}${why}`, {
      details: { group: name, epoch },
    });
  }
  if (isOldActiveFenced) leases.ended(name);
  else endVouching(context, group, effect, [...persisted, ...witnesses]);
  if (from === group.owner) await recordLast(context, group, answers.get(from));
  const [known, last] = await store.query(async (db) => [await readKnown(db, name), await readLastIssue(db, name)]);
  const held = new Map<string, Held | undefined>();
  for (const [site, seat] of answers)
    held.set(site, await heldBy(seat, known, (one) => store.query((db) => readGeneration(db, name, one))));
  const generation = answers.get(to) === undefined ? effect.generation : held.get(to);
  // It had more when it was chosen: a journal that was rolled back, or another one.
  if (isNewer(effect.generation, generation)) return { type: 'target-lost', code: 'GENERATION_UNKNOWN' };
  return {
    type: 'issued',
    isOldActiveFenced,
    issuedMs: last?.issuedMs ?? clock.wallMs(),
    generation: generation && named(generation),
    lost: known.filter((one) => isNewer(one, generation)).map(named),
    handover: handoverOf(effect, generation, held),
  };
}

/**
 * The old active member may go on without coordinators, as long as all other voters of its tenure vouch for it. Those that
 * have persisted the new epoch do so no longer, and the wait for their last word begins now. One of them must be honest,
 * so it takes two, or the only one that still votes. A person who has removed all of them and accepts the loss answers
 * for them.
 * @throws SITE_UNREACHABLE
 */
function endVouching(
  { ports }: EffectContext,
  group: Group,
  { from, epoch, reason, acceptLoss }: Effect,
  persisted: readonly Persisted[],
): void {
  const { name } = group.spec;
  const vouchers = group.owner === from ? vouchersOf(group) : [];
  if (vouchers.length === 0) return;
  const voting = otherVoters(group).filter((site) => vouchers.includes(site)).length;
  const ended = persisted.filter(({ site }) => vouchers.includes(site));
  const isAnsweredFor = voting === 0 && reason === 'operator' && acceptLoss;
  const needed = votersOf(group) === 2 ? 1 : Math.max(1, Math.min(VOUCHERS_MIN, voting));
  if (ended.length < needed && !isAnsweredFor)
    throw new AntipodeError(
      'SITE_UNREACHABLE',
      `${ended.length} of the sites that may vouch for site ${from} (${vouchers.join(', ')}) have persisted epoch ${epoch}, expected at least ${needed}`,
      { details: { group: name, epoch } },
    );
  ports.leases.vouchingEnded(
    name,
    Math.min(...(ended.length === 0 ? [0] : ended.map(({ vouchSilentMs }) => vouchSilentMs))),
  );
}

/** Once the epoch is on record, the move must be carried to its end. @throws FAILOVER_VETOED */
async function askFirst({ ports }: EffectContext, group: Group, effect: Effect): Promise<void> {
  const { from, to, reason, lost, ignoreVetoes } = effect;
  if (group.highestEpoch !== group.epoch || ignoreVetoes === true) return;
  const { name } = group.spec;
  await ports.mayMove({
    type: 'may-move',
    group: name,
    epoch: group.epoch,
    fromSite: from,
    toSite: to,
    cause: reason,
    lostGenerations: lost.length,
  });
}

/**
 * Records the epoch, unless a generation that must not be lost is ahead of the target at this moment, or others vote in
 * the group. Then it writes nothing, and returns those generations for the next survey.
 */
async function writeDown(
  context: EffectContext,
  intent: Intent,
  group: Group,
  effect: Effect,
): Promise<readonly Held[] | undefined> {
  const name = group.spec.name;
  const { epoch, from, to, reason } = effect;
  if (group.highestEpoch === epoch && group.highestOwner === to) return undefined;
  return context.write(async (trx, record) => {
    const now = await lockGroup(trx, name);
    await requireOpen(trx, intent);
    requireInTime(context, intent, effect.deadlineMs);
    if (now.highestEpoch >= epoch || (activeOf(now)?.site ?? '') !== from)
      throw new AntipodeError('EPOCH_STALE', `group ${name} is now in epoch ${now.highestEpoch}`, {
        details: { group: name, epoch, highest: now.highestEpoch },
      });
    requireAutomation(now, reason);
    // The target was chosen among other members, and so was the majority.
    if (!haveSameVoters(now, group)) return [];
    const ahead = await readAhead(trx, name, effect.generation);
    const forbidden = ahead.filter((one) => !mayLose(effect, one));
    if (forbidden.length > 0) return forbidden.map(named);
    const nowMs = context.ports.clock.wallMs();
    await insertEpoch(trx, name, { epoch, owner: to, reason, isActive: false, nowMs });
    const { chosenFor = '' } = effect;
    record({ kind: 'epoch-issued', group: name, site: to, details: { epoch, from, lost: ahead.length, chosenFor } });
    return undefined;
  });
}

/**
 * The members that have persisted the epoch, each with what it says of itself from then on; and why others have not.
 * `isOldActiveFenced`: the process that may hold the lease has answered. Another one of the same site, on a copy of its
 * folder, can answer at its address while it stands still, and says nothing of its lease.
 */
async function fenceMembers(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { epoch, from, to }: Effect,
): Promise<{
  answers: Map<string, MemberState | undefined>;
  failures: Map<string, AntipodeError>;
  persisted: Persisted[];
  isOldActiveFenced: boolean;
}> {
  const { timings, detector } = context.ports;
  const failures = new Map<string, AntipodeError>();
  const fence = { group: group.spec.name, epoch, owner: to, requestId: intent.requestId };
  const answers = new Map<string, MemberState | undefined>();
  const persisted: Persisted[] = [];
  let isOldActiveFenced = false;
  await Promise.all(
    group.members.map(async ({ site, serial }) => {
      const role = site === from && site !== to ? MemberRole.FENCED : MemberRole.STANDBY;
      const timeoutMs = site === from ? timings.probeTimeoutMs : ORDER_TIMEOUT_MS;
      try {
        const answer = await context.agent(site).setRole({ fence, serial, role }, { timeoutMs });
        const { member, vouchSilentMs, instance } = answer;
        answers.set(site, member);
        if (site === from) isOldActiveFenced = instance !== '' && instance === detector.view(from)?.instance;
        persisted.push({ site, vouchSilentMs: Number(vouchSilentMs) });
      } catch (thrown) {
        // A member that cannot be reached has not persisted the epoch. A member that knows a newer epoch ends the
        // attempt.
        const error = AntipodeError.from(thrown);
        if (endsTheAttempt(error)) throw error;
        failures.set(site, error);
      }
    }),
  );
  return { answers, failures, persisted, isOldActiveFenced };
}

/** A site that has persisted the epoch, and how long ago it last vouched for an active member, or may have. */
export interface Persisted {
  readonly site: string;
  readonly vouchSilentMs: number;
}

/**
 * The witnesses that have persisted an epoch. One whose journal may be an older copy is asked, and not counted.
 * @throws EPOCH_STALE, EPOCH_CONFLICT where a witness knows better
 */
export async function persistedByWitnesses(
  { ports: { agents, detector } }: EffectContext,
  group: Group,
  fence: { group: string; epoch: bigint; owner: string; requestId: string },
  { endsQuarantine = false }: { endsQuarantine?: boolean } = {},
): Promise<Persisted[]> {
  const votes = await Promise.all(
    witnessesOf(group).map(async (site): Promise<Persisted | undefined> => {
      try {
        const order = { fence, endsQuarantine };
        const { vouchSilentMs } = await agents.client(site).persistEpoch(order, { timeoutMs: ORDER_TIMEOUT_MS });
        const mayVote = endsQuarantine || quarantineOf(group, detector.view(site)) === undefined;
        return mayVote ? { site, vouchSilentMs: Number(vouchSilentMs) } : undefined;
      } catch (thrown) {
        const error = AntipodeError.from(thrown);
        if (endsTheAttempt(error)) throw error;
        return undefined;
      }
    }),
  );
  return votes.filter((vote) => vote !== undefined);
}

/**
 * Records the last capture that the old active member made under its own tenure. The answer to that order may be lost
 * or still on its way. The age of the capture is unknown here, so it counts as old as the generation before it.
 */
async function recordLast(context: EffectContext, group: Group, seat: MemberState | undefined): Promise<void> {
  const captured = seat?.captured;
  if (captured === undefined || captured.epoch !== group.epoch || captured.generation > NUMBER_SEEN_MAX) return;
  const name = group.spec.name;
  await context.write(async (trx) => {
    await lockGroup(trx, name);
    const isKnown = await readGeneration(trx, name, { epoch: captured.epoch, number: captured.generation });
    if (isKnown !== undefined) return;
    const before = await readNewest(trx, name);
    const generation = generationFrom(captured, before?.recoveryPointMs ?? 0);
    await recordCapture(trx, name, { ...generation, uncaptured: before?.uncaptured ?? [] });
  });
}

/** The newest generation that a member holds and the target lacks. */
function handoverOf(
  { to, unreachable = [] }: Effect,
  generation: Held | undefined,
  held: ReadonlyMap<string, Held | undefined>,
): { newest: Held; holders: string[] } | undefined {
  const ahead = [...held].flatMap(([site, one]) =>
    site !== to && one !== undefined && isNewer(one, generation) && !unreachable.some((lost) => isSame(lost, one))
      ? [{ site, one }]
      : [],
  );
  const newest = newestOf(ahead.map(({ one }) => one));
  if (newest === undefined) return undefined;
  return { newest: named(newest), holders: ahead.filter(({ one }) => isSame(one, newest)).map(({ site }) => site) };
}

/**
 * The newest generation that a member has applied or captured. A generation that the database does not know is ignored.
 */
export async function heldBy(
  seat: MemberState | undefined,
  known: readonly Known[],
  readOlder: (one: { epoch: bigint; number: bigint }) => Promise<Held | undefined>,
): Promise<Held | undefined> {
  let best: Held | undefined;
  for (const ref of [seat?.applied, seat?.captured]) {
    if (ref === undefined) continue;
    const one = generationName(ref);
    const onRecord = known.find(({ epoch, number }) => epoch === one.epoch && number === one.number);
    const { manifestDigest } = onRecord ?? (await readOlder(one)) ?? {};
    if (manifestDigest === one.manifestDigest && isNewer(one, best)) best = one;
  }
  return best;
}

/** An agent that knows better: the epoch is not ours to issue. */
export function endsTheAttempt({ code, disposition }: AntipodeError): boolean {
  return disposition === 'defect' || code === 'EPOCH_STALE' || code === 'EPOCH_CONFLICT';
}

/** Some ten seconds of trying, with the pauses in between: the next best serves sooner than this one recovers. */
const TARGET_ATTEMPTS_MAX = 5;

/**
 * A target that is merely slow is tried again, a few times. One that does not call either is given up, and so is one whose
 * agent has met a defect of its own: it would meet it again.
 */
export function targetLost(
  { ports }: EffectContext,
  { attempts }: Pick<Intent, 'attempts'>,
  { to, code, error }: { to: string; code: string; error?: AntipodeError },
): FailoverEvent {
  const isOver = attempts + 1 >= TARGET_ATTEMPTS_MAX || error?.details['peerDefect'] === true;
  if (isOver || isSilent(ports.detector, to)) return { type: 'target-lost', code };
  throw (
    error ??
    new AntipodeError('SITE_UNREACHABLE', `site ${to} does not take the order to become active`, {
      details: { site: to },
    })
  );
}
