import type { GenerationRef, NeededApproval, PlanFailoverResponse } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { APPROVAL_OPTION, submitApprovals } from '../../approvals/approval-file.ts';
import { confirm } from '../../confirm.ts';
import { follow, withOperator } from '../../operator-connection.ts';
import { operatorCommand, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { failedOver } from '../../outcomes.ts';
import { duration, output } from '../../output.ts';

/** The consequences of a failover, for the person who is about to order it. */
export function consequences(group: string, plan: PlanFailoverResponse): string[] {
  const { fromSite, toSite, targetGeneration, lostGenerations, leaseWaitMs, catchesUp, namesakeObjects } = plan;
  return [
    `Group ${group} moves ${fromSite === '' ? '' : `from ${fromSite} `}to ${toSite}. The newest generation of ${toSite} is ${targetGeneration?.generation ?? 'none'}.`,
    catchesUp
      ? `Site ${toSite} first catches up with ${fromSite} and proves every key. If it cannot, nothing is changed.`
      : lostGenerations.length === 0
        ? `No generation is lost. Keys made since the last capture are in no generation, so ${toSite} does not have them.`
        : `Lost to service: generations ${lostGenerations.join(', ')}. Their objects stay at ${fromSite || 'the site that captured them'}, and come back as divergent objects.`,
    ...(fromSite === ''
      ? []
      : [
          `Site ${fromSite} is fenced: it captures nothing more, and comes back as a standby. Its applications are not stopped: move them to ${toSite} (\`antipode resolve ${group}\`).`,
        ]),
    ...(namesakeObjects > 0
      ? [
          `The token of ${toSite} holds ${namesakeObjects} other objects with the label or CKA_ID of a key of the group. A program can find those instead of the keys. Look for them there, for example with \`pkcs11-tool --list-objects\`.`,
        ]
      : []),
    ...(leaseWaitMs > 0n
      ? [
          `The failover waits ${duration(leaseWaitMs)}, until the lease of ${fromSite || 'the former active site'} has ended.`,
        ]
      : []),
  ];
}

/** Exactly the generations that were shown. Any other loss comes back to the operator for a new decision. */
export function acceptedLosses(
  { losses }: Pick<PlanFailoverResponse, 'losses'>,
  { acceptLoss = false }: { acceptLoss?: boolean | undefined },
): GenerationRef[] {
  return acceptLoss ? losses : [];
}

/** A group of two needs it even if nothing is lost: then it only replaces a vote. */
export function meaningOfAcceptance({ losses }: Pick<PlanFailoverResponse, 'losses'>): string {
  return losses.length === 0
    ? 'It replaces the vote of the site that cannot be reached. No generation is lost.'
    : 'It accepts the loss of the generations named here, and of no others.';
}

/** The command that asks for exactly the approval that is missing. The epoch and the two after it are for further targets. */
export function approvalCommand(
  group: string,
  { site, serial, epoch, loses, silentSites, required }: NeededApproval,
): string {
  return [
    `antipode approve request failover ${group} --partition ${site}=${serial} --epochs ${epoch}-${epoch + 2n}`,
    ...(loses > 0n ? [`--loses ${loses}`] : []),
    ...silentSites.map((silent) => `--without-hearing ${silent}`),
    `--required ${required} --reason TEXT --as NAME --key KEY --out FILE`,
  ].join(' ');
}

/**
 * @throws FAILOVER_REFUSED if an obstacle remains even when every loss is accepted, except that of a majority;
 * APPROVAL_REQUIRED if the target guards the group
 */
export function refuseObstacle(
  group: string,
  { obstacle, neededApproval }: Pick<PlanFailoverResponse, 'obstacle' | 'neededApproval'>,
): void {
  if (obstacle === '') return;
  if (neededApproval !== undefined)
    throw new AntipodeError('APPROVAL_REQUIRED', obstacle, {
      details: { group, site: neededApproval.site },
      hint: `Run \`${approvalCommand(group, neededApproval)}\`, have ${neededApproval.required} other operators sign the file, and repeat the command with --approval FILE. Nothing was changed.`,
    });
  throw new AntipodeError('FAILOVER_REFUSED', obstacle, {
    details: { group },
    hint: 'Run `antipode status` to see which sites and partitions cannot be used, and why. Repair that, or name another site with --to. Accepting a loss does not help here. Nothing was changed.',
  });
}

export function failoverCommand(): Command {
  return operatorCommand('failover', 'make a standby the active member', [
    'failover payments --dry-run',
    'failover payments --to b',
    'failover payments --accept-loss --yes',
  ])
    .option(...APPROVAL_OPTION)
    .argument('<group>', 'replication group')
    .option('--to <site>', 'the new active site; by default the most advanced standby', '')
    .option('--accept-loss', 'promote even if generations are lost to service')
    .option('--ignore-vetoes', 'move the group although a hook of the coordinator says no')
    .option('--dry-run', 'print what would happen; change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
    .action(async (group, options) => {
      const out = output(options);
      await withOperator(options.config, async (operator) => {
        await submitApprovals(operator, options.dryRun ? [] : options.approval);
        const plan = await operator.planFailover({ group, toSite: options.to });
        refuseObstacle(group, plan);
        for (const line of consequences(group, plan)) out.note(line);
        if (plan.needsAcceptLoss) out.note(`This needs --accept-loss. ${meaningOfAcceptance(plan)}`);
        if (options.dryRun) {
          out.data(plan, () => 'Nothing was changed (--dry-run).');
          return;
        }
        if (plan.needsAcceptLoss && !options.acceptLoss)
          throw new AntipodeError(
            'FAILOVER_REFUSED',
            `the failover of group ${group} to ${plan.toSite} needs --accept-loss, which was not given; nothing was changed`,
            {
              details: { group },
              hint: `Read above what the failover would do. To accept that, repeat the command with --accept-loss. ${meaningOfAcceptance(plan)}`,
            },
          );
        if (!options.yes) await confirm(group);
        const { operationId, replacedOperationId } = await operator.failover({
          group,
          // The one that was shown: another would be another consequence.
          toSite: plan.toSite === plan.fromSite ? options.to : plan.toSite,
          acceptLoss: options.acceptLoss === true,
          acceptedLosses: acceptedLosses(plan, options),
          ignoreVetoes: options.ignoreVetoes === true,
        });
        if (replacedOperationId !== '')
          out.note(`This replaces the failover that was under way (operation ${replacedOperationId.slice(0, 8)}).`);
        const operation = await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
        const result = failedOver(operation);
        out.data(
          result,
          () =>
            `site ${result.to} is active in epoch ${result.epoch} after ${duration(result.recoveryTimeMs)}; ${result.proved} objects proved`,
        );
      });
    });
}
