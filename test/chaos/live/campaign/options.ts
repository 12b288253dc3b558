/** The words after `npm run chaos:live --`. */
import { parseArgs } from 'node:util';
import { UsageError } from '../../program.ts';

export const KINDS = ['site-loss', 'switchover'] as const;
export type Kind = (typeof KINDS)[number];

export interface Options {
  readonly runs: number;
  readonly kinds: readonly Kind[];
  readonly profile: 'fast' | 'default';
  readonly keys: number;
  readonly isJson: boolean;
}

export const HELP = `Usage: npm run chaos:live -- [options]

Real processes on SoftHSM tokens, and a client that signs with pkcs11-tool at the member that \`antipode resolve\` names.

  site-loss   each run starts three sites and a coordinator, kills the agent of the active site and takes its HSM away,
              and measures the time until the client signs at another site. Every acknowledged key must sign there, found
              by its id and by its label. The journals of all agents must never show two active members.
  switchover  planned moves of a group of many keys, there and back

  --runs N         losses, and moves (default 30)
  --only KIND      site-loss or switchover (default both)
  --profile NAME   fast or default: the timings of the coordinator (default fast)
  --keys N         keys of the group that is switched over (default 1000)
  --json           nothing on standard error but violations
  --help

Examples:
  npm run chaos:live -- --runs 30 --json
  npm run chaos:live -- --only site-loss --profile default --runs 5

The last line on standard output is one JSON object with the distribution of the times in milliseconds. Exit codes: 0 no
key was lost, no two members were active, and every client went on; 1 otherwise; 2 usage.
`;

/** Undefined where help was asked for. @throws UsageError */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const { runs = '30', keys = '1000', profile = 'fast', only } = values;
  if (profile !== 'fast' && profile !== 'default')
    throw new UsageError(`--profile: expected fast or default, found "${profile}"`);
  return {
    runs: count('--runs', runs),
    keys: count('--keys', keys),
    kinds: only === undefined ? KINDS : [kind(only)],
    profile,
    isJson: values.json === true,
  };
}

function kind(text: string): Kind {
  const found = KINDS.find((one) => one === text);
  if (found === undefined) throw new UsageError(`--only: expected ${KINDS.join(' or ')}, found "${text}"`);
  return found;
}

function count(name: string, text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError(`${name}: expected a number above 0, found "${text}"`);
  return Number(text);
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
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
  } catch (thrown) {
    throw new UsageError((thrown as Error).message);
  }
}
