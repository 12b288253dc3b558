import type { Command } from 'commander';
import { EXIT_MEANINGS } from '../apps/cli/src/exit-codes.ts';
import { subcommandsOf } from '../apps/cli/src/options/options.ts';
import { VERSION } from '../packages/runtime/src/version.ts';
import { helpOf, sentence } from './generate-cli-docs.ts';

/** A page is indented by 7, and a terminal has 80. */
const COLUMNS = 72;

const FILES: readonly (readonly [string, string])[] = [
  ['/var/lib/antipode/site/agent.yaml', 'Configuration of the site agent.'],
  ['/var/lib/antipode/witness/agent.yaml', 'Configuration of the witness.'],
  ['/var/lib/antipode/coordinator/coordinator.yaml', 'Configuration of the coordinator.'],
  ['~/.config/antipode/operator.yaml', 'Addresses and certificate of an operator.'],
  ['/usr/share/doc/antipode/docs', 'Installation, runbooks, errors and everything else.'],
];

/** The manual pages by name, from the commands as they are: `antipode`, and one for each noun with all its verbs. */
export function manualPages(root: Command, epochSeconds: number): ReadonlyMap<string, string> {
  const date = new Date(epochSeconds * 1_000).toISOString().slice(0, 10);
  const nouns = subcommandsOf(root);
  const nameOf = (noun: Command): string => `antipode-${noun.name()}`;
  const head = (name: string, description: string): string[] => [
    `.TH ${escaped(name.toUpperCase())} 1 "${date}" "antipode ${VERSION}" "Antipode"`,
    '.SH NAME',
    `${escaped(name)} \\- ${escaped(description)}`,
  ];
  const general = [
    ...head('antipode', root.description().replace(/\.$/, '')),
    '.SH SYNOPSIS',
    '.B antipode',
    '.I noun',
    '.RI [ verb ]',
    '.RI [ options ]',
    '.SH DESCRIPTION',
    'A command is a noun and then a verb. Each noun has a page of its own.',
    ...nouns.flatMap((noun) => ['.TP', `.BR ${escaped(nameOf(noun))} (1)`, text(sentence(noun.description()))]),
    '.SH EXIT STATUS',
    ...EXIT_MEANINGS.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, text(meaning)]),
    '.SH FILES',
    ...FILES.flatMap(([file, what]) => ['.TP', `.I ${escaped(file)}`, text(what)]),
    '.SH SEE ALSO',
    '.BR systemctl (1),',
    '.BR systemd\\-creds (1)',
  ];
  return new Map([
    ['antipode', page(general)],
    ...nouns.map(
      (noun) =>
        [
          nameOf(noun),
          page([
            ...head(nameOf(noun), noun.description()),
            ...verbsOf(noun, ['antipode', noun.name()]),
            '.SH SEE ALSO',
            '.BR antipode (1)',
          ]),
        ] as const,
    ),
  ]);
}

/** Each command as its `--help` prints it. */
function verbsOf(one: Command, path: readonly string[]): string[] {
  const children = subcommandsOf(one);
  if (children.length > 0) return children.flatMap((child) => verbsOf(child, [...path, child.name()]));
  return [`.SH ${escaped(path.join(' ').toUpperCase())}`, '.nf', ...helpOf(one, COLUMNS).split('\n').map(text), '.fi'];
}

const page = (lines: readonly string[]): string => `${lines.join('\n')}\n`;

/** A line that begins with a dot or a quote would be a request to the formatter. */
const text = (line: string): string => escaped(line).replace(/^(?=[.'])/, '\\&');

/** A hyphen of an option is a minus sign, so that what is copied from the page works. */
const escaped = (line: string): string => line.replaceAll('\\', '\\e').replaceAll('-', '\\-');
