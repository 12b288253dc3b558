import type { GroupState, Operation } from '@antipode/protocol';
import type { Command } from 'commander';
import { follow, withOperator } from '../../operator-connection.ts';
import { command, operatorCommand, readCommand, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { output, table } from '../../output.ts';

/** The findings of a scrub, from the result of its operation. */
interface Found {
  readonly outcome?: {
    readonly number: number;
    readonly proof: { readonly proved: number; readonly failed: number };
    readonly missing: number;
    readonly altered: number;
    readonly mendedBlobs: number;
  };
}

function scrubTable(operations: readonly Operation[]): string {
  return table(
    ['SITE', 'RESULT', 'GENERATION', 'PROVED', 'FAILED', 'MISSING', 'ALTERED', 'REPAIRED BLOBS'],
    operations.map(({ site, errorCode, result }) => {
      const { outcome } = JSON.parse(result) as Found;
      const { number, proof, missing, altered, mendedBlobs } = outcome ?? {};
      const counts = [number, proof?.proved, proof?.failed, missing, altered, mendedBlobs];
      return [site, errorCode || 'sound', ...counts.map((count) => String(count ?? '-'))];
    }),
  );
}

function lastScrubTable({ members }: GroupState): string {
  return table(
    ['SITE', 'LAST SCRUB', 'RESULT'],
    members.map(({ site, lastScrubMs, scrubErrorCode }) => [
      site,
      lastScrubMs === undefined ? 'never' : new Date(Number(lastScrubMs)).toISOString(),
      lastScrubMs === undefined ? '-' : scrubErrorCode || 'sound',
    ]),
  );
}

export function scrubCommand(): Command {
  const scrub = command('scrub', 'complete readings of partitions with a use of every key, to find silent damage');
  scrub.addCommand(
    operatorCommand('run', 'scrub one member, or every one that is up; a damaged standby is repaired afterwards', [
      'scrub run payments',
      'scrub run payments --site b',
    ])
      .argument('<group>', 'replication group')
      .option('--site <site>', 'the site of the member; by default all that are up', '')
      .option('--timeout <seconds>', 'how long to wait for each', seconds, TIMEOUT_S_DEFAULT)
      .action(async (group, options) => {
        const out = output(options);
        await withOperator(options.config, async (operator) => {
          const { operationIds } = await operator.runScrub({ group, site: options.site });
          const operations: Operation[] = [];
          const failures: unknown[] = [];
          for (const operationId of operationIds) {
            await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 }).catch(
              (thrown: unknown) => failures.push(thrown),
            );
            const { operation } = await operator.getOperation({ operationId, waitMs: 0, seenPhase: '' });
            if (operation !== undefined) operations.push(operation);
          }
          out.data(operations, () => scrubTable(operations));
          if (failures.length > 0) throw failures[0];
        });
      }),
  );
  scrub.addCommand(
    readCommand('list', 'list the last scrub of each member', ['scrub list payments', 'scrub list payments --json'])
      .argument('<group>', 'replication group')
      .action(async (name, options) => {
        const { group } = await withOperator(options.config, (operator) => operator.getGroup({ group: name }), {
          timeoutMs: options.timeout * 1_000,
        });
        output(options).data(
          group!.members.map(({ site, lastScrubMs, scrubErrorCode }) => ({ site, lastScrubMs, scrubErrorCode })),
          () => lastScrubTable(group!),
        );
      }),
  );
  return scrub;
}
