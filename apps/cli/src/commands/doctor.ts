import { existsSync } from 'node:fs';
import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { EXIT } from '../exit-codes.ts';
import { command, JSON_OPTION } from '../options/options.ts';
import { output } from '../output.ts';

export function doctorCommand(): Command {
  return command('doctor', 'check configuration, certificates, programs, tokens and connections; print hints', [
    'doctor --agent site-a/agent.yaml',
    'doctor --coordinator coordinator/coordinator.yaml',
    'doctor --operator operator/operator.yaml --json',
  ])
    .option(
      '--agent <file>',
      'configuration of a site agent: certificate, files, addresses, pins, PIN files, tokens, coordinator',
    )
    .option(
      '--coordinator <file>',
      'configuration of a coordinator: certificate, files, addresses, programs or servers',
    )
    .option('--operator <file>', 'configuration of an operator: certificate, key, connection to the coordinator')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nWithout an option, it looks for agent.yaml, coordinator.yaml and operator.yaml in this folder,\nand checks each that exists.',
    )
    .action(async ({ json, ...given }) => {
      const named = [given.agent, given.coordinator, given.operator].some((file) => file !== undefined);
      const here = (file: string): string | undefined => (!named && existsSync(file) ? file : undefined);
      const agent = given.agent ?? here('agent.yaml');
      const coordinator = given.coordinator ?? here('coordinator.yaml');
      const operator = given.operator ?? here('operator.yaml');
      if (agent === undefined && coordinator === undefined && operator === undefined)
        throw new AntipodeError(
          'USAGE',
          'nothing to check: this folder has no agent.yaml, coordinator.yaml or operator.yaml',
          {
            details: { field: 'agent' },
            hint: 'Run it in the folder of a configuration file, or name files with --agent, --coordinator and --operator.',
          },
        );
      const diagnosis = await import('../doctor/diagnosis.ts');
      const findings = [
        ...(coordinator === undefined ? [] : await diagnosis.coordinatorFindings(coordinator)),
        ...(agent === undefined ? [] : await diagnosis.agentFindings(agent)),
        ...(operator === undefined ? [] : await diagnosis.operatorFindings(operator)),
      ];
      output({ json }).data(findings, () => diagnosis.findingsTable(findings));
      if (findings.some(({ ok }) => !ok)) process.exitCode = EXIT.error;
    });
}
