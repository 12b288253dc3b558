import type { Command } from 'commander';
import { withOperator } from '../operator.ts';
import { output, table } from '../output.ts';
import { operatorCommand } from './common.ts';

export function resolveCommand(): Command {
  return operatorCommand('resolve', 'where a client of the group must go now', [
    'resolve payments',
    'resolve payments --json',
  ])
    .argument('<group>', 'replication group')
    .action(async (group, options) => {
      const place = await withOperator(options.config, (operator) => operator.resolve({ group }));
      output(options).data(place, () =>
        table(
          ['SITE', 'MODULE', 'TOKEN LABEL', 'SERIAL', 'EPOCH'],
          [[place.site, place.module, place.tokenLabel, place.serial, String(place.epoch)]],
        ),
      );
    });
}
