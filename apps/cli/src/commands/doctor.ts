import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadCoordinatorConfig } from '@antipode/coordinator';
import { openPartition } from '@antipode/hsm-core';
import { Tls } from '@antipode/protocol';
import { AntipodeError, readPinFile, silentLog } from '@antipode/runtime';
import { loadAgentConfig } from '@antipode/site-agent';
import type { Command } from 'commander';
import { EXIT } from '../exit-codes.ts';
import { withOperator } from '../operator.ts';
import { output, table } from '../output.ts';
import { command } from './common.ts';

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly hint: string;
}

async function check(name: string, work: () => unknown): Promise<Finding> {
  try {
    const detail = await work();
    return { check: name, ok: true, detail: typeof detail === 'string' ? detail : 'ok', hint: '' };
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    return { check: name, ok: false, detail: error.message, hint: error.hint };
  }
}

function program(name: string, debianPackage: string, folders: readonly string[] = []): string {
  const found = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', ...folders]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
  if (found === undefined)
    throw new AntipodeError('PROGRAM_MISSING', `${name} is not installed (Debian package ${debianPackage})`, {
      details: { program: name },
    });
  return found;
}

export function doctorCommand(): Command {
  return command('doctor', 'check configuration, certificates, programs, tokens and connections, with hints', [
    'doctor --agent site-a/agent.yaml',
    'doctor --coordinator coordinator/coordinator.yaml',
    'doctor --operator operator/operator.yaml',
  ])
    .option('--agent <file>', 'configuration of a site agent')
    .option('--coordinator <file>', 'configuration of a coordinator')
    .option('--operator <file>', 'configuration of an operator: reaches the coordinator')
    .option('--json', 'JSON on standard output')
    .action(async ({ agent, coordinator, operator, json }) => {
      const findings: Finding[] = [await check('node', () => process.version)];
      if (coordinator !== undefined) {
        findings.push(
          await check('coordinator configuration', () => loadCoordinatorConfig(coordinator).id),
          await check('coordinator certificate', () => {
            const { tls } = loadCoordinatorConfig(coordinator);
            return new Tls({ caFile: tls.ca, certificateFile: tls.certificate, keyFile: tls.key }).identity.name;
          }),
          await check('redis-server', () =>
            loadCoordinatorConfig(coordinator).redisUrl === undefined
              ? program('redis-server', 'redis-server')
              : 'external',
          ),
          await check('postgres', () =>
            loadCoordinatorConfig(coordinator).databaseUrl === undefined
              ? program(
                  'postgres',
                  'postgresql',
                  execFileSync('sh', ['-c', 'ls -d /usr/lib/postgresql/*/bin 2>/dev/null || true'])
                    .toString()
                    .trim()
                    .split('\n'),
                )
              : 'external',
          ),
        );
      }
      if (agent !== undefined) {
        findings.push(
          await check('agent configuration', () => loadAgentConfig(agent).site),
          await check('agent certificate', () => {
            const { tls } = loadAgentConfig(agent);
            return new Tls({ caFile: tls.ca, certificateFile: tls.certificate, keyFile: tls.key }).identity.name;
          }),
        );
        const partitions = findings.some(({ ok, check: name }) => name === 'agent configuration' && ok)
          ? loadAgentConfig(agent)
          : undefined;
        for (const partition of partitions?.partitions ?? []) {
          findings.push(
            await check(`PIN file of ${partition.name}`, () => readPinFile(partition.pinFile).wipe()),
            await check(`token of ${partition.name}`, async () => {
              const { module, tokenLabel, serial, pinFile, environment } = partition;
              const stateFolder = join(partitions!.dataFolder, 'login');
              const provider = await openPartition(
                { module, tokenLabel, ...(serial === undefined ? {} : { serial }), pinFile, environment, stateFolder },
                { log: silentLog },
              );
              const { model, firmware, serial: found } = await provider.describe();
              await provider.close();
              return `${model} ${firmware}, serial ${found}`;
            }),
          );
        }
      }
      if (operator !== undefined) {
        findings.push(
          await check(
            'coordinator reachable',
            async () => (await withOperator(operator, (client) => client.getStatus({}))).coordinator,
          ),
        );
      }
      output({ json }).data(findings, () =>
        table(
          ['CHECK', 'RESULT', 'DETAIL'],
          findings.map(({ check: name, ok, detail, hint }) => [
            name,
            ok ? 'ok' : 'FAILED',
            hint === '' ? detail : `${detail}\n  ${hint}`,
          ]),
        ),
      );
      if (findings.some(({ ok }) => !ok)) process.exitCode = EXIT.error;
    });
}
