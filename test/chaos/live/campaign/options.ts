/** The words after `npm run chaos:live --`. */
import { parseArgs } from 'node:util';
import { UsageError } from '../../program.ts';
import { STORIES } from './stories/index.ts';

const SWITCHOVER = 'switchover';
export const KINDS: readonly string[] = [...STORIES.map(({ name }) => name), SWITCHOVER];

export interface Options {
  /** Of each kind. */
  readonly runs: number;
  readonly kinds: readonly string[];
  readonly profile: 'fast' | 'default';
  readonly keys: number;
  readonly seed: string;
  readonly isJson: boolean;
}

const NAME_WIDTH = Math.max(...KINDS.map(({ length }) => length)) + 2;
const LINE_WIDTH = 112;

export const HELP = `Usage: npm run chaos:live -- [options]

Real processes on SoftHSM tokens, each place in a network namespace of its own where this user can make them. A client
signs with pkcs11-tool at the member that \`antipode resolve\` names, and OpenSSL's library verifies. Keys are made and
replicated meanwhile. At the end every acknowledged key must sign there, found by its id and by its label. The journals
of all agents must never show two active members, an epoch of two owners, or an epoch that went back.

${[
  ...STORIES.map(({ name, what }) => described(name, what)),
  described(SWITCHOVER, 'planned moves of a group of many keys, there and back'),
].join('\n')}

  --runs N         of each kind (default 3)
  --only KINDS     one or several of these, with commas between them (default all)
  --profile NAME   fast or default: the timings of the coordinator (default fast)
  --seed TEXT      decides the moments of the faults and their variants (default: another one each time)
  --keys N         keys of the group that is switched over (default 1000)
  --json           nothing on standard error but violations
  --help

Examples:
  npm run chaos:live -- --only site-loss --runs 30 --json
  npm run chaos:live -- --only site-cut,one-way --profile default --runs 3

The last line on standard output is one JSON object with the distribution of the times in milliseconds. Exit codes: 0 no
key was lost, no two members were active, every client went on, and every group settled; 1 otherwise; 2 usage.
`;

/** Undefined where help was asked for. @throws UsageError */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const { runs = '3', keys = '1000', profile = 'fast', only, seed = String(process.hrtime.bigint()) } = values;
  if (profile !== 'fast' && profile !== 'default')
    throw new UsageError(`--profile: expected fast or default, found "${profile}"`);
  return {
    runs: count('--runs', runs),
    keys: count('--keys', keys),
    kinds: only === undefined ? KINDS : only.split(',').map(kind),
    profile,
    seed,
    isJson: values.json === true,
  };
}

function kind(text: string): string {
  const found = KINDS.find((one) => one === text);
  if (found === undefined) throw new UsageError(`--only: expected ${KINDS.join(', ')}, found "${text}"`);
  return found;
}

function count(name: string, text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError(`${name}: expected a number above 0, found "${text}"`);
  return Number(text);
}

function described(name: string, what: string): string {
  const lines = [''];
  for (const word of what.split(' ')) {
    const line = `${lines.at(-1)!} ${word}`;
    if (line.length + NAME_WIDTH + 2 > LINE_WIDTH) lines.push(` ${word}`);
    else lines[lines.length - 1] = line;
  }
  return lines
    .map((line, at) => `  ${(at === 0 ? name : '').padEnd(NAME_WIDTH)}${line.trim()}`)
    .join('\n')
    .trimEnd();
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        runs: { type: 'string' },
        only: { type: 'string' },
        profile: { type: 'string' },
        keys: { type: 'string' },
        seed: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
  } catch (thrown) {
    throw new UsageError((thrown as Error).message);
  }
}
