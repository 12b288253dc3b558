/** The words after `npm run chaos:hsm --`. */
import { parseArgs } from 'node:util';
import { UsageError } from '../program.ts';

/** How keys come into the token: wrapped, or by the files of SoftHSM's store. */
export type Movement = 'sealed' | 'native';

export interface Options {
  readonly kills: number;
  readonly seed: string;
  readonly isOnDisk: boolean;
  readonly isJson: boolean;
  readonly movement: Movement;
  /** Name of an episode. */
  readonly replay: string | undefined;
}

export const HELP = `Usage: npm run chaos:hsm -- [options]

Kills a standby with SIGKILL while it applies generations of EC, RSA and AES keys to a SoftHSM token that also holds objects
of other applications: at every recorded step, in the middle of PKCS#11 calls, and at random. After each kill, a reader of
its own looks at the token; then the standby is started again, until the generation is acknowledged.

  --kills N            how often (default 200; 2000 reach every recorded step)
  --seed S             where, when and whom (default 1)
  --movement HOW       sealed (default), or native: unextractable keys, cloned by the files of the token store
  --disk               the token on disk instead of tmpfs
  --replay SEED:STEP   one chain of kills again, as a violation names it, twenty times
  --json               nothing on standard error but violations
  --help

Examples:
  npm run chaos:hsm -- --kills 2000
  npm run chaos:hsm -- --movement native --kills 500
  npm run chaos:hsm -- --kills 500 --seed night-1 --disk
  npm run chaos:hsm -- --replay "1:fresh.57.agent"
  npm run chaos:hsm -- --replay "1:random.12"

The last line on standard output is one JSON object: kills; keys lost that were acknowledged; half keys left after an
acknowledgement; objects of others destroyed or altered. Objects that are there twice, and generations that are never
acknowledged, are violations as well. Exit codes: 0 no violation, 1 some, each told on standard error, 2 usage.
`;

/** Undefined where help was asked for. @throws UsageError */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const { kills = '200', seed = '1', replay, movement = 'sealed' } = values;
  if (!/^[1-9]\d{0,6}$/.test(kills)) throw new UsageError(`--kills: expected a whole number from 1, found "${kills}"`);
  if (!/^[\w-]+$/.test(seed)) throw new UsageError(`--seed: expected letters, digits and dashes, found "${seed}"`);
  if (movement !== 'sealed' && movement !== 'native')
    throw new UsageError(`--movement: expected sealed or native, found "${movement}"`);
  const again = replay === undefined ? undefined : /^([\w-]+):([\w.-]+)$/.exec(replay);
  if (again === null) throw new UsageError(`--replay: expected SEED:STEP, found "${replay}"`);
  return {
    kills: Number(kills),
    seed: again?.[1] ?? seed,
    isOnDisk: values.disk === true,
    isJson: values.json === true,
    movement,
    replay: again?.[2],
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        kills: { type: 'string' },
        seed: { type: 'string' },
        disk: { type: 'boolean' },
        replay: { type: 'string' },
        movement: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
  } catch (thrown) {
    throw new UsageError((thrown as Error).message);
  }
}
