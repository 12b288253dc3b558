/** Plans the deletion of a group. It forgets the group, and deletes no key of an application anywhere. Pure. */
import { activeOf, isSettled } from '../../model.ts';
import type { ChangePlan } from './change.ts';
import type { ChangeFacts } from './facts.ts';

export function planDeletion({ group, open, newest, detector }: ChangeFacts): ChangePlan {
  const { spec, members, joining, revision, highestVersion, highestEpoch } = group;
  const { name } = spec;
  const sites = [...members, ...joining].map(({ site }) => site);
  const away = sites.filter((site) => detector.view(site)?.status !== 'up');
  const active = activeOf(group)?.site;
  const moving = open.find(({ kind }) => kind === 'failover' || kind === 'reseat');
  const isMoving = moving !== undefined || !isSettled(group);
  return {
    revision,
    spec,
    changes: [`group: ${name} is deleted`],
    consequences: [
      `Nothing protects the keys of group ${name} any more: no captures, no replication, no drills, no failover.${newest === undefined ? '' : ` Its newest generation has ${newest.objectCount} objects.`}`,
      `The keys of applications stay in every partition (site ${sites.join(', ')}). Applications at ${active === undefined ? 'the active site' : `site ${active}`} are not touched. \`antipode resolve ${name}\` names no site any more.`,
      `The domain keys (up to version ${highestVersion}) stay in the partitions, and sealed generations in the stores of the sites. A holder of a PIN can open them. Deleted keys that are sealed there cannot be brought back by a command any more.`,
      away.length === 0
        ? 'The agents give up their seats within seconds.'
        : `Site ${away.join(', ')} is away: its agent gives up its seat when it is back.`,
      `Trust in other sites stays in pins.yaml of each site. A new group with the name ${name} begins above epoch ${highestEpoch}, and trusts the same partitions.`,
      'Events, and the evidence of drills, stay in the database.',
    ],
    needsConfirmation: true,
    ...(isMoving
      ? {
          obstacle: {
            code: 'GROUP_BUSY',
            message: 'a failover or a reseat has not ended, so it cannot be deleted now',
          },
        }
      : {}),
  };
}
