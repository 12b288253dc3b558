/** The `antipode` command: parses the command line, runs one command, turns errors into messages and exit codes. */
import { AntipodeError, VERSION } from '@antipode/runtime';
import { Command, CommanderError, Option } from 'commander';
import { approveCommand } from './commands/approvals/approve.ts';
import { certificateCommand } from './commands/certificates/certificate.ts';
import { completionCommand } from './commands/completion.ts';
import { demoCommand } from './commands/demo.ts';
import { doctorCommand } from './commands/doctor.ts';
import { explainCommand } from './commands/explain.ts';
import { initCommand } from './commands/init.ts';
import { siteCommand } from './commands/joining/site.ts';
import { lunaCommand } from './commands/luna/luna.ts';
import { archiveCommand } from './commands/operator/archive.ts';
import { dashboardCommand } from './commands/operator/dashboard.ts';
import { divergenceCommand } from './commands/operator/divergence.ts';
import { drillCommand } from './commands/operator/drill.ts';
import { eventsCommand } from './commands/operator/events.ts';
import { failoverCommand } from './commands/operator/failover.ts';
import { groupCommand } from './commands/operator/group.ts';
import { launchCommand } from './commands/operator/launch.ts';
import { notifyCommand } from './commands/operator/notify.ts';
import { operationCommand } from './commands/operator/operation.ts';
import { replicateCommand } from './commands/operator/replicate.ts';
import { resolveCommand } from './commands/operator/resolve.ts';
import { scrubCommand } from './commands/operator/scrub.ts';
import { statusCommand } from './commands/operator/status.ts';
import { switchoverCommand } from './commands/operator/switchover.ts';
import { agentCommand, coordinatorCommand } from './commands/run.ts';
import { deletedCommand } from './commands/site/deleted.ts';
import { partitionCommand } from './commands/site/partition.ts';
import { peerCommand } from './commands/site/peer.ts';
import { preflightCommand } from './commands/site/preflight.ts';
import { storeCommand } from './commands/site/store.ts';
import { supportBundleCommand } from './commands/support-bundle.ts';
import { EXIT, EXIT_MEANINGS, exitCodeOf } from './exit-codes.ts';
import { flushOutput, guardOutput, isStructured, printError } from './output.ts';
import { withHintOfPackage } from './packaged.ts';

const EXAMPLES = `Examples:
  $ antipode demo
  $ antipode status
  $ antipode failover payments --dry-run
  $ antipode completion bash`;

const JSON_NOTE = `With --json, the answer is JSON on standard output, and an error is one line of JSON on standard error:
  {"error":{"code":"TIMED_OUT","message":"...","hint":"what to do","details":{"operation":"..."}}}

If a call failed at a coordinator or an agent, the details have its id as "callId".
The log of that process has a line with it.`;

function exitCodes(): string {
  return `Exit codes:\n${EXIT_MEANINGS.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`).join('\n')}`;
}

export function program(): Command {
  const root = new Command('antipode')
    .description(
      'Disaster recovery for HSM partitions: replicate keys between sites, prove that each can be restored, fail over.',
    )
    .version(VERSION)
    .showSuggestionAfterError()
    .addHelpText('after', [EXAMPLES, JSON_NOTE, exitCodes()].map((part) => `\n${part}`).join('\n'));
  for (const one of [
    initCommand(),
    certificateCommand(),
    coordinatorCommand(),
    agentCommand(),
    siteCommand(),
    partitionCommand(),
    peerCommand(),
    groupCommand(),
    statusCommand(),
    dashboardCommand(),
    replicateCommand(),
    drillCommand(),
    archiveCommand(),
    scrubCommand(),
    deletedCommand(),
    storeCommand(),
    switchoverCommand(),
    failoverCommand(),
    divergenceCommand(),
    operationCommand(),
    eventsCommand(),
    approveCommand(),
    notifyCommand(),
    resolveCommand(),
    launchCommand(),
    preflightCommand(),
    lunaCommand(),
    doctorCommand(),
    explainCommand(),
    supportBundleCommand(),
    demoCommand(),
    completionCommand(() => root),
  ]) {
    root.addCommand(one);
  }
  refuseInOurWords(root, ['antipode']);
  offerForms(root);
  return root;
}

const FORMS = ['table', 'json', 'yaml'] as const;

/** Each command that shows data offers it in every form. `--json` is the short form of `--output json`. */
function offerForms(one: Command): void {
  if (one.options.some(({ long }) => long === '--json'))
    one
      .addOption(new Option('--output <form>', 'form of the answer; errors are JSON unless it is table').choices(FORMS))
      .hook('preAction', (_of, acting) => {
        const { output: form } = acting.opts<{ output?: (typeof FORMS)[number] }>();
        if (form !== undefined) acting.setOptionValue('json', form === 'yaml' ? 'yaml' : form === 'json');
      });
  for (const child of one.commands) offerForms(child);
}

/** Makes an error of the command line one of ours, with a hint and in JSON where that is asked for. */
function refuseInOurWords(one: Command, path: readonly string[]): void {
  one.configureOutput({ outputError: () => {} }).exitOverride((ended) => {
    // A command without its subcommand has shown its help.
    if (ended.exitCode === 0 || ended.code === 'commander.help') throw ended;
    const [text = '', suggestion = ''] = ended.message.replace(/^error: /, '').split('\n');
    const hint = `Run \`${path.join(' ')} --help\`.`;
    throw new AntipodeError('USAGE', [text, suggestion].join(' ').trim(), { hint });
  });
  for (const child of one.commands) refuseInOurWords(child, [...path, child.name()]);
}

export async function main(argv: readonly string[]): Promise<void> {
  try {
    await program().parseAsync([...argv], { from: 'user' });
  } catch (thrown) {
    // Commander has printed what was asked for. Help and version are not errors; help instead of a subcommand is one.
    if (thrown instanceof CommanderError) {
      process.exitCode = thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    const error = withHintOfPackage(AntipodeError.from(thrown));
    printError(error, { json: isStructured(argv) });
    process.exitCode = exitCodeOf(error);
  }
}

if (import.meta.main) {
  guardOutput();
  await main(process.argv.slice(2));
  // A connection that hangs, or a watcher that a library keeps, must not hold back an answer that has been given.
  await flushOutput();
  process.exit();
}
