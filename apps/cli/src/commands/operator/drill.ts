import type { DrillRecord } from '@antipode/protocol';
import type { Command } from 'commander';
import { follow, withOperator } from '../../operator-connection.ts';
import { command, count, operatorCommand, readCommand, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { duration, output, table } from '../../output.ts';

function drillTable(drills: readonly DrillRecord[]): string {
  return table(
    ['STARTED', 'GROUP', 'SITE', 'GENERATION', 'RESULT', 'PROVED', 'FAILED', 'RECOVERY TIME', 'ID'],
    drills.map((drill) => [
      new Date(Number(drill.startedMs)).toISOString(),
      drill.group,
      drill.vault === '' ? drill.site : `${drill.site} (vault ${drill.vault})`,
      String(drill.generation),
      drill.passed ? 'passed' : drill.errorCode,
      String(drill.proof?.proved ?? 0),
      String(drill.proof?.failed ?? 0),
      duration(drill.recoveryTimeMs),
      drill.id.slice(0, 8),
    ]),
  );
}

export function drillCommand(): Command {
  const drill = command('drill', 'rehearsed restores into scratch partitions, with a proof for each key');
  drill.addCommand(
    operatorCommand('run', 'restore the newest acknowledged generation into a scratch partition and prove every key', [
      'drill run payments',
      'drill run payments --site c',
    ])
      .argument('<group>', 'replication group')
      .option('--site <site>', 'the site to run it at; by default any with a scratch partition', '')
      .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
      .action(async (group, options) => {
        const out = output(options);
        await withOperator(options.config, async (operator) => {
          const { operationId } = await operator.runDrill({ group, site: options.site });
          await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
          const { drills } = await operator.listDrills({ group, limit: 0 });
          const own = drills.filter(({ id }) => id === operationId);
          out.data(own[0], () => drillTable(own));
        });
      }),
  );
  drill.addCommand(
    readCommand('list', 'list drills, newest first; --json includes the signed evidence', [
      'drill list',
      'drill list payments --limit 10 --json',
    ])
      .argument('[group]', 'replication group; by default all', '')
      .option('--limit <count>', 'how many at most', count, 50)
      .action(async (group, options) => {
        const { drills } = await withOperator(
          options.config,
          (operator) => operator.listDrills({ group, limit: options.limit }),
          { timeoutMs: options.timeout * 1_000 },
        );
        output(options).data(drills, () => drillTable(drills));
      }),
  );
  return drill;
}
