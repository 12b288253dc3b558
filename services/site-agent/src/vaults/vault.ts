/** A Backup HSM of this site, as the orders use it, and what is on record about its backups. */
import type { PartitionConfig, SealedGeneration } from '@antipode/hsm-core';
import type { ListedObject, LunaDriver, OwnBackup, PartitionAccess, PartitionAddress } from '@antipode/hsm-core/luna';
import type { Secret } from '@antipode/runtime';
import type { VaultSettings } from '../config.ts';

/** The generation that described the partition when a backup began, as the register has it. */
export interface BackedUp {
  readonly group: string;
  readonly epoch: string;
  readonly number: string;
  /** Of the manifest. */
  readonly digest: string;
}

export interface RecordedBackup extends OwnBackup {
  readonly of: BackedUp | undefined;
}

/** Of the driver, as far as orders need it. */
export interface VaultDriver
  extends Pick<
    LunaDriver,
    'archiveContents' | 'compareEnds' | 'drillVault' | 'dropBackup' | 'keepBackups' | 'restore'
  > {
  contents(...of: Parameters<LunaDriver['contents']>): Promise<{ readonly objects: readonly ListedObject[] }>;
}

export interface Vault {
  readonly settings: Pick<VaultSettings, 'name' | 'serial' | 'partition' | 'keep'>;
  readonly address: PartitionAddress;
  /** The partition that it is for. */
  readonly source: PartitionAddress;
  /** For drills; undefined where none is configured. */
  readonly scratch: PartitionAddress | undefined;
  /** How the agent opens the partition that it is for. */
  readonly sourceConfig: PartitionConfig;
  /** @throws CONFIG_INVALID, FILE_UNWRITABLE */
  readonly driver: VaultDriver;
  /** Lends the passwords. @throws PIN_FILE_UNREADABLE, PIN_FILE_EXPOSED */
  withPasswords<T>(
    work: (access: { vault: PartitionAccess; source: PartitionAccess; backup: Secret }) => Promise<T>,
  ): Promise<T>;
  /** The scratch partition for drills, for the time of `work`. @throws SCRATCH_REFUSED where none is configured */
  withScratch<T>(work: (access: PartitionAccess, config: PartitionConfig) => Promise<T>): Promise<T>;
  /** Own backups by the register, newest first. Nothing asks the vault. @throws FILE_UNWRITABLE */
  backups(): RecordedBackup[];
  /** For heartbeats: a register that cannot be read says nothing. */
  knownBackups(): RecordedBackup[];
  /** Durable on return. @throws FILE_UNWRITABLE */
  keepManifest(generation: Pick<SealedGeneration, 'digest' | 'signed'>): void;
  /** Removes the manifests of backups that are gone. */
  forgetManifests(): void;
  /** @throws GENERATION_UNKNOWN, MANIFEST_INVALID */
  manifest(of: BackedUp, isPinned: (identitySha256: string) => boolean): Promise<SealedGeneration>;
}

/** Reads a note of the register. Undefined for one that another program has written. */
export function backedUp(about: string | undefined): BackedUp | undefined {
  if (about === undefined) return undefined;
  try {
    const read = JSON.parse(about) as Partial<Record<keyof BackedUp, unknown>>;
    const { group, epoch, number, digest } = read;
    if (typeof group !== 'string' || typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest)) return undefined;
    if (!/^\d+$/.test(String(epoch)) || !/^\d+$/.test(String(number))) return undefined;
    return { group, digest, epoch: String(epoch), number: String(number) };
  } catch {
    return undefined;
  }
}
