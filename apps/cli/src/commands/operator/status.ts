import { isUnreachable } from '@antipode/protocol';
import { hasCode, systemClock } from '@antipode/runtime';
import type { Command } from 'commander';
import { EXIT } from '../../exit-codes.ts';
import { loadOperatorConfig, openTls, operatorConfigFile, withOperator } from '../../operator-connection.ts';
import { readCommand, seconds } from '../../options/options.ts';
import { type Output, output } from '../../output.ts';
import { askOverTls, ownAccounts } from '../../place/own-accounts.ts';
import { ownAccountsText } from '../../views/own-accounts.ts';
import { certificateWarnings, isDegraded, statusText } from '../../views/status.ts';
import { watchStatus } from './status-watch.ts';

/** Where no coordinator answers, the agents tell what they know of themselves. The exit status stays that of the error. */
async function tellOwnWords(
  thrown: unknown,
  configFile: string | undefined,
  { out, timeoutMs }: { out: Output; timeoutMs: number },
): Promise<void> {
  if (!isUnreachable(thrown) && !hasCode(thrown, 'TIMED_OUT', 'NOT_LEADER')) return;
  const config = loadOperatorConfig(operatorConfigFile(configFile));
  const { agent } = config;
  if (agent === undefined) return;
  const sites = await ownAccounts(agent, askOverTls(openTls(config), Math.min(timeoutMs, AGENT_MS_MAX)));
  out.data({ ownWord: true, sites }, () => ownAccountsText(sites));
}

/** As long as a link between sites takes, with its handshakes. */
const AGENT_MS_MAX = 5_000;

/** A person sees a change at once, and a coordinator does not notice the load. */
const WATCH_S = 2;

async function watched(
  { config, every, json }: { config?: string; every: number; json?: unknown },
  timeoutMs: number,
): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  // A reader that leaves ends it, as it ends every other command.
  process.stdout.once('error', () => stop.abort());
  await withOperator(config, (operator) =>
    watchStatus({
      read: () => operator.getStatus({}, { timeoutMs, signal: stop.signal }),
      screen: process.stdout,
      clock: systemClock,
      everyMs: every * 1_000,
      signal: stop.signal,
      json: Boolean(json),
    }),
  );
  process.exitCode = EXIT.interrupted;
}

export function statusCommand(): Command {
  return readCommand('status', 'show sites, groups, and operations under way', [
    'status',
    'status --json',
    'status --watch',
  ])
    .option('--watch', 'show it again and again until Ctrl-C; without a terminal, a line for each change')
    .option('--every <seconds>', 'how often, with --watch', seconds, WATCH_S)
    .addHelpText(
      'after',
      `\nExits with ${EXIT.degraded} if one of these is true:\n  - a group is not fully protected, or its last capture, replication or drill failed\n  - a site is not up, a second agent claims to be it, or a partition has an error\n  - a certificate ends within 30 days\n  - this coordinator does not lead, or cannot plan\n  - no site reaches another coordinator\n  - a site is refused, or a process has an older list of revoked certificates\nIf no coordinator answers and operator.yaml names an agent, each site is asked for its own word.\nIt is shown as such, and the command ends with ${EXIT.unknown} all the same.`,
    )
    .action(async (options) => {
      const out = output(options);
      const timeoutMs = options.timeout * 1_000;
      if (options.watch === true) return watched(options, timeoutMs);
      const status = await withOperator(options.config, (operator) => operator.getStatus({}), { timeoutMs }).catch(
        async (thrown: unknown) => {
          await tellOwnWords(thrown, options.config, { out, timeoutMs });
          throw thrown;
        },
      );
      out.data(status, () => statusText(status));
      const warnings = certificateWarnings(status, systemClock.wallMs());
      for (const warning of warnings) out.note(`Warning: ${warning}.`);
      if (isDegraded(status) || warnings.length > 0) process.exitCode = EXIT.degraded;
    });
}
