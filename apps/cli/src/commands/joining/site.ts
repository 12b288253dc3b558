import type { Command } from 'commander';
import { command } from '../../options/options.ts';
import { forgetCommand, readmitCommand } from './forget.ts';
import { joinCommand } from './join.ts';
import { tokenCommand } from './token.ts';

export function siteCommand(): Command {
  return command('site', 'bring machines into the system and retire them: tokens, joining with one, forgetting a site')
    .addCommand(tokenCommand())
    .addCommand(joinCommand())
    .addCommand(forgetCommand())
    .addCommand(readmitCommand());
}
