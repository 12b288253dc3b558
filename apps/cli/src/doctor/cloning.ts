/** Looks at the Luna client of a partition and at the partitions that it copies from. Changes nothing and logs in nowhere. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownersOf } from '@antipode/hsm-core';
import { jobPortsOf, LunaDriver, type PartitionAddress } from '@antipode/hsm-core/luna';
import { AntipodeError, readPinFile, requireProgram, systemClock } from '@antipode/runtime';
import { type AgentConfig, lunaClientOf } from '@antipode/site-agent';
import type { Check } from './checks.ts';

type Partition = AgentConfig['partitions'][number];
type LunaNative = Extract<NonNullable<Partition['native']>, { kind: 'luna' }>;

/** None where the partition does not clone by a Luna device. */
export function cloningChecks(config: AgentConfig, partition: Partition): Check[] {
  const { native, name } = partition;
  if (native?.kind !== 'luna') return [];
  const owners = ownersOf(config.dataFolder);
  return [
    ['setpriv', () => requireProgram('setpriv', { debianPackage: 'util-linux' })],
    [`lunacm of ${name}`, () => withDriver(config, native, (driver) => describeClient(driver, { partition, native }))],
    ...native.sources.flatMap((source): Check[] => [
      [`PIN file of ${source.serial} for ${name}`, () => readPinFile(source.pinFile, { owners }).wipe()],
      [
        `cloning from ${source.serial} to ${name}`,
        () =>
          withDriver(config, native, async (driver) =>
            compare(driver, { from: source, to: await ownAddress(driver, { partition, native }) }),
          ),
      ],
    ]),
  ];
}

export async function withDriver<T>(
  config: AgentConfig,
  native: LunaNative,
  work: (driver: LunaDriver) => Promise<T>,
): Promise<T> {
  const client = lunaClientOf(native.client, config);
  if (!existsSync(client.lunacm))
    throw new AntipodeError('PROGRAM_MISSING', `${client.lunacm} does not exist`, {
      hint: 'Set `lunacm` of the `luna` section in agent.yaml to the path of the tool of the Luna client.',
    });
  // Root often runs the doctor. Its files must not lie in the data folder of another user.
  const folder = mkdtempSync(join(tmpdir(), 'antipode-doctor-'));
  try {
    return await work(new LunaDriver(jobPortsOf({ ...client, folder }, { clock: systemClock, worker: 'doctor' })));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Own {
  readonly partition: Partition;
  readonly native: LunaNative;
}

/** @throws PARTITION_NOT_FOUND unless exactly one slot is this partition */
export async function ownAddress(driver: LunaDriver, { partition, native }: Own): Promise<PartitionAddress> {
  const { slots } = await driver.survey();
  const label = native.label ?? partition.tokenLabel;
  const found = slots.filter(
    (slot) => slot.label === label && (native.serial === undefined || slot.serial === native.serial),
  );
  const [slot] = found;
  if (slot !== undefined && found.length === 1) return { serial: slot.serial, label };
  throw new AntipodeError(
    'PARTITION_NOT_FOUND',
    `${found.length} of ${slots.length} slots of lunacm are partition ${partition.name}, expected one`,
    {
      details: { slots: slots.length },
      hint: 'Compare `slot list` of lunacm with `tokenLabel`, or set `serial` and `label` of `native` in agent.yaml.',
    },
  );
}

async function describeClient(driver: LunaDriver, own: Own): Promise<string> {
  const { serial } = await ownAddress(driver, own);
  const { version, slots } = await driver.survey();
  const client = version === undefined ? 'a client of unknown version' : `client ${version.major}.${version.minor}`;
  return `${client}, ${slots.length} slots; this partition is ${serial}`;
}

/** @throws LUNA_REFUSED if a rule says that keys will not be copied */
async function compare(driver: LunaDriver, ends: { from: PartitionAddress; to: PartitionAddress }): Promise<string> {
  const rows = await driver.compareEnds({ move: 'clone', ...ends });
  const failing = rows.filter(({ verdict }) => verdict === 'will fail');
  const [first] = failing;
  if (first !== undefined)
    throw new AntipodeError('LUNA_REFUSED', `no key will be copied: ${failing.map(({ rule }) => rule).join(', ')}`, {
      details: { serial: ends.from.serial, found: first.found },
      hint: first.advice,
    });
  const open = rows.flatMap(({ verdict, rule }) => (verdict === 'not known' ? rule : []));
  const fit = `${rows.length - open.length} of ${rows.length} rules fit`;
  const soon = rows.flatMap(({ verdict, advice, found }) => (verdict === 'fits' && advice !== '' ? found : []));
  return [
    fit,
    ...(open.length === 0 ? [] : [`not known: ${open.join(', ')}`]),
    ...(soon.length === 0 ? [] : [`look at this soon: ${soon.join(', ')}`]),
  ].join('; ');
}
