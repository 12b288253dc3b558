/** Options that several commands share, and their parsing. */
import { isName, parseSeat, type Seat } from '@antipode/protocol';
import { AntipodeError, isAddress } from '@antipode/runtime';
import { type Argument, Command, Help, InvalidArgumentError, type Option } from 'commander';

export const TIMEOUT_S_DEFAULT = 300;

/** The option of every command that shows data. */
export const JSON_OPTION = [
  '--json',
  'JSON on standard output; an error is one line of JSON on standard error',
] as const;

/** Where a command that works at a site finds that site. */
export const AGENT_CONFIG_OPTION = ['-c, --config <file>', 'configuration of the site agent', 'agent.yaml'] as const;

const examplesOf = new WeakMap<Command, readonly string[]>();

const formerNames = new WeakSet<Command>();

/** Marks a command that only keeps a former name working. Help, completion and documents leave it out. */
export function asFormerName(made: Command): Command {
  formerNames.add(made);
  return made;
}

/** The subcommands under their present names. */
export function subcommandsOf({ commands }: Command): Command[] {
  return commands.filter((child) => !formerNames.has(child));
}

/** Its own examples, without those of its subcommands. */
export function ownExamples(of: Command): readonly string[] {
  return examplesOf.get(of) ?? [];
}

/** Its own examples, and those of its subcommands. */
function allExamples(of: Command): string[] {
  return [...ownExamples(of), ...subcommandsOf(of).flatMap(allExamples)];
}

const help = new Help();

/** As it is, but without a default that is empty. */
function withoutEmptyDefault<Described extends Argument | Option>(described: Described): Described {
  const { defaultValue } = described;
  const isEmpty = defaultValue === '' || (Array.isArray(defaultValue) && defaultValue.length === 0);
  return isEmpty ? Object.create(described, { defaultValue: { value: undefined } }) : described;
}

const HELP = {
  optionDescription: (option: Option) => help.optionDescription(withoutEmptyDefault(option)),
  argumentDescription: (argument: Argument) => help.argumentDescription(withoutEmptyDefault(argument)),
};

/** A command whose help ends with examples; one with subcommands shows theirs. */
export function command(name: string, description: string, examples: readonly string[] = []): Command {
  const made = new Command(name).description(description).configureHelp(HELP);
  examplesOf.set(made, examples);
  return made.addHelpText('after', () => {
    const lines = allExamples(made).map((example) => `  $ antipode ${example}`);
    return lines.length === 0 ? '' : `\nExamples:\n${lines.join('\n')}`;
  });
}

/** Each is looked for in this order. An application may call only `resolve`, `status` and `run`. */
export const OPERATOR_CONFIG_HELP =
  'operator.yaml or application.yaml (default: $ANTIPODE_CONFIG, ./operator.yaml, ./application.yaml, ~/.config/antipode/operator.yaml)';

/** A command that asks the coordinator. */
export function operatorCommand(name: string, description: string, examples: readonly string[]): Command {
  return command(name, description, examples)
    .option('-c, --config <file>', OPERATOR_CONFIG_HELP)
    .option(...JSON_OPTION);
}

/** How long a person, or a script that resolves a group, waits for an answer that takes milliseconds. */
const READ_TIMEOUT_S = 5;

/** A command that only asks: it ends in time, whatever has happened to the coordinator or the way there. */
export function readCommand(name: string, description: string, examples: readonly string[]): Command {
  return operatorCommand(name, description, examples).option(
    '--timeout <seconds>',
    'how long to wait for the answer',
    seconds,
    READ_TIMEOUT_S,
  );
}

/** For the vaults of a group. */
export const ARCHIVE_HELP = 'a vault that keeps backups, with the serial number of the device; repeatable';

export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

/** `name@host:port` */
function parsePeer(text: string, { field, form }: { field: string; form: string }): { name: string; address: string } {
  const [name = '', address = '', ...more] = text.split('@');
  if (!isName(name) || !isAddress(address) || more.length > 0)
    throw new AntipodeError('USAGE', `--${field} must be ${form}, found "${text}"`, { details: { field } });
  return { name, address };
}

/** `id@host:port` */
export function parseCoordinator(text: string): { id: string; address: string } {
  const { name, address } = parsePeer(text, { field: 'coordinator', form: 'ID@HOST:PORT' });
  return { id: name, address };
}

/** `id@host:port`, of the door at which machines join. */
export function parseJoin(text: string): { id: string; address: string } {
  const { name, address } = parsePeer(text, { field: 'join', form: 'ID@HOST:PORT' });
  return { id: name, address };
}

/** `site@host:port` */
export function parseAgent(text: string): { site: string; address: string } {
  const { name, address } = parsePeer(text, { field: 'agent', form: 'SITE@HOST:PORT' });
  return { site: name, address };
}

/** `site=serial` */
export function seatFrom(text: string): Seat {
  const seat = parseSeat(text);
  if (seat === undefined)
    throw new AntipodeError('USAGE', `a partition must be SITE=SERIAL, found "${text}"`, {
      details: { field: 'member' },
    });
  return seat;
}

/** `NAME=VALUE`, each name once. The value may hold further equals signs. */
export function parseEnvironment(texts: readonly string[]): Record<string, string> {
  const variables = texts.map((text) => {
    const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined)
      // A value could be secret, even though none belongs here: only what names it is repeated.
      throw new AntipodeError('USAGE', `--environment must be NAME=VALUE, found "${text.split('=')[0]}"`, {
        details: { field: 'environment' },
      });
    return [name, value] as const;
  });
  const twice = variables.find(([name], at) => variables.findIndex(([other]) => other === name) !== at);
  if (twice !== undefined)
    throw new AntipodeError('USAGE', `--environment has ${twice[0]} more than once`, {
      details: { field: 'environment' },
    });
  return Object.fromEntries(variables);
}

/** Parses the value of an option. A value that does not fit is an error that names the option, here and below. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('It must be a number of seconds above 0.');
  return value;
}

/** Seconds that cross the wire as 32 bits, without a fraction. */
export function wholeSeconds(text: string): number {
  const value = seconds(text);
  if (!Number.isInteger(value) || value > 2 ** 32 - 1)
    throw new InvalidArgumentError(`It must be a whole number of seconds, at most ${2 ** 32 - 1}.`);
  return value;
}

/** Seconds that cross the wire as milliseconds, where 0 means that there is no limit: a shorter time must not become it. */
export function deadlineSeconds(text: string): number {
  const value = seconds(text);
  const ms = Math.round(value * 1_000);
  if (ms < 1 || !Number.isSafeInteger(ms))
    throw new InvalidArgumentError('It must be a number of seconds, at least 0.001.');
  return value;
}

export function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value <= 0 || value > 2 ** 32 - 1)
    throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
}

/** Days that cross the wire as milliseconds. */
export function days(text: string): number {
  const value = Number(text);
  const ms = Math.round(value * 86_400_000);
  if (!(ms >= 1) || !Number.isSafeInteger(ms)) throw new InvalidArgumentError('It must be a number of days above 0.');
  return value;
}

export function percent(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100)
    throw new InvalidArgumentError('It must be a whole number from 1 to 100.');
  return value;
}
