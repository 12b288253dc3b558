/** Failovers: what one would do and lose, and the order. */
import { generationName, type Handlers, nameRef, type OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Contradiction } from '../../groups/contradiction.ts';
import { sharedNamesIn } from '../../groups/names-concern.ts';
import { activeOf, type Group } from '../../model.ts';
import { ORDER_TIMEOUT_MS } from '../../operations/context.ts';
import { survey } from '../../operations/failover/effects.ts';
import { expectRecovery, type MeasuredMove } from '../../operations/failover/expectation.ts';
import type { FailoverState } from '../../operations/failover/machine.ts';
import { type Candidate, planFailover } from '../../operations/failover/plan.ts';
import { requireTarget, startFailover } from '../../operations/failover/start.ts';
import { lastWords } from '../../sites/vouching.ts';
import { readDrills } from '../../store/tables/evidence/drills.ts';
import { readNewest } from '../../store/tables/generations.ts';
import { readNewestDone } from '../../store/tables/intents.ts';
import type { Timings } from '../../timings.ts';
import type { RpcPorts } from '../ports.ts';
import { namesakesAt } from '../views/group.ts';
import { GroupReader } from './group-reader.ts';

/** A failover may leave an active member with an untrusted journal. It must not follow a database that was rolled back. */
const isWayOut = ({ kind }: Contradiction): boolean => kind === 'journal-not-ours';

type FailoverHandlers = Pick<Handlers<typeof OperatorService>, 'planFailover' | 'failover'>;

export function failoverHandlers(ports: RpcPorts): FailoverHandlers {
  const { clock, context, detector, leases, timings } = ports;
  const groups = new GroupReader(ports);
  return {
    planFailover: async ({ group: name, toSite, planned }) => {
      const group = await groups.agreed(name, isWayOut);
      requireTarget(group, toSite);
      const from = activeOf(group)?.site ?? '';
      const found = await survey(context, group);
      const request = { from, wanted: toSite, reason: 'operator', excluded: [], planned } as const;
      const strict = planFailover({ ...request, acceptLoss: false, accepted: [] }, found);
      // A switchover loses nothing, whatever somebody would accept.
      const isRefused = strict.obstacle !== undefined && !planned;
      const { obstacle, choice, needs } = isRefused
        ? planFailover({ ...request, acceptLoss: true, accepted: 'all' }, found)
        : strict;
      // The generation to fetch may turn out to be unavailable. Then only a person who accepts its loss can go on.
      const ifNotFetched =
        choice?.fetch === undefined
          ? undefined
          : planFailover({ ...request, acceptLoss: true, accepted: 'all' }, found).choice;
      const target = found.reachable.find(({ site }) => site === choice?.to);
      // Other sites may keep the lease alive until they have persisted the next epoch.
      const vouchWaitMs = leases.vouchWaitMs(lastWords(group, { detector, nowMs: clock.monotonicMs() }));
      const isThere = found.reachable.some(({ site }) => site === from);
      const leaseWaitMs = isThere ? 0 : Math.max(leases.remainingMs(name), vouchWaitMs);
      const expected =
        choice === undefined
          ? undefined
          : expectRecovery({
              to: choice.to,
              ...(await measuredIn(ports, name)),
              leaseWaitMs: choice.canCatchUp ? 0 : leaseWaitMs,
              silenceMs: silenceMs(group, { from, reachable: found.reachable, timings }),
            });
      return {
        fromSite: from,
        toSite: choice?.to ?? '',
        ...(target?.applied === undefined
          ? {}
          : { targetGeneration: { epoch: target.applied.epoch, generation: target.applied.number } }),
        lostGenerations: (choice?.lost ?? []).map(({ number }) => number),
        losses: ((ifNotFetched ?? choice)?.lost ?? []).map(nameRef),
        obstacle: obstacle ?? '',
        ...(needs === undefined
          ? {}
          : {
              neededApproval: {
                site: needs.site,
                serial: needs.serial,
                epoch: needs.epoch,
                loses: needs.loses,
                silentSites: [...needs.silent],
                required: needs.required,
              },
            }),
        catchesUp: choice?.canCatchUp === true,
        needsAcceptLoss: obstacle === undefined && isRefused,
        refusedObjects: target?.site === from ? 0 : (target?.refused ?? 0),
        namesakeObjects: namesakesAt({ group, view: (site) => detector.view(site) }, choice?.to ?? ''),
        sharedNameObjects: sharedNamesIn({ group, view: (site) => detector.view(site) }),
        leaseWaitMs: BigInt(Math.round(leaseWaitMs)),
        chosenFor: choice?.chosenFor ?? '',
        ...(expected === undefined
          ? {}
          : { expectedRecoveryMs: BigInt(Math.ceil(expected.ms)), expectedFrom: [...expected.from] }),
      };
    },

    failover: async (
      { group: name, toSite, acceptLoss, acceptedLosses, acceptedRefusedObjects, ignoreVetoes, planned, deadlineMs },
      { identity },
    ) => {
      const group = await groups.agreed(name, isWayOut);
      if (planned && acceptLoss)
        throw new AntipodeError('REQUEST_INVALID', 'a switchover loses nothing, so there is no loss to accept', {
          details: { field: 'accept_loss', group: name },
        });
      const accepted = acceptedLosses.map(generationName);
      return startFailover(ports, group, {
        toSite,
        acceptLoss,
        accepted,
        acceptedRefused: acceptLoss ? acceptedRefusedObjects : 0,
        ignoreVetoes,
        planned,
        deadlineMs: Number(deadlineMs),
        operator: identity.name,
      });
    },
  };
}

/** As many as tell of the group as it is. */
const MEASURED_MAX = 10;

/** Former moves and drills of the group, and its size now. */
async function measuredIn({ store }: Pick<RpcPorts, 'store'>, group: string) {
  return store.query(async (db) => {
    const moves = await readNewestDone(db, { group, kind: 'failover', limit: MEASURED_MAX });
    const drills = await readDrills(db, { group, limit: MEASURED_MAX });
    return {
      moves: moves.flatMap(({ state }) => measuredMove(state as FailoverState)),
      drills: drills
        .filter(({ passed }) => passed)
        .map(({ recoveryTimeMs, proof: { proved } }) => ({ recoveryTimeMs, proved })),
      objects: (await readNewest(db, group))?.objectCount ?? 0,
    };
  });
}

/** One that an earlier release has stored does not say whether its target had caught up. */
function measuredMove(state: FailoverState): MeasuredMove[] {
  if (state.phase !== 'complete') return [];
  const { to, recoveryTimeMs, proved, caughtUp = false } = state;
  return [{ to, recoveryTimeMs, proved, caughtUp }];
}

/** A survey asks every member, and the order of the epoch asks them again. Both wait for those that do not answer. */
function silenceMs(
  { members }: Group,
  { from, reachable, timings }: { from: string; reachable: readonly Candidate[]; timings: Timings },
): number {
  const silent = members.map(({ site }) => site).filter((site) => !reachable.some((one) => one.site === site));
  if (silent.length === 0) return 0;
  const ofOrder = silent.map((site) => (site === from ? timings.probeTimeoutMs : ORDER_TIMEOUT_MS));
  return timings.probeTimeoutMs * 2 + Math.max(...ofOrder);
}
