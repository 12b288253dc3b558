import type { Command } from 'commander';
import { command } from '../../options/options.ts';
import { joinCommand } from './join.ts';
import { tokenCommand } from './token.ts';

export function siteCommand(): Command {
  return command('site', 'bring machines into the system: tokens, and joining with one')
    .addCommand(tokenCommand())
    .addCommand(joinCommand());
}
