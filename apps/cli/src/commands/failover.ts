import { createInterface } from 'node:readline/promises';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { follow, withOperator } from '../operator.ts';
import { duration, output } from '../output.ts';
import { operatorCommand, seconds, TIMEOUT_S_DEFAULT } from './common.ts';

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
        const lost = plan.lostGenerations.map(String);
        if (plan.obstacle !== '') throw new AntipodeError('FAILOVER_REFUSED', plan.obstacle, { details: { group } });
        out.note(
          `Group ${group} moves from ${plan.fromSite || 'nobody'} to ${plan.toSite}, which has generation ${plan.targetGeneration?.generation ?? 'none'}.`,
        );
        out.note(
          lost.length === 0
            ? 'Nothing that was captured is lost.'
            : `Lost to service: generations ${lost.join(', ')}. They stay at ${plan.fromSite} and come back as divergent objects.`,
        );
        if (plan.leaseWaitMs > 0n)
          out.note(`Its lease runs for another ${duration(plan.leaseWaitMs)}, which is waited out.`);
        if (options.dryRun) {
          out.data(plan, () => 'Nothing was changed (--dry-run).');
          return;
        }
        if (lost.length > 0 && !options.acceptLoss)
          throw new AntipodeError('FAILOVER_REFUSED', `generations ${lost.join(', ')} would be lost to service`, {
            details: { group },
          });
        if (!options.yes) await confirm(group);
        const { operationId } = await operator.failover({
          group,
          toSite: options.to,
          acceptLoss: options.acceptLoss === true,
        });
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

async function confirm(group: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new AntipodeError('USAGE', 'no terminal to confirm at: add --yes', { details: { field: 'yes' } });
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`Type the name of the group to go on: `);
    if (answer !== group)
      throw new AntipodeError('USAGE', 'not confirmed; nothing was changed', { details: { field: 'confirm' } });
  } finally {
    prompt.close();
  }
}
