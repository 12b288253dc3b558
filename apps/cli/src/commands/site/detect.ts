/** `antipode partition detect`: modules and tokens of this machine, without a login. */
import { readFileSync, rmSync } from 'node:fs';
import type { DetectedModule } from '@antipode/hsm-core';
import { AntipodeError, printable, writeFileDurably } from '@antipode/runtime';
import { type PartitionDraft, partitionName, partitionsText, withPartitions } from '@antipode/setup';
import { loadAgentConfig } from '@antipode/site-agent';
import { type Command, Option } from 'commander';
import { collect, command, JSON_OPTION, parseEnvironment } from '../../options/options.ts';
import { output, table } from '../../output.ts';
import { type DetectedToken, detect, theToken, tokensOf } from '../../place/detected.ts';

const STATES = { ready: 'ready', 'without-pin': 'no user PIN', uninitialised: 'not initialised' } as const;

export function detectCommand(): Command {
  return command('detect', 'find PKCS#11 modules and their tokens on this machine, without a login', [
    'partition detect',
    'partition detect --module /opt/vendor/libpkcs11.so --json',
    'partition detect --token-label payments --pin-file payments.pin --write agent.yaml',
  ])
    .option('--module <file>', 'look only in this PKCS#11 module; repeatable', collect, [])
    .option(
      '--environment <name=value>',
      'variable that the modules need, such as SOFTHSM2_CONF; repeatable; never a PIN',
      collect,
      [],
    )
    .option('--write <file>', 'add the token to this agent.yaml; needs --token-label and --pin-file')
    .option('--token-label <label>', 'label of the token to add')
    .option('--pin-file <file>', 'file with its user PIN, as agent.yaml names it')
    .option('--partition <name>', 'name of the partition in the configuration (default: made of the label)')
    .addOption(
      new Option('--role <role>', 'role of the partition')
        .choices(['member', 'scratch', 'distributor'])
        .default('member'),
    )
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      '\nEach module is asked in a process of its own. One that hangs or crashes does not stop the others. Modules come from\np11-kit, from the paths of vendors, and from the configuration of a Luna client.',
    )
    .action(async (options) => {
      const { json, write, module: modules } = options;
      const environment = parseEnvironment(options.environment);
      if (write !== undefined && (options.tokenLabel === undefined || options.pinFile === undefined))
        throw new AntipodeError('USAGE', 'expected --token-label and --pin-file with --write', {
          details: { field: 'write' },
        });
      const found = await detect({ modules, environment });
      const said = output({ json });
      if (write !== undefined) {
        const token = theToken(found, options.tokenLabel);
        const { partition, pinFile, role } = options;
        const draft = draftOf(token, { environment, pinFile, role, name: partition });
        addTo(write, draft);
        said.data({ file: write, partition: draft.name }, () => `wrote ${write}: partition ${draft.name}`);
        return;
      }
      const drafts = tokensOf(found)
        .filter(({ state }) => state === 'ready')
        .map((token) => draftOf(token, { environment }));
      said.data({ modules: found, partitions: drafts }, () => shown(found, drafts));
    });
}

function draftOf(
  { label, serial, module, parameters }: DetectedToken,
  {
    environment,
    name = partitionName(label),
    pinFile = `${partitionName(label)}.pin`,
    role = 'member',
  }: {
    environment: Readonly<Record<string, string>>;
    name?: string | undefined;
    pinFile?: string | undefined;
    role?: PartitionDraft['role'];
  },
): PartitionDraft {
  return {
    name,
    module,
    ...(parameters === undefined ? {} : { moduleParameters: parameters.replace(',readOnly', '') }),
    tokenLabel: label,
    ...(serial === '' ? {} : { serial }),
    pinFile,
    role,
    ...(Object.keys(environment).length === 0 ? {} : { environment }),
  };
}

export function shown(found: readonly DetectedModule[], drafts: readonly PartitionDraft[]): string {
  if (found.length === 0)
    return 'found no PKCS#11 module; name one with --module, or install that of the HSM (SoftHSM: softhsm2)';
  const rows = found.flatMap(({ module, tokens, problem }) => [
    ...tokens.map(({ slot, label, serial, model, state }) => [
      module,
      slot,
      printable(label) || '-',
      printable(serial) || '-',
      printable(model),
      STATES[state],
    ]),
    ...(problem === '' ? [] : [[module, '-', '-', '-', '-', problem]]),
    ...(problem === '' && tokens.length === 0 ? [[module, '-', '-', '-', '-', 'no token']] : []),
  ]);
  const listed = table(['MODULE', 'SLOT', 'TOKEN', 'SERIAL', 'MODEL', 'STATE'], rows);
  if (drafts.length === 0) return `${listed}\n\nNo token is ready. Initialise one with the tool of the HSM.`;
  return `${listed}\n\nFor agent.yaml, as far as you need them:\n\n${partitionsText(drafts)}`;
}

/** Read as the agent would, before it takes the place of the old one. */
function addTo(file: string, draft: PartitionDraft): void {
  const before = loadAgentConfig(file);
  const same = before.partitions.find((one) => one.tokenLabel === draft.tokenLabel && one.module === draft.module);
  if (same !== undefined || before.partitions.some(({ name }) => name === draft.name))
    throw new AntipodeError('FILE_EXISTS', `${file} has partition ${same?.name ?? draft.name} already`, {
      details: { path: file },
      hint: 'Name the new one with --partition, or edit the file. Nothing was changed.',
    });
  const text = withPartitions(readFileSync(file, 'utf8'), [draft]);
  const staging = `${file}.checked`;
  try {
    writeFileDurably(staging, text);
    loadAgentConfig(staging);
  } finally {
    rmSync(staging, { force: true });
  }
  writeFileDurably(file, text);
}
