/** Seating a group again, when database and journals disagree. */
import { type Handlers, nameRef, type OperatorService } from '@antipode/protocol';
import { approvalMissing, readUsable, requestsFor, ruleAt } from '../../groups/approvals.ts';
import { activeOf, type Group, votingSites } from '../../model.ts';
import { surveyForReseat } from '../../operations/reseat/effects.ts';
import { isExpected } from '../../sites/expected.ts';
import type { RpcPorts } from '../ports.ts';
import { GroupReader } from './group-reader.ts';

/** Each agent judges for itself. This only keeps a reseat from beginning that none of them would take. */
async function requireReseatApproved({ store, detector, context }: RpcPorts, group: Group): Promise<void> {
  const { name } = group.spec;
  const guarding = group.members.flatMap((seat) => {
    const rule = ruleAt(detector.view(seat.site)?.state, name);
    return rule === undefined ? [] : [{ ...seat, rule }];
  });
  const [first] = guarding;
  if (first === undefined) return;
  const calendarMs = context.ports.calendarMs();
  const records = await store.query((db) => readUsable(db, { group: name, act: 'reseat', calendarMs }));
  const isApproved = guarding.some(({ site, serial, rule }) =>
    requestsFor(records, rule).some(({ partitions }) =>
      partitions.some((one) => one.site === site && one.serial === serial),
    ),
  );
  if (!isApproved) throw approvalMissing(name, first, 'reseat');
}

/** Says which sites a new leader has not heard yet: one of them may contradict the database. Empty for none. */
function unheard({ detector }: Pick<RpcPorts, 'detector'>, group: Group): string {
  const sites = votingSites(group).filter((site) => isExpected(detector.view(site)));
  return sites.length === 0
    ? ''
    : `this coordinator has just begun to lead, and has not heard site ${sites.join(', ')} yet: repeat the command in some seconds`;
}

type Reseats = Pick<Handlers<typeof OperatorService>, 'planReseat' | 'reseatGroup'>;

export function reseatHandlers(ports: RpcPorts): Reseats {
  const { context, reconciler } = ports;
  const groups = new GroupReader(ports);
  return {
    planReseat: async ({ group: name, activeSite }) => {
      const { group, accounts, contradiction, plan } = await surveyForReseat(context, name, { wanted: activeSite });
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
        obstacle: contradiction === '' ? unheard(ports, group) || (plan.obstacle ?? '') : (plan.obstacle ?? ''),
        contradiction,
        doubts: plan.obstacle === undefined ? [...(plan.doubts ?? [])] : [],
      };
    },

    reseatGroup: async ({ group, activeSite }) => {
      await requireReseatApproved(ports, await groups.read(group));
      const state = { phase: 'due', active: activeSite };
      return {
        operationId: (await reconciler.intend({ kind: 'reseat', group, site: '', state, trace: {} })).id,
      };
    },
  };
}
