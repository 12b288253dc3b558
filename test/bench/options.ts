/** The words after `npm run bench --`. */
import { parseArgs } from 'node:util';

export const PARTS = [
  'full',
  'aes',
  'incremental',
  'sites',
  'move',
  'history',
  'native',
  'scale',
  'dashboard',
] as const;
/** They are about other machines than the others: one that runs a coordinator, and one with a browser. */
const ON_DEMAND: readonly Part[] = ['scale', 'dashboard'];
export type Part = (typeof PARTS)[number];

export interface Options {
  readonly keys: number;
  readonly large: number;
  readonly rounds: number;
  readonly rttMs: number;
  readonly sample: number;
  readonly hasDisk: boolean;
  readonly days: number;
  readonly hasFloor: boolean;
  readonly isJson: boolean;
  readonly parts: ReadonlySet<Part>;
  readonly profile: string | undefined;
  readonly fleet: Fleet;
}

/** Of the part `scale`. */
export interface Fleet {
  readonly groups: number;
  readonly sites: number;
  readonly members: number;
  readonly lost: number;
  readonly seconds: number;
  readonly pace: number;
  readonly tellsChanges: boolean;
}

export const HELP = `Usage: npm run bench -- [options]

Measures Antipode on SoftHSM tokens, beside a small C program that does the bare PKCS#11 calls for the same objects on the
same tokens in the same run, and beside the script of pkcs11-tool that a user would write.

  --keys N       keys of a full replication (default 1000: RSA-2048 30 %, EC P-256 40 %, AES-256 30 %)
  --large N      AES keys of a large partition (default 10000); a generation of ten times as many is moved
  --rounds N     rounds of each measurement; medians are told (default 3)
  --rtt MS       round trip of the slow link between two agents (default 80)
  --quick        100 and 1000 keys, one round, ten days of history instead of a year: whether it works, not how fast it is
  --disk         full replication once more with the tokens on disk
  --only PARTS   some of ${PARTS.join(',')} (default all but ${ON_DEMAND.join(' and ')}; dashboard needs chromium)
  --fleet GxSxM  of the part scale: groups, sites, and members of each group (default 1000x20x5)
  --lost N       of the part scale: neighbouring sites that are lost at once and return (default 0)
  --seconds N    of the part scale: how long the steady state is measured (default 60)
  --pace N       of the part scale: percent of real time at which its clocks run (default 100), for a busy machine
  --whole        of the part scale: agents that tell everything with each heartbeat, as those of earlier releases do
  --no-floor     without the C program, where there is no compiler
  --profile DIR  writes a CPU profile of every agent, HSM worker and coordinator into DIR (see docs/performance.md)
  --json         one JSON object in one line on standard output; else tables
  --help

Examples:
  npm run bench
  npm run bench -- --quick --json
  npm run bench -- --only full,aes --rounds 5 --disk
  npm run bench -- --only incremental --large 10000 --profile profiles
  npm run bench -- --only scale --fleet 200x200x5 --lost 30

Takes about fifteen minutes, and some 200 MB of /dev/shm. Exit codes: 0 measured, whatever the figures are; 1 failed;
2 usage, or no C compiler.
`;

export class UsageError extends Error {}

/** Undefined where help was asked for. @throws UsageError */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const isQuick = values.quick === true;
  const parts = (values.only?.split(',') ?? PARTS.filter((part) => !ON_DEMAND.includes(part))) as Part[];
  const unknown = parts.find((part) => !PARTS.includes(part));
  if (unknown !== undefined) throw new UsageError(`--only: "${unknown}" is none of ${PARTS.join(', ')}`);
  const keys = count('keys', values.keys ?? (isQuick ? '100' : '1000'), 4);
  return {
    keys,
    large: count('large', values.large ?? (isQuick ? '1000' : '10000'), 1),
    rounds: count('rounds', values.rounds ?? (isQuick ? '1' : '3'), 1),
    rttMs: count('rtt', values.rtt ?? '80', 0),
    sample: Math.min(keys, isQuick || keys < 100 ? 5 : 51),
    hasDisk: values.disk === true,
    days: isQuick ? 10 : 365,
    hasFloor: values['no-floor'] !== true && parts.some((part) => !ON_DEMAND.includes(part)),
    isJson: values.json === true,
    parts: new Set(parts),
    profile: values.profile,
    fleet: {
      ...fleetOf(values.fleet ?? '1000x20x5'),
      lost: count('lost', values.lost ?? '0', 0),
      seconds: count('seconds', values.seconds ?? '60', 1),
      pace: count('pace', values.pace ?? '100', 1) / 100,
      tellsChanges: values.whole !== true,
    },
  };
}

/** A group needs three members to fail over by itself, and each at a site of its own. */
function fleetOf(text: string): Pick<Fleet, 'groups' | 'sites' | 'members'> {
  const [, groups, sites, members] = /^(\d{1,5})x(\d{1,3})x(\d{1,3})$/.exec(text)?.map(Number) ?? [];
  if (groups === undefined || sites === undefined || members === undefined || members < 3 || members > sites)
    throw new UsageError(`--fleet: expected groups, sites and members such as 1000x20x5, found "${text}"`);
  return { groups, sites, members };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        keys: { type: 'string' },
        large: { type: 'string' },
        rounds: { type: 'string' },
        rtt: { type: 'string' },
        quick: { type: 'boolean' },
        disk: { type: 'boolean' },
        only: { type: 'string' },
        'no-floor': { type: 'boolean' },
        profile: { type: 'string' },
        fleet: { type: 'string' },
        lost: { type: 'string' },
        seconds: { type: 'string' },
        pace: { type: 'string' },
        whole: { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
  } catch (thrown) {
    throw new UsageError((thrown as Error).message);
  }
}

function count(name: string, text: string, least: number): number {
  const number = Number(text);
  if (!/^\d{1,6}$/.test(text) || number < least)
    throw new UsageError(`--${name}: expected a whole number from ${least} to 999999, found "${text}"`);
  return number;
}
