/** The long-running processes. Each is loaded only when it runs: short commands need neither. */
import { type Send, systemClock } from '@antipode/runtime';
import type { Command } from 'commander';
import { command, JSON_OPTION } from '../options/options.ts';
import { output, table } from '../output.ts';
import { backupCommand, restoreCommand } from './coordinator/backup.ts';
import { rebuildCommand } from './coordinator/rebuild.ts';

/** The way to the service manager, if one has started this process. Short commands do not load the library for it. */
async function sendToManager(): Promise<{ send?: Send }> {
  if (process.env['NOTIFY_SOCKET'] === undefined) return {};
  return { send: (await import('@antipode/cryptoki/datagram')).sendDatagram };
}

export function coordinatorCommand(): Command {
  return command('coordinator', 'the coordinator, which decides for all sites')
    .addCommand(
      command('run', 'run the coordinator until SIGINT or SIGTERM', [
        'coordinator run --config coordinator/coordinator.yaml',
      ])
        .option('-c, --config <file>', 'configuration file', 'coordinator.yaml')
        .action(async ({ config }) =>
          (await import('@antipode/coordinator')).runCoordinator(config, await sendToManager()),
        ),
    )
    .addCommand(backupCommand())
    .addCommand(restoreCommand())
    .addCommand(rebuildCommand());
}

export function agentCommand(): Command {
  return command('agent', 'the agent of a site, which acts there')
    .addCommand(
      command('run', 'run the site agent until SIGINT or SIGTERM', ['agent run --config site-a/agent.yaml'])
        .option('-c, --config <file>', 'configuration file', 'agent.yaml')
        .action(async ({ config }) => (await import('@antipode/site-agent')).runAgent(config, await sendToManager())),
    )
    .addCommand(
      command('backup', 'copy journal, store, pins and configuration of the agent, while it runs', [
        'agent backup --to /var/backups/antipode/2026-01-31 --config site-a/agent.yaml',
      ])
        .requiredOption('--to <folder>', 'a new or empty folder')
        .option('-c, --config <file>', 'configuration file', 'agent.yaml')
        .option(...JSON_OPTION)
        .addHelpText(
          'after',
          '\nThe copy has no PIN, no key file and no certificate. To put it back, see docs/runbooks/back-up-an-agent.md.',
        )
        .action(async ({ config, to, json }) => {
          const { backUpAgent, loadAgentConfig } = await import('@antipode/site-agent');
          const done = backUpAgent(loadAgentConfig(config), { configFile: config, to, nowMs: systemClock.wallMs() });
          output({ json }).data(done, () =>
            [
              `site ${done.site}, ${done.takenAt}: ${done.folder}`,
              table(
                ['FILE', 'BYTES', 'SHA-256'],
                done.files.map(({ name, bytes, sha256 }) => [name, String(bytes), sha256]),
              ),
            ].join('\n\n'),
          );
        }),
    );
}
