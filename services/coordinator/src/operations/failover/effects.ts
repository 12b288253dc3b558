/** Looks who is there, issues an epoch, waits out the old lease, promotes, publishes. */
import { type ApprovalRule, type JournalState, nameRef, roleOf } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { readUsable, requestsFor, requiredAt, ruleAt } from '../../groups/approvals.ts';
import { quarantineOf, witnessedEpoch } from '../../groups/contradiction.ts';
import { activeOf, type Group, votersOf, witnessesOf } from '../../model.ts';
import { readGeneration, readKnown } from '../../store/tables/generations.ts';
import { activateEpoch, lockGroup, readEpochOwners, readLoads } from '../../store/tables/groups.ts';
import { type Intent, requireOpen } from '../../store/tables/intents.ts';
import { type EffectContext, WORK_TIMEOUT_MS } from '../context.ts';
import { isHung, unlessHung } from '../hung-hsm.ts';
import { withdraw } from '../replication/effects.ts';
import { bring, catchUp, fetchFirst, handOver } from './catch-up.ts';
import { endsTheAttempt, heldBy, issueEpoch, targetLost } from './issue-epoch.ts';
import type { FailoverEffect, FailoverEvent } from './machine.ts';
import { type Candidate, type Held, planFailover, type ReachableWitness, type Survey } from './plan.ts';

type Effect<Type extends FailoverEffect['type']> = Extract<FailoverEffect, { type: Type }>;

export async function failover(context: EffectContext, intent: Intent, effect: FailoverEffect): Promise<FailoverEvent> {
  const group = await context.group(intent);
  switch (effect.type) {
    case 'survey':
      return { type: 'surveyed', survey: await survey(context, group, intent) };
    case 'fetch':
      return fetchFirst(context, intent, group, effect);
    case 'catch-up':
      return catchUp(context, intent, group, effect);
    case 'hand-over':
      return handOver(context, intent, group, effect);
    case 'issue-epoch':
      return issueEpoch(context, intent, group, effect);
    case 'await-fence':
      return awaitFence(context, group);
    case 'promote':
      return promote(context, intent, group, effect);
    case 'publish':
      return publish(context, intent, group, effect);
  }
}

/**
 * Asks which members can be reached, and what each holds. A member whose answer cannot be read counts as unreachable.
 * An approval that was used counts for the failover that has used it, and for no other one.
 */
export async function survey({ ports }: EffectContext, group: Group, failover?: Pick<Intent, 'id'>): Promise<Survey> {
  const { agents, store, timings } = ports;
  const name = group.spec.name;
  const [known, loads] = await store.query(async (db) => [await readKnown(db, name), await readLoads(db, name)]);
  /** By its own word, or by what its last heartbeat gave away. */
  const isQuarantined = (site: string, journal: JournalState | undefined): boolean =>
    (journal?.quarantined ?? []).some((one) => one.group === name) ||
    quarantineOf(group, ports.detector.view(site)) !== undefined;
  const timeoutMs = timings.probeTimeoutMs * 2;
  const surveyedWitnesses = Promise.all(
    witnessesOf(group).map(async (site): Promise<ReachableWitness | undefined> => {
      try {
        const state = await agents.client(site).describe({}, { timeoutMs });
        // An older copy of its journal may have lost an epoch that it had voted for.
        return isQuarantined(site, state.journal) ? undefined : { site, epoch: witnessedEpoch(state, name) };
      } catch (thrown) {
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
        return undefined;
      }
    }),
  );
  const rules = new Map<string, ApprovalRule | undefined>();
  const surveyedMembers = Promise.all(
    group.members.map(async ({ site, serial }): Promise<Candidate | undefined> => {
      try {
        const state = await agents.client(site).describe({}, { timeoutMs });
        const { members, partitions, journal } = state;
        rules.set(site, ruleAt(state, name));
        const seat = members.find((one) => one.group === name && one.serial === serial);
        const partition = partitions.find((one) => one.serial === serial);
        return {
          site,
          serial,
          role: seat === undefined ? 'fenced' : roleOf(seat.role),
          epoch: seat?.epoch ?? 0n,
          applied: await heldBy(seat, known, (one) => store.query((db) => readGeneration(db, name, one))),
          problem:
            partition === undefined
              ? 'PARTITION_NOT_FOUND'
              : isQuarantined(site, journal)
                ? 'SITE_QUARANTINED'
                : isHung(partition, timings.hangMs)
                  ? 'HSM_WORKER_LOST'
                  : partition.errorCode,
          lacksKey: (seat?.domainKeyVersion ?? 0) < group.domainKeyVersion,
          ...(requiredAt(state, name) > 0 ? { approvalsRequired: requiredAt(state, name) } : {}),
          refused: seat?.refusedObjects ?? 0,
          ...(loads.has(site) ? { load: loads.get(site)! } : {}),
        };
      } catch (thrown) {
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
        return undefined;
      }
    }),
  );
  const [answers, witnesses] = await Promise.all([surveyedMembers, surveyedWitnesses]);
  const reachable = answers.filter((one) => one !== undefined);
  return {
    active: activeOf(group)?.site ?? '',
    ...(reachable.some(({ approvalsRequired = 0 }) => approvalsRequired > 0)
      ? await withApprovals(ports, group, { reachable, rules, operation: failover?.id })
      : { reachable }),
    witnesses: witnesses.filter((one) => one !== undefined),
    voters: votersOf(group),
    highestEpoch: group.highestEpoch,
    known,
    ...(group.spec.prefer === undefined ? {} : { prefer: group.spec.prefer }),
  };
}

/** The facts that the agents of a guarded group will look at before a promotion. */
async function withApprovals(
  { store, calendarMs }: EffectContext['ports'],
  group: Group,
  {
    reachable,
    rules,
    operation,
  }: {
    reachable: readonly Candidate[];
    rules: ReadonlyMap<string, ApprovalRule | undefined>;
    operation: string | undefined;
  },
): Promise<Pick<Survey, 'reachable' | 'members'>> {
  const { name } = group.spec;
  const [owners, records] = await store.query(async (db) => [
    await readEpochOwners(db, name),
    await readUsable(db, { group: name, act: 'failover', calendarMs: calendarMs(), operation }),
  ]);
  return {
    reachable: reachable.map((one) => {
      const source = one.applied === undefined ? undefined : owners.get(one.applied.epoch);
      const rule = rules.get(one.site);
      return {
        ...one,
        ...(source === undefined ? {} : { source }),
        ...(rule === undefined ? {} : { approvals: requestsFor(records, rule) }),
      };
    }),
    members: group.members.map(({ site }) => site),
  };
}

async function awaitFence({ ports }: EffectContext, group: Group): Promise<FailoverEvent> {
  const { leases, clock } = ports;
  const name = group.spec.name;
  for (let leftMs = leases.remainingMs(name); leftMs > 0; leftMs = leases.remainingMs(name))
    await clock.sleep(Math.ceil(leftMs));
  return { type: 'fenced' };
}

async function promote(
  context: EffectContext,
  intent: Intent,
  group: Group,
  effect: Effect<'promote'>,
  mended = false,
): Promise<FailoverEvent> {
  const { epoch, to, generation, excluded } = effect;
  const fence = await context.guarded(
    group,
    intent,
    {
      group: group.spec.name,
      epoch,
      owner: to,
      // A repeated order would get the outcome of the first one.
      requestId: mended ? `${intent.requestId}.mended` : intent.requestId,
    },
    'failover',
  );
  const ref = generation && nameRef(generation);
  try {
    const order = { fence, ...(ref === undefined ? {} : { generation: ref }) };
    const left = { site: to, excluded: excluded.map(({ site }) => site) };
    const { proof } = await unlessHung(context, group, left, (signal) =>
      context.agent(to).promote(order, { timeoutMs: WORK_TIMEOUT_MS, signal }),
    );
    return { type: 'promoted', proved: proof?.proved ?? 0 };
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    if (endsTheAttempt(error)) throw error;
    if ('hangMs' in error.details) return { type: 'target-lost', code: error.code };
    // The outcome may be unknown. This is harmless: a promoted member has no lease yet, and a later epoch overrules it.
    if (error.disposition === 'retry') return targetLost(context, intent, { to, code: error.code, error });
    if (error.code === 'OBJECT_UNPROVEN' && generation !== undefined) {
      await withdraw(context, group, { site: to, generation, code: error.code });
      const isLast = !mended && !(await hasAnother(context, intent, group, effect));
      if (isLast && (await isMended(context, intent, group, { ...effect, generation })))
        return promote(context, intent, group, effect, true);
    }
    return { type: 'target-lost', code: error.code };
  }
}

/** Whether another member could serve without being mended. */
async function hasAnother(
  context: EffectContext,
  intent: Intent,
  group: Group,
  effect: Effect<'promote'>,
): Promise<boolean> {
  const excluded = [...effect.excluded, { site: effect.to, code: 'OBJECT_UNPROVEN' }];
  return planFailover({ ...effect, wanted: '', excluded }, await survey(context, group, intent)).obstacle === undefined;
}

/** The first order finds what is missing, and the second one makes it again. */
const MENDING_ORDERS = 2;

/**
 * Has the last target restore what its token has lost. It holds the generation sealed in its store, and nobody else is
 * left to serve.
 */
async function isMended(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { epoch, to, generation, excluded }: Effect<'promote'> & { readonly generation: Held },
): Promise<boolean> {
  const target = { epoch, owner: to, to, excluded, newest: generation, holders: [] };
  for (let count = 1; count <= MENDING_ORDERS; count += 1) {
    // A repeated order would get the outcome of the one before.
    const own = { ...intent, requestId: `${intent.requestId}.mend.${count}` };
    const { type } = await bring(context, own, group, target);
    if (type !== 'not-brought') return type === 'brought';
  }
  return false;
}

async function publish(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { epoch, from, to, generation, lost, outageStartedMs }: Effect<'publish'>,
): Promise<FailoverEvent> {
  const name = group.spec.name;
  const recoveryTimeMs = Math.max(0, context.ports.clock.wallMs() - outageStartedMs);
  await context.write(async (trx, record) => {
    const { highestEpoch } = await lockGroup(trx, name);
    await requireOpen(trx, intent);
    if (highestEpoch !== epoch)
      throw new AntipodeError('EPOCH_STALE', `group ${name} is now in epoch ${highestEpoch}`, {
        details: { group: name, epoch, highest: highestEpoch },
      });
    await activateEpoch(trx, name, { epoch, owner: to, recoveryTimeMs, base: generation });
    record({
      kind: 'failover-complete',
      group: name,
      site: to,
      details: { epoch, from, lost: lost.length, recoveryTimeMs },
    });
  });
  await context.ports.cache.refresh();
  return { type: 'published', recoveryTimeMs };
}
