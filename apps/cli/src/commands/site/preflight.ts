import { loadAgentConfig } from '@antipode/site-agent';
import type { Command } from 'commander';
import { EXIT } from '../../exit-codes.ts';
import { command, JSON_OPTION } from '../../options/options.ts';
import { output, table } from '../../output.ts';

export function preflightCommand(): Command {
  return command('preflight', 'judge every copy, backup and drill that the devices of this site make for a group', [
    'preflight payments --config site-a/agent.yaml',
    'preflight payments --json',
  ])
    .argument('<group>', 'replication group')
    .option('-c, --config <file>', 'configuration of the site agent', 'agent.yaml')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nRun this at the site itself. It changes nothing and logs in nowhere. A rule that cannot be judged without that is "not\nknown". The exit status is 1 if something will fail, and 4 if something has to be done soon.',
    )
    .action(async (group: string, { config, json }: { config: string; json?: boolean }) => {
      const { movesOf } = await import('../../preflight/moves.ts');
      const rows = await movesOf(loadAgentConfig(config), group);
      output({ json }).data(rows, () =>
        rows.length === 0
          ? 'Nothing to compare: no device of this site copies keys of this group, and no vault is for its partition.'
          : table(
              ['MOVE', 'RULE', 'RESULT', 'FOUND'],
              rows.map(({ move, from, to, rule, verdict, found, advice }) => [
                `${move} ${from} to ${to}`,
                rule,
                verdict,
                advice === '' ? found : `${found}\n  ${advice}`,
              ]),
            ),
      );
      if (rows.some(({ verdict }) => verdict === 'will fail')) process.exitCode = EXIT.error;
      else if (rows.some(({ verdict, advice }) => verdict === 'fits' && advice !== ''))
        process.exitCode = EXIT.degraded;
    });
}
