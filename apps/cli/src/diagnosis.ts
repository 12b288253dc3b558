/** What the doctor looks at. Loads everything that agent and coordinator are made of, so only the doctor loads it. */
import { loadCoordinatorConfig, postgresFolders } from '@antipode/coordinator';
import { openPartition } from '@antipode/hsm-core';
import { Tls } from '@antipode/protocol';
import { AntipodeError, readPinFile, requireProgram, silentLog } from '@antipode/runtime';
import { type AgentConfig, loadAgentConfig, partitionConfig } from '@antipode/site-agent';
import { withOperator } from './operator.ts';
import { table } from './output.ts';

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What to do; empty where all is well. */
  readonly hint: string;
}

/** One thing that must hold. What it returns is shown; what it throws says what to do. */
type Check = readonly [name: string, work: () => unknown];

async function perform([name, work]: Check): Promise<Finding> {
  try {
    const detail = await work();
    return { check: name, ok: true, detail: typeof detail === 'string' ? detail : 'ok', hint: '' };
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    return { check: name, ok: false, detail: error.message, hint: error.hint };
  }
}

/** The configuration first; what depends on it is checked only where it can be read. */
async function performAll<T>(name: string, load: () => T, checks: (config: T) => readonly Check[]): Promise<Finding[]> {
  let config: T | undefined;
  const first = await perform([
    name,
    () => {
      config = load();
    },
  ]);
  if (config === undefined) return [first];
  const findings = [first];
  for (const check of checks(config)) findings.push(await perform(check));
  return findings;
}

const certificate = ({ tls }: Pick<AgentConfig, 'tls'>): string =>
  new Tls({ caFile: tls.ca, certificateFile: tls.certificate, keyFile: tls.key }).identity.name;

export const coordinatorFindings = (file: string): Promise<Finding[]> =>
  performAll(
    'coordinator configuration',
    () => loadCoordinatorConfig(file),
    (config) => {
      const { databaseUrl, redisUrl } = config;
      const child = (program: string, options: Parameters<typeof requireProgram>[1]): Check => [
        program,
        () => requireProgram(program, options),
      ];
      return [
        ['coordinator certificate', () => certificate(config)],
        ...(databaseUrl === undefined
          ? [
              child('postgres', { debianPackage: 'postgresql', folders: postgresFolders() }),
              child('initdb', { debianPackage: 'postgresql', folders: postgresFolders() }),
            ]
          : []),
        ...(redisUrl === undefined ? [child('redis-server', { debianPackage: 'redis-server' })] : []),
        ...(databaseUrl === undefined || redisUrl === undefined
          ? [child('setpriv', { debianPackage: 'util-linux' })]
          : []),
      ];
    },
  );

export const agentFindings = (file: string): Promise<Finding[]> =>
  performAll(
    'agent configuration',
    () => loadAgentConfig(file),
    (config) => [
      ['agent certificate', () => certificate(config)],
      ...config.partitions.flatMap((partition): Check[] => [
        [`PIN file of ${partition.name}`, () => readPinFile(partition.pinFile).wipe()],
        [`token of ${partition.name}`, () => describeToken(config, partition)],
      ]),
    ],
  );

/** Opens it as the agent would: a PIN that the token has refused is not tried again. */
async function describeToken(config: AgentConfig, partition: AgentConfig['partitions'][number]): Promise<string> {
  const provider = await openPartition(partitionConfig(partition, config), { log: silentLog });
  try {
    const { model, firmware, serial, unenforced, silentSlots } = await provider.describe();
    const weakness = unenforced.length === 0 ? '' : `; accepted, though it does not keep: ${unenforced.join(', ')}`;
    const silent = silentSlots.length === 0 ? '' : `; other slots do not answer: ${silentSlots.join(', ')}`;
    return `${model} ${firmware}, serial ${serial}${weakness}${silent}`;
  } finally {
    await provider.close();
  }
}

export const operatorFinding = (file: string): Promise<Finding> =>
  perform([
    'coordinator reachable',
    async () => (await withOperator(file, (client) => client.getStatus({}))).coordinator,
  ]);

export function findingsTable(findings: readonly Finding[]): string {
  return table(
    ['CHECK', 'RESULT', 'DETAIL'],
    findings.map(({ check, ok, detail, hint }) => [
      check,
      ok ? 'ok' : 'FAILED',
      hint === '' ? detail : `${detail}\n  ${hint}`,
    ]),
  );
}
