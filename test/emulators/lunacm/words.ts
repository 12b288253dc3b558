/** A line that was typed, as a command with its options. Anything that the real tool is not known to accept is refused. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Typed {
  /** For example `partition archive backup`. */
  readonly command: string;
  readonly options: ReadonlyMap<string, string>;
}

/** An option of the kind `flag` has no value. */
type Options = Readonly<Record<string, 'value' | 'flag'>>;

/** Data with a mark, as the texts of a dialect are. */
export const COMMANDS = JSON.parse(readFileSync(join(import.meta.dirname, 'commands.json'), 'utf8')) as Readonly<
  Record<string, { readonly options: Options; readonly mark: 'C' | 'I' | 'K'; readonly source: string }>
>;

/** Words between blanks. Double quotes keep blanks in a word; nothing keeps a double quote. */
export function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

/** Undefined if the tool would refuse it. Names of commands and options have no case; values are as typed. */
export function typedOf(words: readonly string[]): Typed | undefined {
  const name = Object.keys(COMMANDS)
    .sort((a, b) => b.length - a.length)
    .find((one) => one.split(' ').every((word, at) => words[at]?.toLowerCase() === word));
  if (name === undefined) return undefined;
  const known = COMMANDS[name]!.options;
  const options = new Map<string, string>();
  const rest = words.slice(name.split(' ').length);
  while (rest.length > 0) {
    const word = rest.shift()!;
    const option = word.toLowerCase().replace(/^-/, '');
    if (!word.startsWith('-') || !Object.hasOwn(known, option) || options.has(option)) return undefined;
    const value = known[option] === 'flag' ? '' : rest.shift();
    if (value === undefined) return undefined;
    options.set(option, value);
  }
  return { command: name, options };
}

/** For the log: with no value of an option that is a password. */
export function maskedLine(words: readonly string[]): string {
  return words
    .map((word, at) => (/^-(?:\w*password|domain)$/i.test(words[at - 1] ?? '') ? '********' : word))
    .join(' ');
}
