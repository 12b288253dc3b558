/** Seating a group again, when database and journals disagree. */
import { type Handlers, nameRef, type OperatorService } from '@antipode/protocol';
import { activeOf } from '../model.ts';
import { surveyForReseat } from '../operations/reseat/effects.ts';
import { GroupReader } from './group-reader.ts';
import type { RpcPorts } from './ports.ts';

type Reseats = Pick<Handlers<typeof OperatorService>, 'planReseat' | 'reseatGroup'>;

export function reseatHandlers(ports: RpcPorts): Reseats {
  const { context, reconciler } = ports;
  const groups = new GroupReader(ports);
  return {
    planReseat: async ({ group: name, activeSite }) => {
      const group = await groups.read(name);
      const { accounts, contradiction, plan } = await surveyForReseat(context, group, activeSite);
      return {
        accounts: group.members.map(({ site }) => {
          const account = accounts.find((one) => one.site === site);
          const { newest } = account ?? {};
          return {
            site,
            reachable: account !== undefined,
            role: account?.role ?? '',
            epoch: account?.epoch ?? 0n,
            epochOwner: account?.epochOwner ?? '',
            ...(newest === undefined ? {} : { newest: nameRef(newest) }),
            quarantine: account?.quarantine ?? '',
          };
        }),
        databaseEpoch: group.highestEpoch,
        databaseActiveSite: activeOf(group)?.site ?? '',
        activeSite: plan.obstacle === undefined ? plan.active : '',
        epoch: plan.obstacle === undefined ? plan.epoch : 0n,
        obstacle: plan.obstacle ?? '',
        contradiction,
      };
    },

    reseatGroup: async ({ group, activeSite }) => {
      await groups.read(group);
      const state = { phase: 'due', active: activeSite };
      return {
        operationId: (await reconciler.intend({ kind: 'reseat', group, site: '', state, trace: {} })).id,
      };
    },
  };
}
