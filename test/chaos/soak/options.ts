/** The words after `npm run chaos:soak --`. */
import { parseArgs } from 'node:util';
import { UsageError } from '../program.ts';

export interface Options {
  readonly minutes: number;
  readonly seed: string;
  readonly isJson: boolean;
  /** Keep the folder with logs and tokens afterwards. */
  readonly isKept: boolean;
}

export const HELP = `Usage: npm run chaos:soak -- [options]

Runs three sites and a coordinator as real processes on SoftHSM tokens. Applications make, replace and delete keys with
pkcs11-tool at the member that \`antipode resolve\` names, all the time. Meanwhile processes are killed and frozen, links
are cut, wall clocks are stepped, PostgreSQL and Redis are stalled, and the active role is moved, at random from a seed.
Afterwards all faults heal, and each acknowledged key must sign at each site, found by its label and by its id.

  --minutes N   how long faults go on (default 10)
  --seed S      which faults, where and when (default 1)
  --keep        keep the folder with tokens, journals and logs, and print its name
  --json        nothing on standard error but violations
  --help

Examples:
  npm run chaos:soak -- --minutes 10 --json
  npm run chaos:soak -- --minutes 2 --seed night-3 --keep

The last line on standard output is one JSON object: keys that were acknowledged; acknowledged keys that are lost; deleted
or replaced keys that answer to their name; moments at which two members were active; groups, members and operations that
had not settled 60 s after the last fault; faults by kind. Exit codes: 0 all of them are zero, 1 some are not, 2 usage.
`;

/** Undefined where help was asked for. @throws UsageError */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const { minutes = '10', seed = '1' } = values;
  if (!/^\d{1,4}(\.\d+)?$/.test(minutes) || Number(minutes) === 0)
    throw new UsageError(`--minutes: expected a number above 0, found "${minutes}"`);
  if (!/^[\w-]+$/.test(seed)) throw new UsageError(`--seed: expected letters, digits and dashes, found "${seed}"`);
  return { minutes: Number(minutes), seed, isJson: values.json === true, isKept: values.keep === true };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        minutes: { type: 'string' },
        seed: { type: 'string' },
        keep: { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
  } catch (thrown) {
    throw new UsageError((thrown as Error).message);
  }
}
