/**
 * Every move of keys that the devices of a site make for a group, judged before anything is changed: copies into its
 * partition, backups into each vault, and drills from there. Nobody logs in.
 */
import { LunaDriver, type PartitionAddress, type PreflightRow } from '@antipode/hsm-core/luna';
import { AntipodeError } from '@antipode/runtime';
import { type AgentConfig, seatedPartition } from '@antipode/site-agent';
import { withTool } from '../commands/luna/tool.ts';
import { ownAddress, withDriver } from '../doctor/cloning.ts';

export interface MoveRow extends PreflightRow {
  readonly move: 'clone' | 'backup' | 'drill';
  /** Serial numbers. */
  readonly from: string;
  readonly to: string;
}

type Vault = AgentConfig['vaults'][number];

/** @throws NOT_FOUND if this site has no seat in the group, PROGRAM_MISSING */
export async function movesOf(config: AgentConfig, group: string): Promise<MoveRow[]> {
  const { name, serial } = seatedPartition(config, group);
  const partition = config.partitions.find((one) => one.name === name)!;
  const rows: MoveRow[] = [];
  const { native } = partition;
  if (native?.kind === 'luna') {
    const own = (driver: LunaDriver) => ownAddress(driver, { partition, native });
    for (const source of native.sources)
      rows.push(
        ...(await withDriver(config, native, (driver) =>
          judged({ move: 'clone', from: source.serial, to: native.serial ?? serial }, async () => {
            const to = await own(driver);
            return driver.compareEnds({ move: 'clone', from: source, to });
          }),
        )),
      );
  }
  for (const vault of config.vaults) if (vault.partition.name === name) rows.push(...(await vaultMoves(vault)));
  return rows;
}

function vaultMoves(vault: Vault): Promise<MoveRow[]> {
  const { client, partition, scratch } = vault;
  const { lunacm, configuration: clientConfig, environment, buffering } = client;
  return withTool({ lunacm, clientConfig, environment, buffering }, async (ports) => {
    const driver = new LunaDriver(ports);
    const backup = { move: 'backup', from: partition.serial, to: vault.serial } as const;
    const { slots } = await driver.survey();
    if (!slots.some(({ serial }) => serial === vault.serial))
      return [
        {
          ...{ ...backup, rule: REACHED, verdict: 'not known', source: LISTED, found: 'the vault is not attached' },
          advice: 'Attach it and run this again. A vault that is away is late, and has not failed.',
        },
      ];
    const rows = await judged(backup, () => driver.compareEnds({ move: 'backup', from: partition, to: vault }));
    const archive = (await driver.vault(vault)).archives.findLast(({ objectCount }) => objectCount > 0)?.name;
    if (scratch === undefined || archive === undefined) return rows;
    const drill = { move: 'drill', from: vault.serial, to: scratch.serial } as const;
    const ends = { from: vault as PartitionAddress, to: scratch };
    return [...rows, ...(await judged(drill, () => driver.compareEnds({ move: 'restore', ...ends, archive })))];
  });
}

const REACHED = 'both ends reached';
const LISTED = '`slot list` of lunacm';

/** Why the ends cannot be compared, so far as it is their own doing. */
const ENDS = new Set(['PARTITION_NOT_FOUND', 'LUNA_SLOT_VIRTUAL', 'LUNA_UNREACHED']);

async function judged(
  move: Pick<MoveRow, 'move' | 'from' | 'to'>,
  compare: () => Promise<PreflightRow[]>,
): Promise<MoveRow[]> {
  try {
    const rows = await compare();
    const reached: PreflightRow = {
      ...{ rule: REACHED, verdict: 'fits', source: LISTED, found: 'this client sees both', advice: '' },
    };
    return [reached, ...rows].map((row) => ({ ...move, ...row }));
  } catch (thrown) {
    const { code, message, hint } = AntipodeError.from(thrown);
    if (!ENDS.has(code)) throw thrown;
    const found = message.replace(`[${code}] `, '');
    return [{ ...move, rule: REACHED, verdict: 'will fail', source: LISTED, found, advice: hint }];
  }
}
