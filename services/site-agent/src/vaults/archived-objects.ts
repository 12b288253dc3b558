/** The objects of a backup, with their labels: for a person at the site. The agent goes on meanwhile. */
import type { ListedObject } from '@antipode/hsm-core/luna';
import { AntipodeError, type Log, systemClock, systemPrng } from '@antipode/runtime';
import type { AgentConfig } from '../config.ts';
import { openVaults } from './luna-vault.ts';

export interface ArchivedObjects {
  readonly vault: string;
  readonly backup: string;
  readonly objects: readonly ListedObject[];
}

/** @throws NOT_FOUND, PIN_FILE_UNREADABLE, and what stops the reading */
export async function listArchived({
  config,
  name,
  backup,
  log,
}: {
  config: AgentConfig;
  /** Of the vault, in the configuration. */
  name: string | undefined;
  backup: string;
  log: Log;
}): Promise<ArchivedObjects> {
  const vaults = openVaults({ config, clock: systemClock, prng: systemPrng, log });
  const found = vaults.filter(({ settings }) => name === undefined || settings.name === name);
  const [vault] = found;
  if (vault === undefined || found.length > 1) {
    const known = vaults.map(({ settings }) => settings.name).join(', ') || 'none';
    throw new AntipodeError('NOT_FOUND', `expected one of the vaults of site ${config.site}: ${known}`, {
      details: { site: config.site },
      hint: 'Name one with --vault.',
    });
  }
  const objects = await vault.withPasswords(({ backup: password }) =>
    vault.driver.archiveContents({ vault: vault.address, partition: backup, password }),
  );
  return { vault: vault.settings.name, backup, objects };
}
