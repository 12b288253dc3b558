import type { Command } from 'commander';
import { command } from '../../options/options.ts';
import { requestCommand } from './request.ts';
import { publicKeyCommand, showCommand, signCommand, verifyCommand } from './sign.ts';
import { listCommand, submitCommand } from './submit.ts';

export function approveCommand(): Command {
  const approve = command('approve', 'approvals of several operators, for actions that agents guard');
  for (const one of [
    requestCommand(),
    showCommand(),
    signCommand(),
    verifyCommand(),
    publicKeyCommand(),
    submitCommand(),
    listCommand(),
  ])
    approve.addCommand(one);
  return approve;
}
