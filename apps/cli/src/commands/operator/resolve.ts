import { AntipodeError, hasCode, systemClock } from '@antipode/runtime';
import { type Command, Option } from 'commander';
import { EXIT } from '../../exit-codes.ts';
import { loadOperatorConfig, operatorConfigFile } from '../../operator-connection.ts';
import { operatorCommand, seconds } from '../../options/options.ts';
import { output, table } from '../../output.ts';
import { tokenUri } from '../../place/pkcs11-uri.ts';
import { doubtsAbout, environmentOf, type Place, PlaceFinder, shellLines } from '../../place/place.ts';

const READ_MS = 5_000;
const AGAIN_MS = 500;

/** Whether an error passes by itself, as a failover ends or a coordinator restarts. */
export const isPassing = (thrown: unknown): boolean =>
  hasCode(
    thrown,
    'NOT_SERVED',
    'SITE_UNREACHABLE',
    'TIMED_OUT',
    'DATABASE_UNAVAILABLE',
    'LEADERSHIP_LOST',
    'NOT_LEADER',
    'PEER_BUSY',
  ) ||
  (thrown instanceof AntipodeError && thrown.details['connection'] === true);

const FORMATS: Readonly<Record<string, (place: Place) => string>> = {
  table: ({ site, module, tokenLabel, serial, epoch }) =>
    table(['SITE', 'MODULE', 'TOKEN LABEL', 'SERIAL', 'EPOCH'], [[site, module, tokenLabel, serial, String(epoch)]]),
  env: (place) => shellLines(environmentOf(place)),
  uri: tokenUri,
};

const waitMsOf = (leftMs: number): number => Math.ceil(Math.max(1, Math.min(READ_MS, leftMs)));

/** The first answer; with `wait`, the first one without a doubt, or the last one within the time. */
async function resolved(
  finder: Pick<PlaceFinder, 'find'>,
  group: string,
  { wait, timeoutMs }: { wait: boolean; timeoutMs: number },
): Promise<Place> {
  const endMs = systemClock.monotonicMs() + timeoutMs;
  for (;;) {
    const leftMs = endMs - systemClock.monotonicMs();
    const isLast = !wait || leftMs <= AGAIN_MS;
    try {
      // One question has all the time that was given; of many, each gets a part.
      const place = await finder.find(group, { timeoutMs: wait ? waitMsOf(leftMs) : timeoutMs });
      if (isLast || doubtsAbout(place).length === 0) return place;
    } catch (thrown) {
      if (isLast || !isPassing(thrown)) throw thrown;
    }
    await systemClock.sleep(AGAIN_MS);
  }
}

export function resolveCommand(): Command {
  return operatorCommand('resolve', 'show the site that clients of a group must use now', [
    'resolve payments',
    'resolve payments --wait --timeout 60 --format uri',
    'resolve payments --config application/application.yaml --json',
  ])
    .argument('<group>', 'replication group')
    .option('--wait', 'wait until a site serves the group and there is nothing to warn of')
    .option(
      '--timeout <seconds>',
      `how long to wait for an answer; with --wait, in all (default: ${READ_MS / 1_000}; with --wait, no limit)`,
      seconds,
    )
    .addOption(
      new Option('--format <format>', 'env: assignments for a shell; uri: a PKCS#11 URI (RFC 7512)')
        .choices([...Object.keys(FORMATS), 'json'])
        .default('table'),
    )
    .addHelpText(
      'after',
      `\nExits with ${EXIT.degraded} and prints a warning if that site is not up, its partition has an error, or the answer\ncan be old. Where the configuration names the agent of this site, that agent answers while no coordinator\ndoes. It gives the place that it heard last, and how long ago that was.`,
    )
    .action(async (group, options) => {
      const { wait = false, timeout, format } = options;
      const out = output({ json: options.json || format === 'json' });
      const finder = new PlaceFinder(loadOperatorConfig(operatorConfigFile(options.config)), { hasCallIds: true });
      try {
        const timeoutMs = timeout === undefined ? (wait ? Number.POSITIVE_INFINITY : READ_MS) : timeout * 1_000;
        const place = await resolved(finder, group, { wait, timeoutMs });
        out.data({ ...place, uri: tokenUri(place) }, () => FORMATS[format]!(place), { forShell: format === 'env' });
        const doubts = doubtsAbout(place);
        if (doubts.length === 0) return;
        // Neither command below has an answer while no coordinator has one.
        const next = place.answeredBy.startsWith('site ')
          ? 'The runbook for a lost coordinator is docs/runbooks/coordinator-lost.md.'
          : `See \`antipode status\`. \`antipode failover ${group} --dry-run\` shows what a failover would do.`;
        out.note(`Warning: ${doubts.join('; ')}. ${next}`);
        process.exitCode = EXIT.degraded;
      } finally {
        finder.close();
      }
    });
}
