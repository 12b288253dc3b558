import { AntipodeError, CATALOGUE, type ErrorCode, isErrorCode } from '@antipode/runtime';
import type { Command } from 'commander';
import { exitCodeOf } from '../exit-codes.ts';
import { command, JSON_OPTION } from '../options/options.ts';
import { output } from '../output.ts';

/** For people, what happens after an error of each kind. */
const DISPOSITIONS: Readonly<Record<string, string>> = {
  retry: 'it passes by itself, and the coordinator or the agent tries again',
  'stand-down': 'somebody else has a newer word, so whoever raised it stopped at once',
  operator: 'a person must decide or repair something',
  defect: 'a defect of Antipode',
};

export function explainCommand(): Command {
  return command('explain', 'say what an error code means and what to do', ['explain PIN_REFUSED'])
    .argument('<code>', 'as in the first line of an error: PIN_REFUSED')
    .option(...JSON_OPTION)
    .action((given: string, options) => {
      const code = given
        .toUpperCase()
        .replaceAll(/^\[|\]$/g, '')
        .replaceAll('-', '_');
      if (!isErrorCode(code)) throw unknownCode(given, nearOf(code));
      const { summary, hint, disposition } = CATALOGUE[code];
      const exitStatus = exitCodeOf(new AntipodeError(code, ''));
      output(options).data({ code, summary, hint, disposition, exitStatus }, () =>
        [
          code,
          summary,
          `Hint: ${hint}`,
          `After it: ${DISPOSITIONS[disposition] ?? disposition}. A command that ends with it has the exit status ${exitStatus}.`,
        ].join('\n\n'),
      );
    });
}

function unknownCode(given: string, near: readonly ErrorCode[]): AntipodeError {
  const others = near.length === 0 ? '' : `; the nearest ones are ${near.join(', ')}`;
  return new AntipodeError('NOT_FOUND', `no error has the code ${given}${others}`, {
    details: { code: given, near: near.join(',') },
    hint: near.length === 0 ? 'docs/errors.md has all codes.' : `Run \`antipode explain ${near[0]}\`.`,
  });
}

const NEAR_MAX = 5;

/** Codes that share a word with it, or that differ in a few letters. */
export function nearOf(code: string): ErrorCode[] {
  const words = new Set(code.split('_').filter((word) => word.length > 2));
  const scored = (Object.keys(CATALOGUE) as ErrorCode[]).map((one) => {
    const shared = one.split('_').filter((word) => words.has(word)).length;
    return { one, shared, distance: distanceBetween(code, one) };
  });
  return scored
    .filter(({ one, shared, distance }) => shared > 0 || distance <= Math.ceil(one.length / 3))
    .sort((left, right) => left.distance - 3 * left.shared - (right.distance - 3 * right.shared))
    .slice(0, NEAR_MAX)
    .map(({ one }) => one);
}

/** Letters that must be put in, taken out or changed (Levenshtein). */
function distanceBetween(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (const [at, letter] of [...one].entries()) {
    const next = [at + 1];
    for (const [to, theirs] of [...other].entries())
      next.push(Math.min(next[to]! + 1, row[to + 1]! + 1, row[to]! + (letter === theirs ? 0 : 1)));
    row = next;
  }
  return row[other.length]!;
}
