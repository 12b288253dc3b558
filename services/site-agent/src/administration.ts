/** What an operator does to the partitions of a site by hand, with the agent running or not. */
import { join } from 'node:path';
import { fingerprint, type IdentityRecord, initialiseIdentity, openKeyring, openPartition } from '@antipode/hsm-core';
import { AntipodeError, type Log, systemPrng } from '@antipode/runtime';
import type { AgentConfig, PartitionSettings } from './config.ts';
import { Journal } from './journal.ts';
import { type Pin, Pins } from './pins.ts';

export interface PartitionIdentity {
  readonly partition: string;
  readonly serial: string;
  readonly identitySha256: string;
  readonly isNew: boolean;
  /** What the operators of other sites pin. */
  readonly pin: Pin;
}

/** @throws NOT_FOUND */
export function partitionSettings(config: AgentConfig, name: string): PartitionSettings {
  const found = config.partitions.find((partition) => partition.name === name);
  if (found !== undefined) return found;
  const known = config.partitions.map((partition) => partition.name).join(', ');
  throw new AntipodeError('NOT_FOUND', `site ${config.site} has no partition ${name}, expected one of: ${known}`, {
    details: { partition: name },
  });
}

/**
 * Makes the identity key of a partition, or proves the one that is there. Safe to repeat.
 * @throws IDENTITY_MISSING when the journal knows one that the token does not have, ALREADY_EXISTS when another name stands
 * for the same token: a scratch partition must not be a member by its other name (I7)
 */
export async function initialisePartition({
  config,
  name,
  log,
}: {
  config: AgentConfig;
  name: string;
  log: Log;
}): Promise<PartitionIdentity> {
  const { module, tokenLabel, serial, pinFile, environment } = partitionSettings(config, name);
  const journal = new Journal(config.dataFolder);
  try {
    const stateFolder = join(config.dataFolder, 'login');
    const provider = await openPartition(
      { module, tokenLabel, ...(serial === undefined ? {} : { serial }), pinFile, environment, stateFolder },
      { log },
    );
    try {
      const known = journal.identity(name);
      if (known !== undefined) {
        await openKeyring({ provider, identity: known, domainKeys: [], announced: [] });
        return describe(config, name, known, false);
      }
      const { serial: found } = await provider.describe();
      const other = journal.identities().find(({ record }) => record.serial === found);
      if (other !== undefined)
        throw new AntipodeError('ALREADY_EXISTS', `partition ${other.partition} is the token with serial ${found}`, {
          details: { partition: other.partition, serial: found },
        });
      const record = await initialiseIdentity({
        provider,
        prng: systemPrng,
        announce: (serial, ckaId) => journal.announceKey(serial, ckaId),
      });
      journal.addIdentity(name, record);
      return describe(config, name, record, true);
    } finally {
      await provider.close();
    }
  } finally {
    journal.close();
  }
}

/** @throws IDENTITY_MISSING */
export function showIdentity(config: AgentConfig, name: string): PartitionIdentity {
  partitionSettings(config, name);
  const journal = new Journal(config.dataFolder);
  try {
    const record = journal.identity(name);
    if (record === undefined)
      throw new AntipodeError('IDENTITY_MISSING', `partition ${name} has not been initialised`, {
        details: { partition: name },
      });
    return describe(config, name, record, false);
  } finally {
    journal.close();
  }
}

/** Trusts partitions of other sites for a group. Safe to repeat; returns how many are new. @throws ALREADY_EXISTS */
export function pinPartitions({
  config,
  group,
  pins,
}: {
  config: AgentConfig;
  group: string;
  pins: readonly Pin[];
}): number {
  // Our own are known by the journal: a pin of them would only be one more place to be wrong.
  return new Pins(config.pinsFile).add(
    group,
    pins.filter(({ site }) => site !== config.site),
  );
}

function describe(
  config: AgentConfig,
  partition: string,
  { serial, publicHalf }: IdentityRecord,
  isNew: boolean,
): PartitionIdentity {
  const { role } = partitionSettings(config, partition);
  const identity = fingerprint(publicHalf);
  return { partition, serial, identitySha256: identity, isNew, pin: { site: config.site, serial, identity, role } };
}
