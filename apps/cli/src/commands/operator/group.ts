import { FailoverPolicy, type GroupState, type MatchRulesResponse } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type Command, Option } from 'commander';
import { APPROVAL_OPTION, submitApprovals } from '../../approvals/approval-file.ts';
import { follow, type Operator, withOperator } from '../../operator-connection.ts';
import { deletionsOf } from '../../options/deletion-options.ts';
import { filterOf, ruleTable, ruleWarnings, withRuleOptions } from '../../options/filter-rules.ts';
import { LEASE_LAPSE_HELP, leaseLapseOf } from '../../options/lease-lapse.ts';
import { MOVEMENT_HELP, MOVEMENTS, movementOf } from '../../options/movement.ts';
import {
  ARCHIVE_HELP,
  collect,
  command,
  count,
  days,
  operatorCommand,
  percent,
  readCommand,
  seatFrom,
  seconds,
  TIMEOUT_S_DEFAULT,
  wholeSeconds,
} from '../../options/options.ts';
import { output } from '../../output.ts';
import { archiveTable } from '../../views/archive.ts';
import {
  approvalUseTable,
  disagreements,
  distributorText,
  domainKeyTable,
  groupTable,
  memberTable,
  movementText,
  notCarriedTable,
  uncapturedTable,
  worstFirst,
} from '../../views/group.ts';
import { pauseCommand, resumeCommand } from './automation.ts';
import {
  addMemberCommand,
  addWitnessCommand,
  deleteCommand,
  removeMemberCommand,
  removeWitnessCommand,
  setArchiveCommand,
  setScratchCommand,
} from './group-members.ts';
import { updateCommand } from './group-update.ts';
import { reseatCommand } from './reseat.ts';

/** The consequences of the number of members when a site is lost. */
export function remarksOn({ name, members }: { name: string; members: number }): string[] {
  if (members === 1)
    return [`Group ${name} has one member: its keys have no copy. If this member is lost, they are lost.`];
  if (members === 2)
    return [
      `Group ${name} has two members, so automatic failover is impossible: neither member can tell a lost site from a cut link.`,
      `If one is lost, a person decides: \`antipode failover ${name} --accept-loss\`. With a third member, failover can be automatic.`,
    ];
  return [];
}

const whereNames = ({ site }: { site: string }): string =>
  `Only site ${site} shows the names of these objects: antipode partition match <partition> --exclude-...`;

/** The objects that the rules of a group match. If the site does not answer, the rest of the group is shown. */
async function rulesOf(
  operator: Operator,
  { spec }: GroupState,
  { timeoutMs }: { timeoutMs: number },
): Promise<{ matched?: MatchRulesResponse; errorCode: string }> {
  const { excludeIds = [], excludeLabels = [], excludeClasses = [] } = spec?.filter ?? {};
  if (excludeIds.length + excludeLabels.length + excludeClasses.length === 0) return { errorCode: '' };
  try {
    return { matched: await operator.matchRules({ group: spec?.name ?? '' }, { timeoutMs }), errorCode: '' };
  } catch (thrown) {
    return { errorCode: AntipodeError.from(thrown).code };
  }
}

export function groupCommand(): Command {
  const group = command('group', 'replication groups');
  group.addCommand(
    withRuleOptions(
      operatorCommand('create', 'create a group, seat its members and bring them a domain key; safe to repeat', [
        'group create payments --member a=1f1eacf8d7be63f2 --member b=9aa08ea09924bb93 --member c=0c51... --scratch c=77aa... --failover automatic --drill "0 3 * * 0"',
        'group create payments --member a=1f1eacf8d7be63f2 --member b=9aa08ea09924bb93 --exclude-label "local-*" --dry-run',
      ]),
    )
      .argument('<group>', 'name')
      .option(...APPROVAL_OPTION)
      .requiredOption('--member <site=serial>', 'a partition that holds the keys; the first is active', collect)
      .option('--scratch <site=serial>', 'a partition for drills', collect, [])
      .option('--archive <site=serial>', ARCHIVE_HELP, collect, [])
      .option('--archive-interval <seconds>', 'back each vault up at least this often; by default weekly', wholeSeconds)
      .option('--archive-keep <count>', 'complete backups that stay in each vault; by default 3', count)
      .option(
        '--distributor <site=serial>',
        'a partition that brings domain keys and is not a member; every site must trust it first',
      )
      .option(
        '--witness <site>',
        'a site that only votes and watches; repeatable. Automatic failover needs three sites that vote',
        collect,
        [],
      )
      .option(
        '--prefer <site>',
        'a site that should become active before others with the same keys; repeatable, the best first',
        collect,
        [],
      )
      .option(
        '--rpo <seconds>',
        'recovery point objective: how old the state of a standby may become; by default 300',
        wholeSeconds,
      )
      .option('--drill <cron>', 'when to run drills, five fields, UTC')
      .option(
        '--scrub <seconds>',
        'read every partition completely at least this often; by default a week',
        wholeSeconds,
      )
      .option('--deleted-retention <days>', 'keep deleted objects sealed at least this long; by default 30 days', days)
      .option(
        '--loss-objects <count>',
        'hold a capture that would lose more objects than this, or replace more keys under their names; by default 5',
        count,
      )
      .option(
        '--loss-percent <percent>',
        'and more than this share of all objects; both limits must be exceeded; by default 10',
        percent,
      )
      .addOption(
        new Option('--failover <policy>', 'what to do when the active site is lost')
          .choices(['manual', 'automatic'])
          .default('manual'),
      )
      .addOption(
        new Option('--on-lease-lapse <reaction>', LEASE_LAPSE_HELP)
          .choices(['keep-serving', 'stop-serving'])
          .default('keep-serving'),
      )
      .addOption(new Option('--movement <way>', MOVEMENT_HELP).choices(MOVEMENTS).default('sealed'))
      .option('--dry-run', 'check the declaration and list what each rule matches at the active site; change nothing')
      .option('--timeout <seconds>', 'how long to wait for the domain key', seconds, TIMEOUT_S_DEFAULT)
      .action(async (name, options) => {
        const out = output(options);
        const members = options.member.map(seatFrom);
        const scratch = options.scratch.map(seatFrom);
        for (const remark of remarksOn({ name, members: members.length })) out.note(remark);
        await withOperator(options.config, async (operator) => {
          const spec = {
            name,
            members,
            scratch,
            archives: options.archive.map(seatFrom),
            archiveSeconds: options.archiveInterval ?? 0,
            archiveKeep: options.archiveKeep ?? 0,
            ...(options.distributor === undefined ? {} : { distributor: seatFrom(options.distributor) }),
            witnessSites: options.witness,
            prefer: options.prefer,
            filter: filterOf(options),
            rpoSeconds: options.rpo ?? 0,
            drillCron: options.drill ?? '',
            scrubSeconds: options.scrub ?? 0,
            failoverPolicy: options.failover === 'automatic' ? FailoverPolicy.AUTOMATIC : FailoverPolicy.MANUAL,
            onLeaseLapse: leaseLapseOf(options.onLeaseLapse),
            movement: movementOf(options.movement),
            ...deletionsOf(options, undefined),
          };
          const hasRules = [options.excludeId, options.excludeLabel, options.excludeClass].some(({ length }) => length);
          if (hasRules || options.dryRun) {
            const matched = await operator.matchRules({ group: '', spec });
            for (const warning of ruleWarnings(matched.rules)) out.note(warning);
            if (options.dryRun) {
              out.data(
                matched,
                () => `${ruleTable(matched)}\n\n${whereNames(matched)}\nNothing was changed (--dry-run).`,
              );
              return;
            }
          }
          await submitApprovals(operator, options.approval);
          const { operationId } = await operator.createGroup({ spec });
          if (operationId === '') out.note(`Group ${name} is already declared like this. Nothing to do.`);
          else await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
          const { group: state } = await operator.getGroup({ group: name });
          out.data(state, () => memberTable(state!));
        });
      }),
  );
  group.addCommand(
    readCommand('list', 'list groups, the worst first', ['group list', 'group list --json']).action(async (options) => {
      const { groups } = await withOperator(options.config, (operator) => operator.listGroups({}), {
        timeoutMs: options.timeout * 1_000,
      });
      output(options).data(worstFirst(groups), () => groupTable(groups));
    }),
  );
  group.addCommand(
    readCommand('show', 'show one group', ['group show payments'])
      .argument('<group>', 'name')
      .action(async (name, options) => {
        const out = output(options);
        const timeoutMs = options.timeout * 1_000;
        const show = async (operator: Operator): Promise<void> => {
          const { group: state } = await operator.getGroup({ group: name });
          // A partition that is busy or away must not hide the rest.
          const rules = await rulesOf(operator, state!, { timeoutMs: timeoutMs / 2 });
          for (const warning of ruleWarnings(rules.matched?.rules ?? [])) out.note(warning);
          out.data({ ...state, rules: rules.matched?.rules ?? null, rulesErrorCode: rules.errorCode }, () => {
            const movement = movementText(state!);
            const listed = rules.matched === undefined ? '' : `\n\nNever leaves its site:\n${ruleTable(rules.matched)}`;
            const trouble =
              rules.errorCode === ''
                ? ''
                : `\n\nThe active site did not report what the rules match (${rules.errorCode}).`;
            return `${groupTable([state!])}\n\n${memberTable(state!)}${state?.spec?.distributor === undefined ? '' : `\n\n${distributorText(state)}`}${movement === undefined ? '' : `\n\n${movement}`}${state!.archives.length === 0 ? '' : `\n\n${archiveTable(state!.archives)}`}${disagreements(state!)}${domainKeyTable(state!)}${listed}${trouble}${uncapturedTable(state!)}${notCarriedTable(state!)}${approvalUseTable(state!)}`;
          });
        };
        await withOperator(options.config, show, { timeoutMs });
      }),
  );
  group.addCommand(
    operatorCommand(
      'rotate-domain-key',
      'bring a new version of the domain key to every member; needed after a new partition was trusted',
      ['group rotate-domain-key payments'],
    )
      .option(...APPROVAL_OPTION)
      .argument('<group>', 'name')
      .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
      .action(async (name, options) => {
        const out = output(options);
        await withOperator(options.config, async (operator) => {
          await submitApprovals(operator, options.approval);
          const { operationId } = await operator.rotateDomainKey({ group: name });
          const operation = await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
          out.data(operation, () => `group ${name} has a new domain key; the next capture seals everything again`);
        });
      }),
  );
  group.addCommand(
    operatorCommand('set-distributor', 'name another partition that brings domain keys, after the old one was lost', [
      'group set-distributor payments --distributor e=5d7c22aa90b1c3f4',
      'group set-distributor payments --none',
    ])
      .argument('<group>', 'name')
      .option('--distributor <site=serial>', 'the partition, which must not be a member')
      .option('--none', 'the active member makes domain keys again')
      .addHelpText(
        'after',
        '\nThe sites decide. A site takes domain keys from the distributors that it trusts, and from members only if it trusts no\ndistributor. Trust the new one at every site first (`antipode peer trust --distributor-peer`), and take back\nthe trust in the old one (`antipode peer distrust`). Only rotations and enrolments depend on it.',
      )
      .action(async (name, options) => {
        if ((options.distributor === undefined) !== (options.none === true))
          throw new AntipodeError('USAGE', 'expected either --distributor or --none', {
            details: { field: 'distributor' },
          });
        const seat = options.distributor === undefined ? {} : { distributor: seatFrom(options.distributor) };
        const { group: state } = await withOperator(options.config, (operator) =>
          operator.setDistributor({ group: name, ...seat }),
        );
        output(options).data(state, () => distributorText(state!));
      }),
  );
  group.addCommand(updateCommand());
  group.addCommand(addMemberCommand());
  group.addCommand(removeMemberCommand());
  group.addCommand(addWitnessCommand());
  group.addCommand(removeWitnessCommand());
  group.addCommand(pauseCommand());
  group.addCommand(resumeCommand());
  group.addCommand(setScratchCommand());
  group.addCommand(setArchiveCommand());
  group.addCommand(deleteCommand());
  group.addCommand(reseatCommand());
  return group;
}
