/** `antipode group pause` and `antipode group resume`. */
import { PAUSE_MEANING, RESUME_MEANING } from '@antipode/operator';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { withOperator } from '../../operator-connection.ts';
import { operatorCommand } from '../../options/options.ts';
import { output } from '../../output.ts';

/** The group that the request names; empty for all. @throws USAGE for neither a group nor --all, and for both */
export function groupOf(name: string | undefined, all: boolean | undefined): string {
  if ((name === undefined) !== (all === true))
    throw new AntipodeError('USAGE', 'expected either a group or --all', { details: { field: 'group' } });
  return name ?? '';
}

export function pauseCommand(): Command {
  return operatorCommand('pause', 'stop the automation of a group or of all groups, for a maintenance', [
    'group pause payments --reason "new firmware at site a"',
    'group pause --all',
  ])
    .argument('[group]', 'name')
    .option('--all', 'every group that exists now')
    .option('--reason <text>', 'for the next person who looks; never the label of a key', '')
    .addHelpText('after', `\n${PAUSE_MEANING.join('\n')}`)
    .action(async (name, options) => {
      const group = groupOf(name, options.all);
      const { groups } = await withOperator(options.config, (operator) =>
        operator.pauseAutomation({ group, reason: options.reason }),
      );
      output(options).data({ paused: groups }, () => `automation is paused: ${groups.join(', ') || 'no group exists'}`);
    });
}

export function resumeCommand(): Command {
  return operatorCommand('resume', 'end a pause, and the wait after the last automatic failover', [
    'group resume payments',
    'group resume --all',
  ])
    .argument('[group]', 'name')
    .option('--all', 'every group')
    .addHelpText('after', `\n${RESUME_MEANING.join('\n')}`)
    .action(async (name, options) => {
      const group = groupOf(name, options.all);
      const { groups } = await withOperator(options.config, (operator) => operator.resumeAutomation({ group }));
      output(options).data({ resumed: groups }, () => `automation goes on: ${groups.join(', ') || 'no group exists'}`);
    });
}
