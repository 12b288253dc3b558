/** What several commands share: options and their parsing. */
import { AntipodeError } from '@antipode/runtime';
import { Command } from 'commander';

export const TIMEOUT_S_DEFAULT = 300;

export function command(name: string, description: string, examples: readonly string[] = []): Command {
  const made = new Command(name).description(description);
  return examples.length === 0
    ? made
    : made.addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ antipode ${example}`).join('\n')}`);
}

/** A command that asks the coordinator. */
export function operatorCommand(name: string, description: string, examples: readonly string[] = []): Command {
  return command(name, description, examples)
    .option(
      '-c, --config <file>',
      'operator.yaml (default: $ANTIPODE_CONFIG, ./operator.yaml, ~/.config/antipode/operator.yaml)',
    )
    .option('--json', 'JSON on standard output');
}

export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

/** `id@host:port` */
export function parseCoordinator(text: string): { id: string; address: string } {
  const match = /^([a-z0-9][a-z0-9-]*)@([^\s:]+:\d{1,5})$/.exec(text);
  if (match === null)
    throw new AntipodeError('USAGE', `--coordinator must be ID@HOST:PORT, found "${text}"`, {
      details: { field: 'coordinator' },
    });
  return { id: match[1]!, address: match[2]! };
}

/** `site=serial` */
export function parseSeat(text: string): { site: string; serial: string } {
  const [site, serial, more] = text.split('=');
  if (!site || !serial || more !== undefined)
    throw new AntipodeError('USAGE', `a member must be SITE=SERIAL, found "${text}"`, { details: { field: 'member' } });
  return { site, serial };
}

export function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0)
    throw new AntipodeError('USAGE', `expected a number of seconds, found "${text}"`, {
      details: { field: 'timeout' },
    });
  return value;
}
