import type { Command } from 'commander';
import { APPROVAL_OPTION } from '../../approvals/approval-file.ts';
import { EXIT } from '../../exit-codes.ts';
import { operatorCommand, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { moveGroup } from './move-group.ts';

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
    .addHelpText(
      'after',
      `\nIf the active site answers, the target first catches up with it, and nothing is lost. To move a group only in that\ncase, use \`antipode switchover\`.\nIf the target is lost on the way, the next best site is promoted. The command then warns, and ends\nwith ${EXIT.degraded} if --to named another.`,
    )
    .action((group, options) => moveGroup(group, options));
}
