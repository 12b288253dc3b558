/** The words after `npm run chaos --`. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { UsageError } from '../program.ts';

export interface Options {
  readonly seeds: number;
  readonly seed: number;
  readonly workers: number;
  readonly isJson: boolean;
  /** Deliberate bugs that are tried too: all of them, one by its name, or none. */
  readonly mutants: string;
  readonly replay: string | undefined;
  /** Acts that are left out of the story that is replayed. */
  readonly without: ReadonlySet<number>;
}

export const HELP = `Usage: npm run chaos -- [options]

Runs whole systems in one process on virtual time: the real agents and coordinators over a simulated network, disks,
HSMs, database and queue. A seed decides what is done to a system: faults, orders of operators, and the work of
applications. After every event the invariants of docs/invariants.md are checked. When the faults have healed, everything
must settle. The same seed does the same, byte for byte. test/chaos/README.md says which faults and invariants there are.

  --seeds N       how many seeds (default 100)
  --seed S        the first one (default 0)
  --workers W     processes side by side (default: one for each processor)
  --mutants M     deliberate bugs in the product that must be caught: all, none, or one by its name (default: all if
                  there are 1,000 seeds or more, otherwise none)
  --json          the closing line as one JSON object: seeds, violations (seeds that broke a rule), virtualHours, faults
                  by kind, checks, mutantsCaught
  --replay S      opens the run of one seed. Commands come from standard input; help lists them.
  --without 1,2   leaves these acts out of the story that is replayed
  --help

Examples:
  npm run chaos -- --seeds 10000 --json
  npm run chaos -- --seed 4711 --seeds 1
  npm run chaos -- --replay 4711
  echo 'diff 1200 1300' | npm run chaos -- --replay 4711 --without 3,5
  npm run chaos -- --seeds 0 --mutants all

Progress and violations are on standard error, the closing line is on standard output. Ctrl-C ends with what was done.
Exit codes: 0 no violation and every mutant caught, 1 otherwise, 2 usage, 130 after Ctrl-C.
`;

/** Undefined where help was asked for. @throws UsageError */
export function parseOptions(args: readonly string[]): Options | undefined {
  const values = parse(args);
  if (values.help === true) return undefined;
  const seeds = count('seeds', values.seeds ?? '100', 10_000_000);
  const { replay } = values;
  if (replay !== undefined && !/^(?:[a-z-]+\/)?\d{1,12}$/.test(replay))
    throw new UsageError(`--replay: expected a seed, or a story and a seed as in paused-active/3, found "${replay}"`);
  return {
    seeds,
    seed: count('seed', values.seed ?? '0', 1e12),
    workers: Math.max(1, count('workers', values.workers ?? String(availableParallelism()), 256)),
    isJson: values.json === true,
    mutants: values.mutants ?? (seeds >= 1_000 ? 'all' : 'none'),
    replay,
    without: new Set(
      (values.without ?? '')
        .split(',')
        .filter(Boolean)
        .map((text) => count('without', text, 10_000)),
    ),
  };
}

function count(option: string, text: string, max: number): number {
  if (/^\d{1,12}$/.test(text) && Number(text) <= max) return Number(text);
  throw new UsageError(`--${option}: expected a whole number up to ${max}, found "${text}"`);
}

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        seeds: { type: 'string' },
        seed: { type: 'string' },
        workers: { type: 'string' },
        mutants: { type: 'string' },
        replay: { type: 'string' },
        without: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
    return values;
  } catch (thrown) {
    throw new UsageError((thrown as Error).message);
  }
}
