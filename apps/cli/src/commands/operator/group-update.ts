import { FailoverPolicy, type GroupState } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type Command, Option } from 'commander';
import { type Change, changeGroup } from '../../group-change.ts';
import { withOperator } from '../../operator-connection.ts';
import { type DeletionOptions, deletionsOf } from '../../options/deletion-options.ts';
import { filterOf, type RuleOptions, withRuleOptions } from '../../options/filter-rules.ts';
import { LEASE_LAPSE_HELP, leaseLapseOf } from '../../options/lease-lapse.ts';
import { MOVEMENT_HELP, MOVEMENTS, movementOf } from '../../options/movement.ts';
import {
  collect,
  count,
  days,
  operatorCommand,
  percent,
  seconds,
  TIMEOUT_S_DEFAULT,
  wholeSeconds,
} from '../../options/options.ts';
import { output } from '../../output.ts';
import { memberTable } from '../../views/group.ts';

export interface UpdateOptions extends RuleOptions, DeletionOptions {
  readonly includeId: readonly string[];
  readonly includeLabel: readonly string[];
  readonly includeClass: readonly string[];
  readonly rpo?: number;
  /** False with `--no-drill`. */
  readonly drill?: string | false;
  readonly scrub?: number;
  readonly failover?: string;
  readonly onLeaseLapse?: string;
  readonly movement?: string;
  readonly archiveInterval?: number;
  readonly archiveKeep?: number;
  /** False with `--no-prefer`. */
  readonly prefer?: readonly string[] | false;
}

/** The settings that the options name, by what is in force. @throws USAGE */
export function settingsOf({ spec }: Pick<GroupState, 'spec'>, options: UpdateOptions): Change {
  const { rpo, drill, scrub, failover, onLeaseLapse, movement, prefer, archiveInterval, archiveKeep } = options;
  const value = {
    ...filterAfter(spec?.filter, options),
    ...(rpo === undefined ? {} : { rpoSeconds: rpo }),
    ...(drill === undefined ? {} : { drillCron: drill === false ? '' : drill }),
    ...(scrub === undefined ? {} : { scrubSeconds: scrub }),
    ...(failover === undefined
      ? {}
      : { failoverPolicy: failover === 'automatic' ? FailoverPolicy.AUTOMATIC : FailoverPolicy.MANUAL }),
    ...(prefer === undefined ? {} : { prefer: { sites: prefer === false ? [] : [...prefer] } }),
    ...(onLeaseLapse === undefined ? {} : { onLeaseLapse: leaseLapseOf(onLeaseLapse) }),
    ...(movement === undefined ? {} : { movement: movementOf(movement) }),
    ...(archiveInterval === undefined ? {} : { archiveSeconds: archiveInterval }),
    ...(archiveKeep === undefined ? {} : { archiveKeep }),
    ...deletionsOf(options, spec?.deletions),
  };
  if (Object.keys(value).length === 0)
    throw new AntipodeError('USAGE', 'expected at least one setting to change', { details: { field: 'settings' } });
  return { case: 'settings', value };
}

type Filter = NonNullable<GroupState['spec']>['filter'];

/** The rules in force, without those that are taken away, with the new ones. */
function filterAfter(inForce: Filter, options: UpdateOptions): { filter?: ReturnType<typeof filterOf> } {
  const { excludeId, excludeLabel, excludeClass, excludeIgnoreCase, includeId, includeLabel, includeClass } = options;
  const lists = [excludeId, excludeLabel, excludeClass, includeId, includeLabel, includeClass];
  if (lists.every((list) => list.length === 0) && excludeIgnoreCase === undefined) return {};
  const after = (rules: readonly string[] = [], without: readonly string[], more: readonly string[]): string[] => {
    const missing = without.find((rule) => !rules.includes(rule));
    if (missing !== undefined)
      throw new AntipodeError('USAGE', `the group has no rule "${missing}" to take away`, {
        details: { field: 'include' },
        hint: 'Give the rule exactly as `antipode group show` lists it.',
      });
    return [...new Set([...rules.filter((rule) => !without.includes(rule)), ...more])];
  };
  return {
    filter: filterOf({
      excludeId: after(inForce?.excludeIds, includeId, excludeId),
      excludeLabel: after(inForce?.excludeLabels, includeLabel, excludeLabel),
      excludeClass: after(inForce?.excludeClasses, includeClass, excludeClass),
      excludeIgnoreCase: excludeIgnoreCase ?? inForce?.ignoreCase ?? false,
    }),
  };
}

export function updateCommand(): Command {
  return withRuleOptions(
    operatorCommand('update', 'change the filter, the objectives, the schedules or the policy of a group', [
      'group update payments --rpo 60 --drill "0 3 * * 0"',
      'group update payments --exclude-label "local-*" --dry-run',
      'group update payments --include-label "local-*" --failover manual --yes',
    ]),
  )
    .argument('<group>', 'name')
    .option('--include-id <hex>', 'take the rule on this CKA_ID away', collect, [])
    .option('--include-label <pattern>', 'take the rule on this label pattern away', collect, [])
    .option('--include-class <class>', 'take the rule on this class away', collect, [])
    .option('--no-exclude-ignore-case', 'compare labels exactly')
    .option('--rpo <seconds>', 'recovery point objective; 0 for the default', wholeSecondsOrZero)
    .option('--drill <cron>', 'when to run drills, five fields, UTC')
    .option('--no-drill', 'run no drills by schedule')
    .option(
      '--scrub <seconds>',
      'read every partition completely at least this often; 0 for the default',
      wholeSecondsOrZero,
    )
    .option('--deleted-retention <days>', 'keep deleted objects sealed at least this long', days)
    .option('--loss-objects <count>', 'hold a capture that would lose more objects than this', count)
    .option(
      '--loss-percent <percent>',
      'and more than this share of all objects; both limits must be exceeded',
      percent,
    )
    .addOption(
      new Option('--failover <policy>', 'what to do when the active site is lost').choices(['manual', 'automatic']),
    )
    .addOption(new Option('--on-lease-lapse <reaction>', LEASE_LAPSE_HELP).choices(['keep-serving', 'stop-serving']))
    .addOption(new Option('--movement <way>', MOVEMENT_HELP).choices(MOVEMENTS))
    .option(
      '--archive-interval <seconds>',
      'back each vault up at least this often; 0 for the default',
      wholeSecondsOrZero,
    )
    .option('--archive-keep <count>', 'complete backups that stay in each vault', count)
    .addOption(
      new Option(
        '--prefer <site>',
        'a site that should become active before others with the same keys; repeatable, the best first',
      ).argParser((site: string, sites: readonly string[] | undefined) => [...(sites ?? []), site]),
    )
    .option('--no-prefer', 'prefer no site')
    .option('--dry-run', 'print the consequences; change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
    .addHelpText(
      'after',
      '\nRules are added with --exclude-..., and taken away with --include-.... Other settings stay as they are.\nObjects that a new rule excludes are deleted nowhere: they leave the group, and their copies stay where they are.',
    )
    .action(async (name, options) => {
      const out = output(options);
      await withOperator(
        options.config,
        async (operator) => {
          const { group } = await operator.getGroup({ group: name });
          const change = settingsOf(group!, options);
          const changed = await changeGroup(operator, { group: name, change, output: out }, options);
          if (options.dryRun) return;
          const state = changed ?? group!;
          out.data(state, () => memberTable(state));
        },
        { orders: options.dryRun ? undefined : 'ChangeGroup' },
      );
    });
}

const wholeSecondsOrZero = (text: string): number => (text === '0' ? 0 : wholeSeconds(text));
