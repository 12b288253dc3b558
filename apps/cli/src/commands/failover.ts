import type { GenerationRef, PlanFailoverResponse } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { operatorCommand, seconds, TIMEOUT_S_DEFAULT } from '../common.ts';
import { confirm } from '../confirm.ts';
import { follow, withOperator } from '../operator.ts';
import { duration, output } from '../output.ts';

/** What the failover will do, for the person who is about to order it. */
export function consequences(group: string, plan: PlanFailoverResponse): string[] {
  const { fromSite, toSite, targetGeneration, lostGenerations, leaseWaitMs, catchesUp, namesakeObjects } = plan;
  return [
    `Group ${group} moves from ${fromSite || 'nobody'} to ${toSite}, which has generation ${targetGeneration?.generation ?? 'none'}.`,
    catchesUp
      ? `Site ${toSite} first catches up with ${fromSite} and proves every key; if it cannot, nothing is changed.`
      : lostGenerations.length === 0
        ? 'No generation is lost. Keys made since the last capture are in none.'
        : `Lost to service: generations ${lostGenerations.join(', ')}. They stay at ${fromSite} and come back as divergent objects.`,
    ...(fromSite === ''
      ? []
      : [
          `Site ${fromSite} is fenced: it captures nothing more, and comes back as a standby. Applications there are not stopped: move them to ${toSite} (\`antipode resolve ${group}\`).`,
        ]),
    ...(namesakeObjects > 0
      ? [
          `In the token of ${toSite} ${namesakeObjects} objects of others bear names of the group's keys: a program may find those instead. See the log of its agent.`,
        ]
      : []),
    ...(leaseWaitMs > 0n ? [`Its lease runs for another ${duration(leaseWaitMs)}, which is waited out.`] : []),
  ];
}

/** The very generations that were shown. What is lost beside them comes back to the operator. */
export function acceptedLosses(
  { losses }: Pick<PlanFailoverResponse, 'losses'>,
  { acceptLoss = false }: { acceptLoss?: boolean | undefined },
): GenerationRef[] {
  return acceptLoss ? losses : [];
}

/** @throws FAILOVER_REFUSED for what stands in the way although every loss would be accepted, but for that of a majority */
export function refuseObstacle(group: string, { obstacle }: Pick<PlanFailoverResponse, 'obstacle'>): void {
  if (obstacle === '') return;
  throw new AntipodeError('FAILOVER_REFUSED', obstacle, {
    details: { group },
    hint: 'Nothing was changed, and accepting a loss does not help here. `antipode status` says which sites and partitions cannot be used, and why: mend that, or name another site with --to.',
  });
}

export function failoverCommand(): Command {
  return operatorCommand('failover', 'make a standby the active member', [
    'failover payments --dry-run',
    'failover payments --to b',
    'failover payments --accept-loss --yes',
  ])
    .argument('<group>', 'replication group')
    .option('--to <site>', 'the new active site; the most advanced standby by default', '')
    .option('--accept-loss', 'promote although generations would be lost to service')
    .option('--dry-run', 'say what would happen, and change nothing')
    .option('--yes', 'do not ask')
    .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
    .action(async (group, options) => {
      const out = output(options);
      await withOperator(options.config, async (operator) => {
        const plan = await operator.planFailover({ group, toSite: options.to });
        refuseObstacle(group, plan);
        for (const line of consequences(group, plan)) out.note(line);
        if (plan.needsAcceptLoss)
          out.note('This needs --accept-loss, which accepts the loss of what is named here and of nothing else.');
        if (options.dryRun) {
          out.data(plan, () => 'Nothing was changed (--dry-run).');
          return;
        }
        if (plan.needsAcceptLoss && !options.acceptLoss)
          throw new AntipodeError(
            'FAILOVER_REFUSED',
            'what the lost site alone had would be lost to service; --accept-loss goes on all the same',
            { details: { group } },
          );
        if (!options.yes) await confirm(group);
        const { operationId, replacedOperationId } = await operator.failover({
          group,
          // The one that was shown: another would be another consequence.
          toSite: plan.toSite === plan.fromSite ? options.to : plan.toSite,
          acceptLoss: options.acceptLoss === true,
          acceptedLosses: acceptedLosses(plan, options),
        });
        if (replacedOperationId !== '')
          out.note(`This replaces the failover that was under way (operation ${replacedOperationId.slice(0, 8)}).`);
        const operation = await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
        const result = JSON.parse(operation.result) as {
          to: string;
          epoch: number;
          recoveryTimeMs: number;
          proved: number;
        };
        out.data(
          result,
          () =>
            `site ${result.to} is active in epoch ${result.epoch} after ${duration(result.recoveryTimeMs)}; ${result.proved} objects proved`,
        );
      });
    });
}
