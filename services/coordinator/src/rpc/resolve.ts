/**
 * Where applications find their keys now. The database decides, and it is not waited for long: while it stands still, the
 * leader answers from the group as it read it last and from what the agents say since. Nobody else can issue an epoch
 * while it leads. Any other coordinator knows nothing without the database, and says so within the same time.
 */

import type { Handlers, OperatorService, PartitionState, ResolveResponseSchema } from '@antipode/protocol';
import { AntipodeError, hasCode } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { epochContradictionOf, refuseContradicted } from '../groups/contradiction.ts';
import { activeOf, type Group, isSettled, type Seat } from '../model.ts';
import { partitionIn } from '../sites/accounts.ts';
import { readPlace } from '../store/tables/sites/sites.ts';
import { withinBound } from './database-bound.ts';
import { GroupReader } from './groups/group-reader.ts';
import type { RpcPorts } from './ports.ts';

type ResolveHandlers = Pick<Handlers<typeof OperatorService>, 'resolve'>;

export function resolveHandlers(ports: RpcPorts): ResolveHandlers {
  const { store, election, detector, cache, clock } = ports;
  const groups = new GroupReader(ports);
  const answer = (
    group: Group,
    active: Seat,
    place: Pick<PartitionState, 'module' | 'tokenLabel'> | undefined,
  ): MessageInitShape<typeof ResolveResponseSchema> => ({
    site: active.site,
    module: place?.module ?? '',
    tokenLabel: place?.tokenLabel ?? '',
    serial: active.serial,
    epoch: group.epoch,
    siteState: detector.view(active.site)?.status ?? 'unknown',
    partitionErrorCode: liveAt(active)?.errorCode ?? '',
    isLeader: election.epoch !== undefined,
  });
  const liveAt = ({ site, serial }: Seat) => partitionIn(detector.view(site)?.state, serial);

  const byDatabase = async (name: string) => {
    const group = await groups.agreed(name);
    const active = servingIn(group);
    // After a restart, this coordinator might not have heard the site yet. Its last report is still good.
    return answer(group, active, liveAt(active) ?? (await store.query((db) => readPlace(db, active))));
  };

  const byAgents = (name: string, cause: AntipodeError) => {
    const group = cache.all.find(({ spec }) => spec.name === name);
    if (election.epoch === undefined || group === undefined) throw cause;
    const contradiction = epochContradictionOf(group, (site) => detector.view(site));
    if (contradiction !== undefined) refuseContradicted(group, contradiction);
    const active = servingIn(group);
    const live = liveAt(active);
    // Nobody has said where its keys are.
    if (live === undefined) throw cause;
    return { ...answer(group, active, live), isWithoutDatabase: true };
  };

  return {
    resolve: async ({ group }) => {
      try {
        return await withinBound(clock, byDatabase(group));
      } catch (thrown) {
        if (!hasCode(thrown, 'DATABASE_UNAVAILABLE')) throw thrown;
        return byAgents(group, thrown);
      }
    },
  };
}

/** @throws NOT_SERVED, NOT_FOUND */
function servingIn(group: Group): Seat {
  const { name } = group.spec;
  // Where an epoch was issued, the active member of the one before is fenced, or may be at any moment.
  if (!isSettled(group))
    throw new AntipodeError(
      'NOT_SERVED',
      `group ${name} has no active member: a failover to site ${group.highestOwner} is under way or stuck`,
      { details: { group: name, epoch: group.highestEpoch } },
    );
  const active = activeOf(group);
  if (active === undefined)
    throw new AntipodeError('NOT_FOUND', `group ${name} has no active member`, {
      details: { group: name },
      hint: `Run \`antipode status\` to see its members. \`antipode failover ${name} --dry-run\` shows what a failover would do.`,
    });
  return active;
}
