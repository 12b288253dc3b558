import type { Command } from 'commander';
import { command } from '../../options/options.ts';
import { captureCommand } from './capture.ts';
import { preflightCommand } from './preflight.ts';

export function lunaCommand(): Command {
  const luna = command('luna', 'read Thales Luna devices through `lunacm`, beside it; no members on Luna yet');
  luna.addCommand(captureCommand());
  luna.addCommand(preflightCommand());
  return luna;
}
