/**
 * Changes of groups: the consequences, and the order. An order is a compare-and-set of the declaration, under the lock of
 * the group. It is planned again in the transaction that writes it, by what is on record at that moment.
 */
import { filterMessage, type Handlers, type OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { approvalMissing, isCovered, readUsable, requestsFor, ruleAt } from '../../groups/approvals.ts';
import { planArchives } from '../../groups/changes/archives.ts';
import { type ChangePlan, changeFrom, type GroupChange, obstacleError } from '../../groups/changes/change.ts';
import { cloningBy, nativeObstacle } from '../../groups/changes/cloning.ts';
import { planDeletion } from '../../groups/changes/deletion.ts';
import { durationsOf, type PastOperations } from '../../groups/changes/durations.ts';
import { type ChangeFacts, isIdleKey } from '../../groups/changes/facts.ts';
import { planAddition, planRemoval } from '../../groups/changes/members.ts';
import { planScratch } from '../../groups/changes/scratch.ts';
import { type FilterEffect, hasOtherFilter, planSettings } from '../../groups/changes/settings.ts';
import { planWitnessAddition, planWitnessRemoval } from '../../groups/changes/witnesses.ts';
import { activeOf, type Group, type IntentKind } from '../../model.ts';
import type { EventRecord, Read, Write } from '../../store/store.ts';
import { readAcknowledged, readNewest } from '../../store/tables/generations.ts';
import { lockGroup, readGroup, readGroups, setSpec } from '../../store/tables/groups.ts';
import { endIntent, readNewestDone, readOpenIntents } from '../../store/tables/intents.ts';
import {
  deleteGroup,
  insertJoining,
  readFormerEpoch,
  readFormerSeats,
  removeMember,
  requireLaterVersion,
} from '../../store/tables/membership.ts';
import type { RpcPorts } from '../ports.ts';
import { GroupReader } from './group-reader.ts';

/** A change of the partitions that is older than so many operations of its kind gives no times any more. */
const PAST_MAX = 500;
/** The partition may be busy with a capture. */
const MATCH_TIMEOUT_MS = 10_000;

type GroupChanges = Pick<Handlers<typeof OperatorService>, 'planGroupChange' | 'changeGroup'>;

export function groupChangeHandlers(ports: RpcPorts): GroupChanges {
  const { store, election, cache, detector, reconciler, log } = ports;
  const groups = new GroupReader(ports);
  const factsOf = async (db: Read, group: Group): Promise<ChangeFacts> => {
    const { name } = group.spec;
    return {
      group,
      others: (await readGroups(db, () => {})).filter(({ spec }) => spec.name !== name),
      former: await readFormerSeats(db),
      open: await readOpenIntents(db, { group: name }),
      newest: await readNewest(db, name),
      acknowledged: await readAcknowledged(db, name),
      detector,
    };
  };
  return {
    planGroupChange: async ({ group: name, change: message }, { signal }) => {
      const change = changeFrom(message);
      if (await isGone(ports, name, change)) return {};
      await groups.agreed(name);
      const { facts, past } = await store.snapshot(async (db) => ({
        facts: await factsOf(db, await readGroup(db, name)),
        past: await pastOf(db, name),
      }));
      const filterEffect = await filterEffectOf(ports, facts, change, signal);
      const { revision, changes, consequences, needsConfirmation, obstacle } = plan(facts, change, filterEffect);
      return {
        revision,
        changes: [...changes],
        consequences: [...consequences],
        needsConfirmation,
        obstacle: obstacle?.message ?? '',
        obstacleCode: obstacle?.code ?? '',
        obstacleHint: obstacle?.hint ?? '',
        ...(filterEffect === undefined || 'unknown' in filterEffect ? {} : { filter: filterEffect }),
        durations:
          changes.length === 0
            ? []
            : durationsOf(change, {
                past,
                newest: facts.newest,
                heartbeatMs: ports.timings.heartbeatMs,
                toWallMs: (ms) => ports.timeline.toWallMs(ms),
              }),
      };
    },

    changeGroup: async ({ group: name, change: message, revision }, { identity }) => {
      const change = changeFrom(message);
      if (await isGone(ports, name, change)) return {};
      await groups.agreed(name);
      let made = '';
      /** Whether anything was written. */
      const write = async (trx: Write, record: (event: EventRecord) => void): Promise<boolean> => {
        const facts = await factsOf(trx, await lockGroup(trx, name));
        const planned = plan(facts, change);
        // Repeated, or made by somebody else meanwhile: it is as it should be.
        if (planned.changes.length === 0) return false;
        if (planned.obstacle !== undefined) throw obstacleError(name, planned.obstacle);
        await requireReleaseApproved(trx, { facts, change, calendarMs: ports.context.ports.calendarMs() });
        if (planned.revision !== revision) throw changedMeanwhile(name, { revision, found: planned.revision });
        made = await perform(trx, { facts, change, planned, nowMs: ports.clock.wallMs() });
        record({
          kind: 'group-changed',
          group: name,
          site: siteOf(change),
          details: { revision: revision + 1, change: change.kind, fields: made, operator: identity.name },
        });
        return true;
      };
      const completes = OPERATION[change.kind];
      let operationId = '';
      if (completes === undefined) await store.write(election.require(), write);
      else {
        const site = change.kind === 'add-member' ? change.seat.site : '';
        const state = { phase: 'due' };
        operationId = (await reconciler.intend({ kind: completes, group: name, site, state, trace: {} }, write)).id;
      }
      if (made !== '') {
        log.info('group changed', { group: name, change: change.kind, fields: made, operator: identity.name });
        await cache.refresh();
      }
      return change.kind === 'delete' ? {} : { group: await groups.shown(name), operationId };
    },
  };
}

async function pastOf(db: Read, group: string): Promise<PastOperations> {
  const newest = (kind: IntentKind) => readNewestDone(db, { group, kind, limit: PAST_MAX });
  return {
    domainKeys: await newest('domain-key'),
    captures: await newest('capture'),
    replications: await newest('replication'),
  };
}

/**
 * A site that guards its seat gives it up by an approval only. Without one it would go on as a member that nobody knows.
 * @throws APPROVAL_REQUIRED
 */
async function requireReleaseApproved(
  trx: Write,
  { facts: { group, detector }, change, calendarMs }: { facts: ChangeFacts; change: GroupChange; calendarMs: number },
): Promise<void> {
  const { name } = group.spec;
  const leaving = [...group.members, ...group.joining].filter(
    ({ site }) => change.kind === 'delete' || (change.kind === 'remove-member' && change.seat.site === site),
  );
  const guarding = leaving.flatMap((seat) => {
    const rule = ruleAt(detector.view(seat.site)?.state, name);
    return rule === undefined ? [] : [{ ...seat, rule }];
  });
  if (guarding.length === 0) return;
  const records = await readUsable(trx, { group: name, act: 'release', calendarMs });
  const missing = guarding.find(
    ({ rule, ...seat }) =>
      !isCovered(requestsFor(records, rule), { action: 'release', seat, epoch: group.highestEpoch }),
  );
  if (missing !== undefined) throw approvalMissing(name, missing, 'release');
}

/** A deletion that is repeated has nothing to do. */
async function isGone({ store }: RpcPorts, name: string, { kind }: GroupChange): Promise<boolean> {
  if (kind !== 'delete') return false;
  return store.snapshot(async (db) => {
    const isThere = (await readGroups(db, () => {})).some(({ spec }) => spec.name === name);
    return !isThere && (await readFormerEpoch(db, name)) !== undefined;
  });
}

/** The operation that completes a change. */
const OPERATION: Partial<Record<GroupChange['kind'], IntentKind>> = {
  'add-member': 'member-join',
  'remove-member': 'domain-key',
  scratch: 'domain-key',
};

const siteOf = (change: GroupChange): string =>
  'seat' in change ? change.seat.site : 'site' in change ? change.site : '';

/** Changes that leave the partitions of the group as they are: the domain key goes where it went before. */
const KEEPS_PARTITIONS: ReadonlySet<GroupChange['kind']> = new Set([
  'settings',
  'add-witness',
  'remove-witness',
  'archives',
]);

/** Pure, but for the errors of an invalid request. */
function plan(facts: ChangeFacts, change: GroupChange, filterEffect?: FilterEffect): ChangePlan {
  switch (change.kind) {
    case 'settings': {
      const { group, detector } = facts;
      const planned = planSettings(group, change.settings, filterEffect, cloningBy(detector));
      const seats = [...group.members, ...group.joining, ...planned.spec.scratch];
      const obstacle =
        planned.spec.movement === group.spec.movement ? undefined : nativeObstacle(planned.spec, { seats, detector });
      return obstacle === undefined ? planned : { ...planned, obstacle };
    }
    case 'add-member':
      return planAddition(facts, change.seat);
    case 'remove-member':
      return planRemoval(facts, change.seat);
    case 'add-witness':
      return planWitnessAddition(facts, change.site);
    case 'remove-witness':
      return planWitnessRemoval(facts, change.site);
    case 'scratch':
      return planScratch(facts, change.seats);
    case 'archives':
      return planArchives(facts, change.vaults);
    case 'delete':
      return planDeletion(facts);
  }
}

/** Writes what was planned. Returns the fields that it changed. */
async function perform(
  trx: Write,
  {
    facts: { group, open },
    change,
    planned,
    nowMs,
  }: { facts: ChangeFacts; change: GroupChange; planned: ChangePlan; nowMs: number },
): Promise<string> {
  if (change.kind === 'delete') {
    await deleteGroup(trx, group, { nowMs });
    return 'group';
  }
  if (change.kind === 'add-member') await insertJoining(trx, group, change.seat);
  else if (change.kind === 'remove-member') {
    const seat = [...group.members, ...group.joining].find(({ site }) => site === change.seat.site)!;
    await removeMember(trx, group, { ...seat, nowMs });
  } else {
    await setSpec(trx, planned.spec);
    if (change.kind === 'scratch') await requireLaterVersion(trx, group);
  }
  // One that is parked or waits brings its version to who is not there any more, or not to who is there now.
  for (const intent of open)
    if (intent.kind === 'domain-key' && isIdleKey(intent) && !KEEPS_PARTITIONS.has(change.kind))
      await endIntent(trx, intent, { status: 'cancelled', from: ['open', 'parked'] }, nowMs);
  return [...new Set(planned.changes.map((line) => line.slice(0, line.indexOf(':'))))].join(',');
}

function changedMeanwhile(group: string, details: { revision: number; found: number }): AntipodeError {
  return new AntipodeError(
    'GROUP_CHANGED',
    `group ${group} is at revision ${details.found} by now, and the change was made for revision ${details.revision}`,
    { details: { group, ...details } },
  );
}

/** Asks the active member which objects other rules concern. A site that does not answer must not prevent the change. */
async function filterEffectOf(
  { agents }: RpcPorts,
  facts: ChangeFacts,
  change: GroupChange,
  signal: AbortSignal,
): Promise<FilterEffect> {
  const { group } = facts;
  if (change.kind !== 'settings') return undefined;
  const { spec } = plan(facts, change);
  if (!hasOtherFilter(group.spec, spec)) return undefined;
  const active = activeOf(group);
  if (active === undefined) return { unknown: 'no member is active' };
  const { site, serial } = active;
  const filters = { filter: filterMessage(spec.filter), before: filterMessage(group.spec.filter) };
  try {
    const answer = await agents
      .client(site)
      .matchFilter({ serial, ...filters }, { timeoutMs: MATCH_TIMEOUT_MS, signal });
    return answer.change ?? { unknown: 'its agent is of an earlier release' };
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    if (error.disposition === 'defect') throw error;
    return { unknown: error.code };
  }
}
