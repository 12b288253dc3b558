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
    'doctor --application application/application.yaml',
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
    .option(
      '--application <file>',
      'configuration of an application: certificate, key, connections to the coordinator and to the agent of its site',
    )
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nWithout an option, it looks for agent.yaml, coordinator.yaml, operator.yaml and application.yaml in this\nfolder, and checks each that exists.',
    )
    .action(async ({ json, ...given }) => {
      const named = [given.agent, given.coordinator, given.operator, given.application].some(
        (file) => file !== undefined,
      );
      const here = (file: string): string | undefined => (!named && existsSync(file) ? file : undefined);
      const agent = given.agent ?? here('agent.yaml');
      const coordinator = given.coordinator ?? here('coordinator.yaml');
      const operator = given.operator ?? here('operator.yaml');
      const application = given.application ?? here('application.yaml');
      if ([agent, coordinator, operator, application].every((file) => file === undefined))
        throw new AntipodeError(
          'USAGE',
          'nothing to check: this folder has no agent.yaml, coordinator.yaml, operator.yaml or application.yaml',
          {
            details: { field: 'agent' },
            hint: 'Run it in the folder of a configuration file, or name files with --agent, --coordinator, --operator and --application.',
          },
        );
      const diagnosis = await import('../doctor/diagnosis.ts');
      const findings = [
        ...(coordinator === undefined ? [] : await diagnosis.coordinatorFindings(coordinator)),
        ...(agent === undefined ? [] : await diagnosis.agentFindings(agent)),
        ...(operator === undefined ? [] : await diagnosis.operatorFindings(operator)),
        ...(application === undefined ? [] : await diagnosis.applicationFindings(application)),
      ];
      output({ json }).data(findings, () => diagnosis.findingsTable(findings));
      if (findings.some(({ ok }) => !ok)) process.exitCode = EXIT.error;
    });
}
