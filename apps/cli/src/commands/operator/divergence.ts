/** Objects that returned sites have beside the line of their group: listed, shown, merged or kept. Names stay there. */
import {
  type DivergenceOutcome,
  type DivergentObject,
  type GroupState,
  MemberRole,
  type MergedObject,
} from '@antipode/protocol';
import { hex } from '@antipode/runtime';
import type { Command } from 'commander';
import { APPROVAL_OPTION, submitApprovals } from '../../approvals/approval-file.ts';
import { confirm } from '../../confirm.ts';
import { EXIT } from '../../exit-codes.ts';
import { follow, type Operator, withOperator } from '../../operator-connection.ts';
import { command, operatorCommand, readCommand, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { output, table } from '../../output.ts';
import { chooseDivergent, mergeConsequences, VERDICTS } from '../../views/divergence.ts';
import { isHeard } from '../../views/heard.ts';
import { lackingText, untilAcknowledged } from './replicate.ts';

const SITE_ARGUMENT = ['<site>', 'the site that has returned'] as const;
const OBJECTS_ARGUMENT = [
  '[object...]',
  'object ids or their first digits, from `divergence show`; by default all that wait for a decision',
] as const;
const TIMEOUT_OPTION = ['--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT] as const;

interface Row {
  readonly group: string;
  readonly site: string;
  readonly role: string;
  readonly divergent: number;
  readonly unaccounted: number;
  readonly setAside: number;
  readonly kept: number;
}

/** Members that have applied nothing of the newest tenure: the objects beside its line are counted there by an apply. */
export function uncountedSites(groups: readonly GroupState[]): { group: string; site: string; siteState: string }[] {
  return groups.flatMap(({ spec, members, activeSite, newest }) =>
    members
      .filter(
        ({ site, role, acknowledgedEpoch }) =>
          site !== activeSite && (role === MemberRole.FENCED || acknowledgedEpoch < (newest?.epoch ?? 0n)),
      )
      .map(({ site, siteState }) => ({ group: spec?.name ?? '', site, siteState })),
  );
}

/** Members whose sites are not heard now: their counts are their last word, or none. */
export function silentSites(groups: readonly GroupState[]): { group: string; site: string; siteState: string }[] {
  return groups.flatMap(({ spec, members }) =>
    members
      .filter(({ siteState }) => !isHeard(siteState))
      .map(({ site, siteState }) => ({ group: spec?.name ?? '', site, siteState })),
  );
}

/** Members with anything beside the line of their group. */
export function divergentMembers(groups: readonly GroupState[]): Row[] {
  return groups.flatMap(({ spec, members, activeSite }) =>
    members
      .map(({ site, divergentObjects, unaccountedObjects, keptObjects, setAsideObjects, keptAsideObjects }) => {
        const isActive = site === activeSite;
        return {
          group: spec?.name ?? '',
          site,
          role: isActive ? 'active' : 'standby',
          // The active member's own generations account for everything in its partition.
          divergent: isActive ? 0 : divergentObjects,
          unaccounted: isActive ? 0 : unaccountedObjects,
          setAside: setAsideObjects,
          kept: (isActive ? 0 : keptObjects) + keptAsideObjects,
        };
      })
      .filter(({ divergent, unaccounted, setAside, kept }) => divergent + unaccounted + setAside + kept > 0),
  );
}

function listCommand(): Command {
  return readCommand('list', 'list the sites that have objects beside the line of their group', [
    'divergence list',
    'divergence list payments --json',
  ])
    .argument('[group]', 'replication group; by default all', '')
    .addHelpText(
      'after',
      `\nExits with ${EXIT.degraded} if a site is not up, or has not caught up since the last move: its objects are not counted\nbefore that. SET ASIDE: a key of the group has their names, so they are sealed at that site only.`,
    )
    .action(async (name, options) => {
      const groups = await withOperator(
        options.config,
        async (operator) => {
          if (name === '') return (await operator.listGroups({})).groups;
          const { group } = await operator.getGroup({ group: name });
          return group === undefined ? [] : [group];
        },
        { timeoutMs: options.timeout * 1_000 },
      );
      const rows = divergentMembers(groups);
      const uncounted = uncountedSites(groups);
      const out = output(options);
      for (const { group, site, siteState } of uncounted)
        out.note(
          `Warning: site ${site} (${siteState}) has not caught up with group ${group} since the last move, so its objects beside the line are not counted.`,
        );
      const silent = silentSites(groups).filter(
        ({ group, site }) => !uncounted.some((one) => one.group === group && one.site === site),
      );
      for (const { group, site, siteState } of silent)
        out.note(
          `Warning: site ${site} is ${siteState}, so its counts of objects beside the line of group ${group} are from before. Objects that it set aside are not counted if this coordinator has never heard it.`,
        );
      if (uncounted.length + silent.length > 0) process.exitCode = EXIT.degraded;
      out.data(rows, () =>
        rows.length === 0
          ? uncounted.length + silent.length === 0
            ? 'No site has an object beside the line of its group.'
            : 'No site that is up and has caught up has an object beside the line of its group.'
          : table(
              ['GROUP', 'SITE', 'DIVERGENT', 'UNACCOUNTED', 'SET ASIDE', 'KEPT'],
              rows.map(({ group, site, divergent, unaccounted, setAside, kept }) => [
                group,
                site,
                ...[divergent, unaccounted, setAside, kept].map(String),
              ]),
            ),
      );
    });
}

const divergentTable = (objects: readonly DivergentObject[]): string =>
  objects.length === 0
    ? 'nothing'
    : table(
        ['OBJECT', 'KIND', 'STATE', 'REASON'],
        objects.map(({ objectId, kind, state, reason }) => [objectId || '-', kind, state, reason || '-']),
      );

const settledTable = (objects: readonly MergedObject[]): string =>
  table(
    ['OBJECT', 'KIND', 'RESULT', 'ERROR'],
    objects.map(({ objectId, kind, verdict, errorCode }) => [objectId, kind || '-', verdict, errorCode || '-']),
  );

const isInGroup = ({ verdict }: MergedObject): boolean => verdict === 'merged' || verdict === 'present';

/** A sentence about the generation that was captured after the merge. */
export const hasMerged = (objects: readonly MergedObject[], generation: number): string =>
  objects.some(isInGroup)
    ? `Generation ${generation} has what was merged.`
    : `No object was merged. The newest generation is ${generation}.`;

type Order = Parameters<Operator['runDivergence']>[0];

/** One order, followed to its end. */
async function ordered(
  operator: Operator,
  order: Order,
  options: Parameters<typeof follow>[2],
): Promise<DivergenceOutcome | undefined> {
  const { operationId } = await operator.runDivergence(order);
  const { outcome } = await follow(operator, operationId, options);
  return outcome.case === 'divergence' ? outcome.value : undefined;
}

function showCommand(): Command {
  return operatorCommand('show', 'show what a site has beside the line of its group, without names', [
    'divergence show payments a',
    'divergence show payments a --json',
  ])
    .argument('<group>', 'replication group')
    .argument(...SITE_ARGUMENT)
    .option(...TIMEOUT_OPTION)
    .addHelpText(
      'after',
      `\nThe site seals what has no object id yet, in its own store. Nothing in its token changes, and nothing is decided.\nAt the site, \`antipode partition objects <partition> --state divergent\` shows the same ids with names.`,
    )
    .action(async (group, site, options) => {
      const out = output(options);
      await withOperator(options.config, async (operator) => {
        const timeoutMs = options.timeout * 1_000;
        const outcome = await ordered(operator, { group, site, action: 'show' }, { output: out, timeoutMs });
        const objects = outcome?.divergent ?? [];
        out.data(objects, () => divergentTable(objects));
      });
    });
}

function mergeCommand(): Command {
  return operatorCommand('merge', 'bring objects of a returned site into the group', [
    'divergence merge payments a',
    'divergence merge payments a 4f0c21 --yes',
    'divergence merge payments a --approval restore.approval',
  ])
    .option(...APPROVAL_OPTION)
    .argument('<group>', 'replication group')
    .argument(...SITE_ARGUMENT)
    .argument(...OBJECTS_ARGUMENT)
    .option('--dry-run', 'print what would happen; change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option(...TIMEOUT_OPTION)
    .addHelpText(
      'after',
      `\nThe keys reach the active member's token sealed, and are proved there by use. The next generation has them, and the\ncommand waits until every standby that is up has acknowledged it. Nothing at the active member is replaced: an object\nwhose label or CKA_ID another one bears there stays at its site (name-taken), and so does a key that the group has\ndeleted (deleted). Exits with ${EXIT.degraded} if an object was not merged.`,
    )
    .action(async (group, site, words, options) => {
      const out = output(options);
      await withOperator(options.config, async (operator) => {
        const following = { output: out, timeoutMs: options.timeout * 1_000 };
        await submitApprovals(operator, options.dryRun ? [] : options.approval);
        const shown = await ordered(operator, { group, site, action: 'show' }, following);
        const chosen = chooseDivergent(shown?.divergent ?? [], words, { group, site });
        const objectIds = chosen.map(({ objectId }) => objectId);
        for (const line of mergeConsequences({ group, site }, chosen)) out.note(line);
        if (options.dryRun) {
          out.data(chosen, () => divergentTable(chosen));
          return;
        }
        if (chosen.length === 0) {
          out.data({ objects: [], generation: 0, lackingSites: [] }, () => divergentTable(chosen));
          return;
        }
        if (!options.yes) await confirm(group);
        const outcome = await ordered(operator, { group, site, action: 'merge', objectIds }, following);
        const objects = outcome?.objects ?? [];
        const { generation } = outcome ?? {};
        const acknowledged =
          generation === undefined
            ? undefined
            : await untilAcknowledged(operator, group, {
                generation: {
                  epoch: Number(generation.epoch),
                  number: Number(generation.generation),
                  manifestDigest: hex(generation.manifestDigest),
                },
                timeoutMs: following.timeoutMs,
              });
        const number = Number(generation?.generation ?? 0n);
        const lackingSites = acknowledged?.lackingSites ?? [];
        out.data({ objects, generation: number, lackingSites }, () =>
          [
            settledTable(objects),
            '',
            ...objects
              .map(({ verdict }) => verdict)
              .filter((verdict, index, all) => all.indexOf(verdict) === index && verdict in VERDICTS)
              .map((verdict) => `${verdict}: ${VERDICTS[verdict]}`),
            ...(acknowledged === undefined
              ? []
              : [
                  `${hasMerged(objects, number)} Every standby that is up has acknowledged it.${lackingText({ generation: number, lackingSites, state: acknowledged.state })}`,
                ]),
          ].join('\n'),
        );
        if (!objects.every(isInGroup) || lackingSites.length > 0) process.exitCode = EXIT.degraded;
      });
    });
}

function keepCommand(): Command {
  return operatorCommand('keep', 'leave objects of a returned site as they are, sealed there', [
    'divergence keep payments a',
    'divergence keep payments a 4f0c21 --json',
  ])
    .argument('<group>', 'replication group')
    .argument(...SITE_ARGUMENT)
    .argument(...OBJECTS_ARGUMENT)
    .option(...TIMEOUT_OPTION)
    .addHelpText(
      'after',
      '\nThey do not count as divergent any more. They stay in the token, and sealed in the store of the site, even if somebody\ndestroys them in the token. They can still be merged. If the site becomes active, its first capture takes them. Objects\nthat were set aside stay sealed only.',
    )
    .action(async (group, site, words, options) => {
      const out = output(options);
      await withOperator(options.config, async (operator) => {
        const following = { output: out, timeoutMs: options.timeout * 1_000 };
        const shown = await ordered(operator, { group, site, action: 'show' }, following);
        const chosen = chooseDivergent(shown?.divergent ?? [], words, { group, site });
        const objectIds = chosen.map(({ objectId }) => objectId);
        const outcome =
          objectIds.length === 0
            ? undefined
            : await ordered(operator, { group, site, action: 'keep', objectIds }, following);
        const objects = outcome?.objects ?? [];
        out.data(objects, () => (objects.length === 0 ? 'nothing' : settledTable(objects)));
      });
    });
}

export function divergenceCommand(): Command {
  const divergence = command('divergence', 'objects that a returned site has beside the line of its group');
  for (const one of [listCommand(), showCommand(), mergeCommand(), keepCommand()]) divergence.addCommand(one);
  return divergence;
}
