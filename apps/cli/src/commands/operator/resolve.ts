import type { ResolveResponse } from '@antipode/protocol';
import type { Command } from 'commander';
import { readCommand } from '../../common.ts';
import { EXIT } from '../../exit-codes.ts';
import { withOperator } from '../../operator.ts';
import { output, table } from '../../output.ts';

/** The reasons why a client is possibly not served there now. Empty if there are none. */
export function doubtsAbout({ site, siteState, partitionErrorCode, isLeader }: ResolveResponse): string[] {
  return [
    ...(isLeader ? [] : ['this coordinator does not lead, so it can be wrong about the site']),
    ...(siteState === 'up' ? [] : [`site ${site} is ${siteState || 'unknown'}`]),
    ...(partitionErrorCode === '' ? [] : [`its partition cannot be used: ${partitionErrorCode}`]),
  ];
}

export function resolveCommand(): Command {
  return readCommand('resolve', 'show the site that clients of a group must use now', [
    'resolve payments',
    'resolve payments --json',
  ])
    .argument('<group>', 'replication group')
    .addHelpText(
      'after',
      `\nExits with ${EXIT.degraded} and prints a warning if that site is not up, its partition has an error, or this coordinator does not lead.`,
    )
    .action(async (group, options) => {
      const out = output(options);
      const place = await withOperator(options.config, (operator) => operator.resolve({ group }), {
        timeoutMs: options.timeout * 1_000,
      });
      out.data(place, () =>
        table(
          ['SITE', 'MODULE', 'TOKEN LABEL', 'SERIAL', 'EPOCH'],
          [[place.site, place.module, place.tokenLabel, place.serial, String(place.epoch)]],
        ),
      );
      const doubts = doubtsAbout(place);
      if (doubts.length === 0) return;
      out.note(
        `Warning: ${doubts.join('; ')}. See \`antipode status\`. \`antipode failover ${group} --dry-run\` shows what a failover would do.`,
      );
      process.exitCode = EXIT.degraded;
    });
}
