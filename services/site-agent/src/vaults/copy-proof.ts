/** Uses every key of a partition that was restored as a whole, in a worker of its own that ends with the proof. */
import {
  type CopyReport,
  openPartition,
  type PartitionConfig,
  proveWholeCopy,
  type SealedGeneration,
} from '@antipode/hsm-core';
import { AntipodeError } from '@antipode/runtime';
import { isSameSerial } from '../config.ts';
import type { Site } from '../site.ts';

export interface CopyProof extends Omit<CopyReport, 'sign'> {
  /** Signs as the identity that came with the copy; undefined for a copy without one. */
  readonly signer: ((message: Uint8Array) => Promise<{ signature: Uint8Array; signer: Uint8Array }>) | undefined;
}

export interface CopyPlace {
  /** Of the partition that has the copy. */
  readonly config: PartitionConfig;
  /** Its serial number, as `lunacm` has it. */
  readonly serial: string;
  readonly target: SealedGeneration;
  /** Serial number of the partition that was copied. */
  readonly of: string;
}

/**
 * `work` runs while the partition is open still.
 * @throws SCRATCH_REFUSED if the module opens another partition, and what opening it and using its keys throws
 */
export async function proveCopy(
  { journal, clock, log }: Site,
  { config, serial, target, of }: CopyPlace,
  work: (proof: CopyProof) => Promise<void>,
): Promise<void> {
  const identity = journal.identities.all().find(({ record }) => record.serial === of)?.record;
  const provider = await openPartition(config, { log, clock });
  try {
    const found = (await provider.describe()).serial;
    if (!isSameSerial(found, serial))
      throw new AntipodeError(
        'SCRATCH_REFUSED',
        `the module opens a partition with serial number ${found}, expected ${serial}`,
        { details: { serial: found } },
      );
    const { sign, ...report } = await proveWholeCopy({
      provider,
      clock,
      target,
      identity,
      domainKeys: journal.domainKeys.of(of),
    });
    const half = identity?.publicHalf;
    const signer =
      sign === undefined || half === undefined
        ? undefined
        : async (message: Uint8Array) => ({ signature: await sign(message), signer: half });
    await work({ ...report, signer });
  } finally {
    await provider.close();
  }
}
