/** Failovers: what one would do and lose, and the order. */
import { generationName, type Handlers, nameRef, type OperatorService } from '@antipode/protocol';
import type { Contradiction } from '../groups/contradiction.ts';
import { activeOf } from '../model.ts';
import { survey } from '../operations/failover/effects.ts';
import { planFailover } from '../operations/failover/plan.ts';
import { requireTarget, startFailover } from '../operations/failover/start.ts';
import { GroupReader } from './group-reader.ts';
import type { RpcPorts } from './ports.ts';
import { namesakesAt } from './views/group.ts';

/** A failover may leave an active member with an untrusted journal. It must not follow a database that was rolled back. */
const isWayOut = ({ kind }: Contradiction): boolean => kind === 'journal-not-ours';

type FailoverHandlers = Pick<Handlers<typeof OperatorService>, 'planFailover' | 'failover'>;

export function failoverHandlers(ports: RpcPorts): FailoverHandlers {
  const { context, detector, leases } = ports;
  const groups = new GroupReader(ports);
  return {
    planFailover: async ({ group: name, toSite }) => {
      const group = await groups.agreed(name, isWayOut);
      requireTarget(group, toSite);
      const from = activeOf(group)?.site ?? '';
      const found = await survey(context, group);
      const request = { from, wanted: toSite, reason: 'operator', excluded: [] } as const;
      const strict = planFailover({ ...request, acceptLoss: false, accepted: [] }, found);
      const isRefused = strict.obstacle !== undefined;
      const { obstacle, choice, needs } = isRefused
        ? planFailover({ ...request, acceptLoss: true, accepted: 'all' }, found)
        : strict;
      // The generation to fetch may turn out to be unavailable. Then only a person who accepts its loss can go on.
      const ifNotFetched =
        choice?.fetch === undefined
          ? undefined
          : planFailover({ ...request, acceptLoss: true, accepted: 'all' }, found).choice;
      const target = found.reachable.find(({ site }) => site === choice?.to);
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
        namesakeObjects: namesakesAt({ group, view: (site) => detector.view(site) }, choice?.to ?? ''),
        leaseWaitMs: BigInt(
          Math.round(found.reachable.some(({ site }) => site === from) ? 0 : leases.remainingMs(name)),
        ),
      };
    },

    failover: async ({ group: name, toSite, acceptLoss, acceptedLosses, ignoreVetoes }, { identity }) => {
      const group = await groups.agreed(name, isWayOut);
      const accepted = acceptedLosses.map(generationName);
      return startFailover(ports, group, { toSite, acceptLoss, accepted, ignoreVetoes, operator: identity.name });
    },
  };
}
