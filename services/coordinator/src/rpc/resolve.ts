/** Where applications find their keys now. */

import type { Handlers, OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { activeOf, isSettled } from '../model.ts';
import { partitionIn } from '../sites/accounts.ts';
import { readPlace } from '../store/tables/sites.ts';
import { GroupReader } from './group-reader.ts';
import type { RpcPorts } from './ports.ts';

type ResolveHandlers = Pick<Handlers<typeof OperatorService>, 'resolve'>;

export function resolveHandlers(ports: RpcPorts): ResolveHandlers {
  const { store, election, detector } = ports;
  const groups = new GroupReader(ports);
  return {
    resolve: async ({ group: name }) => {
      const group = await groups.agreed(name);
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
      const view = detector.view(active.site);
      const live = partitionIn(view?.state, active.serial);
      // After a restart, this coordinator might not have heard the site yet. Its last report is still good.
      const place = live ?? (await store.query((db) => readPlace(db, active)));
      return {
        site: active.site,
        module: place?.module ?? '',
        tokenLabel: place?.tokenLabel ?? '',
        serial: active.serial,
        epoch: group.epoch,
        siteState: view?.status ?? 'unknown',
        partitionErrorCode: live?.errorCode ?? '',
        isLeader: election.epoch !== undefined,
      };
    },
  };
}
