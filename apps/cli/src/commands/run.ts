/** The long-running halves. Each is loaded only when it runs: an agent has no use for the coordinator's, nor a short command for either. */
import type { Command } from 'commander';
import { command } from './common.ts';

export function coordinatorCommand(): Command {
  return command('coordinator', 'the coordinator: decides').addCommand(
    command('run', 'run the coordinator until SIGINT or SIGTERM', [
      'coordinator run --config coordinator/coordinator.yaml',
    ])
      .option('-c, --config <file>', 'its configuration', 'coordinator.yaml')
      .action(async ({ config }) => (await import('@antipode/coordinator')).runCoordinator(config)),
  );
}

export function agentCommand(): Command {
  return command('agent', 'the agent of a site: acts').addCommand(
    command('run', 'run the site agent until SIGINT or SIGTERM', ['agent run --config site-a/agent.yaml'])
      .option('-c, --config <file>', 'its configuration', 'agent.yaml')
      .action(async ({ config }) => (await import('@antipode/site-agent')).runAgent(config)),
  );
}
