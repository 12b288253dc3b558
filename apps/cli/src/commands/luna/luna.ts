import type { Command } from 'commander';
import { command } from '../../options/options.ts';
import { captureCommand } from './capture.ts';
import { preflightCommand } from './preflight.ts';
import { prepareVaultCommand } from './prepare-vault.ts';

export function lunaCommand(): Command {
  const luna = command('luna', 'Thales Luna devices through `lunacm`: read them, and take a Backup HSM into use');
  luna.addCommand(captureCommand());
  luna.addCommand(preflightCommand());
  luna.addCommand(prepareVaultCommand());
  return luna;
}
