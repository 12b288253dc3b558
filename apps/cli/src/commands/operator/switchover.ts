/** The planned move of a group: nothing is lost, or nothing is changed. */

import type { Operation } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { APPROVAL_OPTION } from '../../approvals/approval-file.ts';
import { EXIT } from '../../exit-codes.ts';
import { type Operator, withOperator } from '../../operator-connection.ts';
import { deadlineSeconds, operatorCommand, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { output } from '../../output.ts';
import { moveGroup } from './move-group.ts';

/** @throws NOT_FOUND if none is under way, FAILOVER_REFUSED once its epoch is issued */
export async function cancelSwitchover(
  operator: Pick<Operator, 'listOperations' | 'cancelOperation'>,
  group: string,
): Promise<{ operation: string; phase: string }> {
  const { operations } = await operator.listOperations({ group, limit: 0 });
  const open = operations.find(({ kind, status }) => kind === 'failover' && (status === 'open' || status === 'parked'));
  if (open === undefined || !isPlanned(open))
    throw new AntipodeError('NOT_FOUND', `no switchover of group ${group} is under way`, {
      details: { group },
      hint:
        open === undefined
          ? `Run \`antipode status\` to see where group ${group} is active now.`
          : `A failover is under way (operation ${open.id.slice(0, 8)}). To end that, run \`antipode operation cancel ${open.id.slice(0, 8)}\`.`,
    });
  await operator.cancelOperation({ operationId: open.id });
  return { operation: open.id, phase: open.phase };
}

/** A failover is needed, and never meant by somebody who takes a planned move back. */
const isPlanned = ({ result }: Pick<Operation, 'result'>): boolean =>
  (JSON.parse(result) as { planned?: boolean }).planned === true;

/** With one of them, `--cancel` would not do what the command says. @throws USAGE */
export function refuseBesideCancel(options: Readonly<Record<string, unknown>>): void {
  const beside = ['to', 'deadline', 'dryRun', 'ignoreVetoes', 'approval'].find((name) => {
    const value = options[name];
    return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== '' && value !== false;
  });
  if (beside === undefined) return;
  const option = `--${beside.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  throw new AntipodeError('USAGE', `--cancel and ${option} exclude each other; nothing was changed`, {
    details: { field: beside },
    hint: 'To end the switchover that is under way, give --cancel alone.',
  });
}

export function switchoverCommand(): Command {
  return operatorCommand(
    'switchover',
    'move a group to another site as planned: nothing is lost, or nothing is changed',
    [
      'switchover payments --to a --dry-run',
      'switchover payments --to a --deadline 60',
      'switchover payments --cancel',
    ],
  )
    .option(...APPROVAL_OPTION)
    .argument('<group>', 'replication group')
    .option('--to <site>', 'the new active site; by default the best standby', '')
    .option('--deadline <seconds>', 'change nothing if the target is not ready by then', deadlineSeconds)
    .option('--cancel', 'end the switchover that is under way, if nothing was changed yet')
    .option('--ignore-vetoes', 'move the group although a hook of the coordinator says no')
    .option('--dry-run', 'print what would happen; change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
    .addHelpText(
      'after',
      `\nThe target catches up with the active site and proves every key while that still serves. Then the old site is\nfenced and the target is promoted. It is refused if the active site does not answer: see \`antipode failover\`.\nFrom the moment when the epoch is issued, the move goes on to its end, and --cancel is refused.\nIf the target is lost after that, the next best site is promoted. The command then warns, and ends\nwith ${EXIT.degraded} if --to named another.`,
    )
    .action(async (group, options) => {
      const { cancel, ...rest } = options;
      if (!cancel) return moveGroup(group, { ...rest, planned: true });
      refuseBesideCancel(rest);
      const out = output(options);
      await withOperator(options.config, async (operator) => {
        const ended = await cancelSwitchover(operator, group);
        out.data(ended, () => `The switchover was cancelled in phase ${ended.phase}. Nothing was changed.`);
      });
    });
}
