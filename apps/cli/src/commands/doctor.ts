import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { EXIT } from '../exit-codes.ts';
import { output } from '../output.ts';
import { command, JSON_OPTION } from './common.ts';

export function doctorCommand(): Command {
  return command('doctor', 'check configuration, certificates, programs, tokens and connections, with hints', [
    'doctor --agent site-a/agent.yaml',
    'doctor --coordinator coordinator/coordinator.yaml',
    'doctor --operator operator/operator.yaml --json',
  ])
    .option('--agent <file>', 'configuration of a site agent: its certificate, PIN files and tokens')
    .option('--coordinator <file>', 'configuration of a coordinator: its certificate and programs')
    .option('--operator <file>', 'configuration of an operator: reaches the coordinator')
    .option(...JSON_OPTION)
    .action(async ({ agent, coordinator, operator, json }) => {
      if (agent === undefined && coordinator === undefined && operator === undefined)
        throw new AntipodeError(
          'USAGE',
          'nothing to check: give --agent, --coordinator or --operator with a configuration file, or several of them',
          { details: { field: 'agent' } },
        );
      const diagnosis = await import('../diagnosis.ts');
      const findings = [
        ...(coordinator === undefined ? [] : await diagnosis.coordinatorFindings(coordinator)),
        ...(agent === undefined ? [] : await diagnosis.agentFindings(agent)),
        ...(operator === undefined ? [] : [await diagnosis.operatorFinding(operator)]),
      ];
      output({ json }).data(findings, () => diagnosis.findingsTable(findings));
      if (findings.some(({ ok }) => !ok)) process.exitCode = EXIT.error;
    });
}
