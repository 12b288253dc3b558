import type { Command } from 'commander';
import { EXIT, EXIT_MEANINGS, exitCodeOf } from '../apps/cli/src/exit-codes.ts';
import { program } from '../apps/cli/src/main.ts';
import { subcommandsOf } from '../apps/cli/src/options/options.ts';
import { AntipodeError, CATALOGUE, type ErrorCode } from '../packages/runtime/src/errors.ts';
import { wrap } from './wrap.ts';

const COLUMNS = 110;

/** `docs/cli.md`: every command as its `--help` prints it, and what an exit status means. */
export async function cliDocs(): Promise<string> {
  const root = await program();
  return `<!-- Generated from apps/cli/src by \`npm run generate\`. Do not edit. -->

# Commands

${root.description()}

A command is a noun and then a verb. Each has \`--help\`.

- Data goes to standard output. Progress, warnings and errors go to standard error.
- With \`--output json\` or \`--output yaml\` the data is for programs, and an error is one line of JSON.
  \`--json\` is short for \`--output json\`.
- At a terminal, tables fit its width, and states have colours. \`NO_COLOR\` turns colours off, and
  \`FORCE_COLOR\` turns them on.
- Commands that ask the coordinator use the file that \`--config\` or \`$ANTIPODE_CONFIG\` names. Else they look for
  \`operator.yaml\` and then \`application.yaml\` in this folder, and for \`operator.yaml\` in \`~/.config/antipode\`.
- Commands that work at a site find \`agent.yaml\` by \`--config\`, or in this folder.
- A command that destroys or gives up something first says so and asks. \`--yes\` answers for scripts.

## Exit status

| status | meaning |
| --- | --- |
${EXIT_MEANINGS.map(([code, meaning]) => `| ${code} | ${meaning} |`).join('\n')}

\`status\`, \`resolve\` and \`replicate\` give their answer and then end with ${EXIT.degraded} if something lags. \`resolve\` gives no
answer, and ends with ${EXIT.refused} or ${EXIT.operatorNeeded}, if any answer could name a fenced site.

An error ends with ${EXIT.error}, except these:

${EXIT_MEANINGS.flatMap(([code]) => endsWith(code)).join('\n')}

${subcommandsOf(root)
  .flatMap((one) => sections(one, []))
  .join('\n\n')}
`;
}

function endsWith(status: number): string[] {
  if (status === EXIT.error) return [];
  const codes = (Object.keys(CATALOGUE) as ErrorCode[]).filter(
    (code) => exitCodeOf(new AntipodeError(code, '')) === status,
  );
  if (codes.length === 0) return [];
  const listed = codes.sort().map((code) => `\`${code}\``);
  return [wrap(`- ${status}: ${listed.join(', ')}`, { indent: '  ' })];
}

function sections(one: Command, above: readonly string[]): string[] {
  const path = [...above, one.name()];
  const title = `${'#'.repeat(path.length + 1)} antipode ${path.join(' ')}`;
  const children = subcommandsOf(one);
  if (children.length > 0)
    return [`${title}\n\n${sentence(one.description())}`, ...children.flatMap((child) => sections(child, path))];
  return [`${title}\n\n\`\`\`text\n${helpOf(one)}\n\`\`\``];
}

/** What `--help` prints, in lines of this length. */
export function helpOf(one: Command, columns = COLUMNS): string {
  let help = '';
  one.configureOutput({
    writeOut: (text) => (help += text),
    getOutHelpWidth: () => columns,
    getOutHasColors: () => false,
  });
  one.outputHelp();
  return help
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .trim();
}

export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
