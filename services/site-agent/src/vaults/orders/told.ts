/** Vaults and their backups, as the wire has them. */
import { fromHex } from '@antipode/runtime';
import type { Site } from '../../site.ts';
import type { RecordedBackup } from '../vault.ts';

export const toldBackup = ({ name, atMs, state, objects = 0, of }: RecordedBackup) => ({
  name,
  group: of?.group ?? '',
  ...(of === undefined
    ? {}
    : {
        generation: {
          epoch: BigInt(of.epoch),
          generation: BigInt(of.number),
          manifestDigest: fromHex(of.digest),
        },
      }),
  objects,
  complete: state === 'complete',
  spoilt: state === 'spoilt',
  madeMs: BigInt(atMs),
});

/** For heartbeats: no more than operators look at. */
const BACKUPS_TOLD_MAX = 32;

/** The vaults of this site, by its configuration and records. */
export const toldVaults = ({ vaults, partitions }: Site) =>
  vaults.map((vault) => ({
    name: vault.settings.name,
    serial: vault.settings.serial,
    partitionSerial:
      partitions.all.find(({ settings }) => settings.name === vault.settings.partition.name)?.serial ?? '',
    hasScratch: vault.scratch !== undefined,
    keep: vault.settings.keep,
    backups: vault.knownBackups().slice(0, BACKUPS_TOLD_MAX).map(toldBackup),
  }));
