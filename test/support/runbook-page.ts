/**
 * A page of docs/runbooks as a test runs it: every fenced `sh` block, in the order of the page. Words behind the fence:
 *
 * - `at a`: at this site, coordinator or database. Without it: at the desk of the operator
 * - `status 4`: the exit status that the page tells the operator to expect. Without it: 0
 * - `until`: again and again, until it prints the block that follows
 * - `answer payments`: typed at the question that it asks
 * - `starts`: a process that goes on running. The block that follows is looked for in its log
 * - `otherwise`: of another night: neither run nor compared
 *
 * Of two lines that end with `# with the package` and `# from the sources` a reader types one: see `typedFromSources`.
 *
 * A `text` block shows what the block before it prints, to either output. Times, serial numbers, addresses and positive
 * numbers differ from night to night, and so do the widths of columns. A line `...` stands for any lines, and `...`
 * within a line for any words.
 */
import { readFileSync } from 'node:fs';

const FOLDER = new URL('../../docs/runbooks/', import.meta.url);

export interface RunbookBlock {
  /** The heading above it. */
  readonly heading: string;
  readonly at: string;
  readonly status: number;
  readonly isRepeated: boolean;
  readonly isStart: boolean;
  readonly answers: readonly string[];
  readonly script: string;
  /** Undefined where the page shows nothing. */
  readonly expected: string | undefined;
}

export interface RunbookSection {
  readonly heading: string;
  readonly blocks: readonly RunbookBlock[];
}

export const readRunbook = (name: string): string => readFileSync(new URL(name, FOLDER), 'utf8');

/** @throws where a fence has a word that no test knows, or an output has no command before it */
export function sectionsOfRunbook(page: string): RunbookSection[] {
  return page.split(/^(?=##? )/m).map((section) => {
    const heading = /^#+ (.*)$/m.exec(section)?.[1] ?? '';
    const fences = [...section.matchAll(/^ *```([^\n]*)\n(.*?)^ *```$/gms)];
    const blocks: RunbookBlock[] = [];
    let last = '';
    for (const [, words = '', text = ''] of fences) {
      if (isCommand(words) && !isOtherwise(words)) blocks.push({ heading, script: text, ...optionsOf(words) });
      else if (words === 'text') {
        const block = blocks.pop();
        if (block === undefined || !isCommand(last) || isOtherwise(last))
          throw new Error(`${heading}: this output has no command before it:\n${text}`);
        blocks.push({ ...block, expected: text });
      } else if (words !== 'yaml' && !isOtherwise(words)) throw new Error(`${heading}: a block is marked "${words}"`);
      last = words;
    }
    const blind = blocks.find(({ isRepeated, expected }) => isRepeated && expected === undefined);
    if (blind !== undefined) throw new Error(`${heading}: "until" needs the output that ends it:\n${blind.script}`);
    return { heading, blocks };
  });
}

const isCommand = (words: string): boolean => /^sh( |$)/.test(words);
const isOtherwise = (words: string): boolean => /^(sh|text) otherwise$/.test(words);

function optionsOf(words: string): Omit<RunbookBlock, 'heading' | 'script'> {
  const [, ...rest] = words.split(' ');
  const options = {
    at: '',
    status: 0,
    isRepeated: false,
    isStart: false,
    answers: [] as string[],
    expected: undefined,
  };
  while (rest.length > 0) {
    const word = rest.shift();
    if (word === 'until') options.isRepeated = true;
    else if (word === 'starts') options.isStart = true;
    else if (word === 'at' && rest.length > 0) options.at = rest.shift()!;
    else if (word === 'answer' && rest.length > 0) options.answers.push(rest.shift()!);
    else if (word === 'status' && /^[1-9]\d*$/.test(rest[0] ?? '')) options.status = Number(rest.shift());
    else throw new Error(`a block is marked "${words}"`);
  }
  return options;
}

/** The command of a page for somebody who has no package. @throws where a page names only one of the two ways */
export function typedFromSources(script: string): string {
  const lines = script.split('\n');
  const isFor = (line: string | undefined, way: string): boolean => line?.endsWith(` # ${way}`) ?? false;
  const lonely = lines.find(
    (line, index) =>
      (isFor(line, 'with the package') && !isFor(lines[index + 1], 'from the sources')) ||
      (isFor(line, 'from the sources') && !isFor(lines[index - 1], 'with the package')),
  );
  if (lonely !== undefined) throw new Error(`a page names only one way: ${lonely}`);
  return lines
    .filter((line) => !isFor(line, 'with the package'))
    .map((line) => line.replace(/ +# from the sources$/, ''))
    .join('\n');
}

/** Lines that are the same on every night. */
export function linesToCompare(text: string): string[] {
  return text
    .split('\n')
    .map(masked)
    .filter((line) => line !== '');
}

const masked = (line: string): string =>
  line
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replace(/\b\d+(\.\d+)? (ms|s|min|h|d)\b/g, '<time>')
    .replace(/\b[\w-]+(\.[\w-]+)*:\d{3,5}\b/g, '<address>')
    .replace(/\b[0-9a-f]{16,}\b/g, '<serial>')
    .replace(/\b(?=[a-f]*\d)[0-9a-f]{8}\b/g, '<operation>')
    .replace(/(?<![\w.])(0*[1-9]\d*(\.\d+)?)(?![\w])/g, '#')
    .replace(/\s+/g, ' ')
    .trim();

/** Whether a page shows what was printed. */
export function isAsShown(expected: string, printed: string): boolean {
  const parts = linesToCompare(expected).map((line) =>
    line === '...' ? '(?:[^\\n]*\\n)*?' : `${line.split('...').map(escaped).join('[^\\n]*?')}\\n`,
  );
  return new RegExp(`^${parts.join('')}$`).test(
    linesToCompare(printed)
      .map((line) => `${line}\n`)
      .join(''),
  );
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
