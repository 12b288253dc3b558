import type { PlanReseatResponse } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { APPROVAL_OPTION, submitApprovals } from '../../approvals/approval-file.ts';
import { confirm } from '../../confirm.ts';
import { follow, withOperator } from '../../operator-connection.ts';
import { operatorCommand, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { reseated } from '../../outcomes.ts';
import { output, table } from '../../output.ts';

/** The report of each member about itself. */
export function accountTable({ accounts, databaseActiveSite, databaseEpoch }: PlanReseatResponse): string {
  return table(
    ['SOURCE', 'ROLE', 'EPOCH', 'EPOCH OWNER', 'NEWEST GENERATION', 'QUARANTINE'],
    [
      ...accounts.map(({ site, reachable, role, epoch, epochOwner, newest, quarantine }) =>
        reachable
          ? [
              `journal of ${site}`,
              role,
              String(epoch),
              epochOwner || '-',
              newest === undefined ? '-' : `${newest.generation} of epoch ${newest.epoch}`,
              quarantine || '-',
            ]
          : [`journal of ${site}`, 'no answer', '-', '-', '-', '-'],
      ),
      ['database', '-', String(databaseEpoch), databaseActiveSite || '-', '-', '-'],
    ],
  );
}

/** The consequences of a reseat, for the person who is about to order it. */
export function reseatConsequences(group: string, plan: PlanReseatResponse): string[] {
  const { activeSite, epoch, accounts, contradiction, doubts } = plan;
  const silent = accounts.filter(({ reachable }) => !reachable).map(({ site }) => site);
  const quarantined = accounts.filter(({ quarantine }) => quarantine !== '').map(({ site }) => site);
  const mended = `Site ${quarantined.join(', ')} takes the newest generation that it is known to have held, and leaves the quarantine.`;
  if (contradiction === '') return [mended];
  if (activeSite === '')
    return [
      `No journal says that its site is active. The database records epoch ${epoch}. A failover to the most advanced standby follows at once.`,
    ];
  return [
    ...doubts.map((doubt) => `${doubt} Look at that site before you go on.`),
    `Group ${group} gets epoch ${epoch}, and site ${activeSite} is its active member. Every other member becomes a standby and applies what ${activeSite} captures next.`,
    `Generations that another site captured in its own tenure, and ${activeSite} does not have, are lost to service. Their objects stay in that site's partition as divergent.`,
    `Keys that applications made at another site, and that no generation of ${activeSite} has, are not at ${activeSite}.`,
    ...(quarantined.length === 0 ? [] : [mended]),
    ...(silent.length === 0
      ? []
      : [
          `Site ${silent.join(', ')} does not answer. It is fenced, and rejoins when it is back. The reseat waits until its last lease has ended.`,
        ]),
  ];
}

export function reseatCommand(): Command {
  return operatorCommand('reseat', 'reseat a group by the journals of its agents, if they contradict the database', [
    'group reseat payments --dry-run',
    'group reseat payments',
    'group reseat payments --active b --yes',
  ])
    .option(...APPROVAL_OPTION)
    .argument('<group>', 'replication group')
    .option('--active <site>', 'the site to make active; by default the one that the journals name', '')
    .option('--dry-run', 'print what would happen; change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
    .action(async (group, options) => {
      const out = output(options);
      await withOperator(
        options.config,
        async (operator) => {
          const plan = await operator.planReseat({ group, activeSite: options.active });
          out.note(accountTable(plan));
          if (plan.contradiction !== '') out.note(`\n${plan.contradiction}.`);
          if (plan.obstacle !== '') throw new AntipodeError('RESEAT_REFUSED', plan.obstacle, { details: { group } });
          for (const line of reseatConsequences(group, plan)) out.note(line);
          if (options.dryRun) {
            out.data(plan, () => 'Nothing was changed (--dry-run).');
            return;
          }
          if (!options.yes) await confirm(group);
          await submitApprovals(operator, options.approval);
          const { operationId } = await operator.reseatGroup({
            group,
            activeSite: plan.contradiction === '' ? '' : plan.activeSite,
          });
          const operation = await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
          const result = reseated(operation);
          for (const { site, code } of result.leftAside) out.note(`site ${site} could not be seated: ${code}`);
          out.data(result, () =>
            result.activeSite === ''
              ? `group ${group} is in epoch ${result.epoch} and has no active member: a failover follows`
              : `site ${result.activeSite} is active in epoch ${result.epoch}; seated: ${result.seated.join(', ')}`,
          );
        },
        { orders: options.dryRun ? undefined : 'ReseatGroup' },
      );
    });
}
