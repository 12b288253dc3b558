/** The `antipode` command: parses the command line, runs one command, turns errors into messages and exit codes. */
import { AntipodeError, VERSION } from '@antipode/runtime';
import { Command, CommanderError, Option } from 'commander';
import { loadCommands } from './command-table.ts';
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

/** With all commands, or with the only one that these words can run. */
export async function program(words: readonly string[] = []): Promise<Command> {
  const root = new Command('antipode')
    .description(
      'Disaster recovery for HSM partitions: replicate keys between sites, prove that each can be restored, fail over.',
    )
    .version(VERSION)
    .showSuggestionAfterError()
    .addHelpText('after', [EXAMPLES, JSON_NOTE, exitCodes()].map((part) => `\n${part}`).join('\n'));
  for (const one of await loadCommands(root, words)) root.addCommand(one);
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
    await (await program(argv)).parseAsync([...argv], { from: 'user' });
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
