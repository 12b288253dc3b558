/** A line that was typed, as a command with its options. What the real tool is not known to accept is not accepted. */

export interface Typed {
  /** For example `partition archive backup`. */
  readonly command: string;
  readonly options: ReadonlyMap<string, string>;
}

/** An option of the kind `flag` has no value. */
type Options = Readonly<Record<string, 'value' | 'flag'>>;

const ARCHIVE: Options = { slot: 'value', partition: 'value', password: 'value', force: 'flag' };

export const COMMANDS: Readonly<Record<string, Options>> = {
  exit: {},
  'slot list': {},
  'slot set': { slot: 'value' },
  'role login': { name: 'value', password: 'value' },
  'role logout': {},
  'role show': { name: 'value' },
  'hsm showinfo': {},
  'hsm showpolicies': {},
  'partition showinfo': {},
  'partition showpolicies': { slot: 'value', verbose: 'flag' },
  'partition contents': {},
  'partition clear': { force: 'flag' },
  'partition clone': { objects: 'value', password: 'value', slot: 'value', force: 'flag' },
  'partition archive backup': { ...ARCHIVE, append: 'flag', replace: 'flag', objects: 'value' },
  'partition archive restore': { ...ARCHIVE, replace: 'flag', objects: 'value' },
  'partition archive list': { slot: 'value' },
  'partition archive contents': { slot: 'value', partition: 'value', password: 'value' },
  'partition archive delete': { slot: 'value', partition: 'value', force: 'flag' },
};

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
  const known = COMMANDS[name]!;
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
  return words.map((word, at) => (/^-\w*password$/i.test(words[at - 1] ?? '') ? '********' : word)).join(' ');
}
