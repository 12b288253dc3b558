/** A coordinator without a database and without a backup adopts the groups that its sites know. */
import type { GroupPlan, RebuildPlan } from '@antipode/coordinator';
import { isName } from '@antipode/protocol';
import { AntipodeError, isAddress } from '@antipode/runtime';
import { type Command, InvalidArgumentError } from 'commander';
import { confirm } from '../../confirm.ts';
import { collect, command, JSON_OPTION } from '../../options/options.ts';
import { output, table } from '../../output.ts';
import { CONFIG_OPTION, ports } from './backup.ts';

interface SiteAddress {
  readonly site: string;
  readonly address: string;
}

function siteAddress(text: string, before: readonly SiteAddress[] = []): SiteAddress[] {
  const at = text.indexOf('=');
  const [site, address] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 1 || !isName(site) || !isAddress(address))
    throw new InvalidArgumentError('expected SITE=HOST:PORT, the address of its agent');
  if (before.some((one) => one.site === site)) throw new InvalidArgumentError(`site ${site} is named twice`);
  return [...before, { site, address }];
}

/** The groups as the sites tell them, and the decision on each. */
export function rebuildText({ groups, known, silent }: RebuildPlan): string {
  return [
    ...silent.map(({ site, code }) => `Site ${site} does not answer (${code}).`),
    ...known.map((group) => `Group ${group} is in the database already, and stays as it is.`),
    ...groups.flatMap((plan) => ['', ...groupText(plan)]),
  ].join('\n');
}

function groupText(plan: GroupPlan): string[] {
  const leftOut = plan.leftOut.map(({ site, reason }) => `  site ${site} is left out: ${reason}`);
  if (plan.verdict === 'undecided') return [`Group ${plan.group} is not adopted: ${plan.reason}.`, ...leftOut];
  const { group, epoch, owner, isOwnerHeard, members, scratch, filter, highestVersion, vaults, onLeaseLapse, lost } =
    plan;
  const rules = filter.excludeIds.length + filter.excludeLabels.length + filter.excludeClasses.length;
  return [
    `Group ${group}: site ${owner} is active in epoch ${epoch}${isOwnerHeard ? '' : ', by the word of the others'}.`,
    table(
      ['SITE', 'SERIAL', 'ROLE', 'BY ITS OWN WORD'],
      members.map(({ site, serial, role, told }) => [
        site,
        serial,
        role,
        told === undefined ? 'does not answer' : `${told.role}, epoch ${told.epoch} of ${told.owner || 'nobody'}`,
      ]),
    ),
    `  scratch: ${scratch.map(({ site, serial }) => `${site}=${serial}`).join(', ') || 'none'}; rules of the filter: ${rules}; domain key version ${highestVersion}${onLeaseLapse === undefined ? '' : '; programs stop when the lease lapses'}`,
    ...(lost.length === 0
      ? []
      : [`  without a majority: site ${lost.join(', ')} is lost, by your word. No later epoch can be in force.`]),
    ...vaults.map(
      ({ site, serial, name, backups }) =>
        `  vault ${name} of site ${site} (${backups === 1 ? '1 complete backup' : `${backups} complete backups`} of this group) is not adopted: \`antipode group update ${group} --archive-keep COUNT\`, then \`antipode group set-archive ${group} --archive ${site}=${serial}\``,
    ),
    ...leftOut,
  ];
}

const CONSEQUENCES = [
  'Every group gets these members, this epoch and this filter, a manual failover policy, an RPO of 300 s and the defaults for everything else.',
  'Lost with the database, and to be declared again with `antipode group update`: RPO, drills, scrubs, failover policy, preferred sites, the policy for deletions, how often archives are backed up and how many backups stay. Witnesses: `antipode group add-witness`. Archives: `antipode group set-archive`. Until then their backups stay as they are, and no more are made.',
  'Lost for good: the history of operations, drills and archives with its evidence, pauses, approvals that were not used yet, and the accepted decisions of hooks. Captures that no standby has yet are made again.',
  'No agent is ordered anything by this, and nobody becomes active who was not. Each group gets a new version of its domain key.',
];

export function rebuildCommand(): Command {
  return command('rebuild', 'adopt the groups that the sites know, where the database is lost and no backup is left', [
    'coordinator rebuild --site a=a.example.org:7401 --site b=b.example.org:7401 --dry-run --config coordinator/coordinator.yaml',
    'coordinator rebuild --site a=a.example.org:7401 --site b=b.example.org:7401 --config coordinator/coordinator.yaml',
  ])
    .requiredOption('--site <site=address>', 'a site and the address of its agent; name every site', siteAddress)
    .option('--without <site>', 'a site that lies or is lost for good: it gets no seat; repeatable', collect, [])
    .option('--witness <site>', 'a site that votes without a seat: its word counts; repeatable', collect, [])
    .option('--lost <site>', 'a site that is lost for good, where no majority is left; repeatable', collect, [])
    .option('--unfiltered <group>', 'a group that has no filter, where no site knows it; repeatable', collect, [])
    .option('--all-named <group>', 'a group whose voting sites are all named with --site; repeatable', collect, [])
    .option(...CONFIG_OPTION)
    .option('--dry-run', 'ask the sites and print what would happen; adopt nothing')
    .option('--yes', 'do not ask for confirmation')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nName every site, also witnesses and sites that are down: an epoch counts if a majority of the voting sites reports\nit. No coordinator may run meanwhile. A site left out by --without still has its vote, and nobody casts it.\nSee docs/runbooks/rebuild-the-database.md.',
    )
    .action(
      async ({
        site: sites,
        without,
        witness: witnesses,
        lost,
        unfiltered,
        allNamed,
        config: file,
        dryRun,
        yes,
        json,
      }) => {
        const { loadCoordinatorConfig, openRebuild } = await import('@antipode/coordinator');
        const config = loadCoordinatorConfig(file);
        const out = output({ json });
        const rebuilder = await openRebuild(config, {
          sites,
          without,
          witnesses,
          lost,
          unfiltered,
          allNamed,
          ...ports(),
        });
        try {
          const { plan } = rebuilder;
          out.note(rebuildText(plan));
          const adoptable = plan.groups.filter(({ verdict }) => verdict === 'adopt');
          if (dryRun) {
            out.data(plan, () => 'No group was adopted (--dry-run).');
            return;
          }
          if (adoptable.length === 0) throw nothingToAdopt(plan);
          for (const line of CONSEQUENCES) out.note(line);
          if (!yes) await confirm(config.id, 'the coordinator');
          const adopted = await rebuilder.adopt();
          out.data({ adopted, ...plan }, () =>
            [`adopted: ${adopted.join(', ')}`, 'Start the coordinator. Then look at `antipode status`.'].join('\n'),
          );
        } finally {
          await rebuilder.close();
        }
      },
    );
}

function nothingToAdopt({ groups, known }: RebuildPlan): AntipodeError {
  const [first] = groups.flatMap((plan) => (plan.verdict === 'undecided' ? [plan] : []));
  if (first !== undefined)
    return new AntipodeError('REBUILD_REFUSED', `group ${first.group}: ${first.reason}`, {
      details: { group: first.group },
    });
  return new AntipodeError(
    'REBUILD_REFUSED',
    known.length === 0
      ? 'no site that answers has a seat in any group'
      : 'the database has every group that the sites know',
    { hint: 'Name every site with --site. There is nothing to do for groups that the database has.' },
  );
}
