/**
 * A Luna Backup HSM: its driver, its passwords, and the records of the backups that this agent has made in it. A name is
 * in the register of the driver before its backup begins, with the generation that described the partition. The signed
 * manifest of that generation is kept here, since the store retires it long before the backup.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openingSigned, type PartitionConfig, type SealedGeneration } from '@antipode/hsm-core';
import {
  Launcher,
  LunaDriver,
  type PartitionAccess,
  type PartitionAddress,
  readClientSettings,
  readPhrases,
  TranscriptFolder,
} from '@antipode/hsm-core/luna';
import {
  AntipodeError,
  type Clock,
  type Log,
  makeFolder,
  type Prng,
  readPinFile,
  runInSlices,
  type Secret,
  sha256Hex,
  writeFileDurably,
} from '@antipode/runtime';
import { type AgentConfig, type PartitionSettings, partitionConfig, type VaultSettings } from '../config.ts';
import { lunaClientOf } from '../luna-config.ts';
import { type BackedUp, backedUp, type RecordedBackup, type Vault } from './vault.ts';

export interface LunaVaultPorts {
  readonly settings: VaultSettings;
  /** Of the partition that it is for. */
  readonly partition: PartitionSettings;
  readonly dataFolder: string;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  /** The folder of what its jobs need while they run, for a command beside the agent. */
  readonly jobs?: string;
}

/** As many transcripts of the vendor's program as are kept for each vault. */
const TRANSCRIPTS_MAX = 200;

export class LunaVault implements Vault {
  readonly settings: VaultSettings;
  readonly #ports: LunaVaultPorts;
  readonly #folder: string;
  #driver: LunaDriver | undefined;

  constructor(ports: LunaVaultPorts) {
    this.settings = ports.settings;
    this.#ports = ports;
    this.#folder = join(ports.dataFolder, 'vaults', sha256Hex(ports.settings.serial).slice(0, 32));
  }

  get address(): PartitionAddress {
    const { serial, label } = this.settings;
    return { serial, label };
  }

  get source(): PartitionAddress {
    const { serial, label } = this.settings.partition;
    return { serial, label };
  }

  get scratch(): PartitionAddress | undefined {
    const { scratch } = this.settings;
    return scratch && { serial: scratch.serial, label: scratch.label };
  }

  /**
   * Made when it is needed first: the vendor's client may be installed later than this agent.
   * @throws CONFIG_INVALID, FILE_UNWRITABLE
   */
  get driver(): LunaDriver {
    this.#driver ??= new LunaDriver(this.#jobPorts());
    return this.#driver;
  }

  #jobPorts(): ConstructorParameters<typeof LunaDriver>[0] {
    const { clock, prng, log, dataFolder } = this.#ports;
    const { client, name } = this.settings;
    const { records, locks, lunacm, configuration, environment, buffering, passwords, attemptsFloor } = lunaClientOf(
      client,
      { dataFolder },
    );
    const transcripts = join(this.#folder, 'transcripts');
    for (const folder of [transcripts, records, locks]) makeFolder(folder);
    prune(transcripts);
    return {
      launcher: new Launcher({
        ...{ program: lunacm, configuration, environment, prng },
        jobs: join(this.#folder, this.#ports.jobs ?? 'jobs'),
      }),
      clock,
      phrases: readPhrases(),
      settings: readClientSettings(configuration),
      profile: { buffering, passwords, attemptsFloor },
      ...{ stateFolder: records, lockFolder: locks },
      transcripts: new TranscriptFolder({ folder: transcripts, clock, prng }),
      onPed: ({ job }) => log.error('the device waits for people at its PED', { vault: name, job }),
    };
  }

  get sourceConfig(): PartitionConfig {
    const { partition, dataFolder } = this.#ports;
    return partitionConfig(partition, { dataFolder });
  }

  /** From their files each time. */
  async withPasswords<T>(
    work: (access: { vault: PartitionAccess; source: PartitionAccess; backup: Secret }) => Promise<T>,
  ): Promise<T> {
    const { officerPasswordFile, backupPasswordFile } = this.settings;
    const read: Secret[] = [];
    const secret = (path: string): Secret => {
      const one = readPinFile(path);
      read.push(one);
      return one;
    };
    try {
      return await work({
        vault: { address: this.address, login: { role: 'so', password: secret(officerPasswordFile) } },
        source: { address: this.source, login: { role: 'co', password: secret(this.#ports.partition.pinFile) } },
        backup: secret(backupPasswordFile),
      });
    } finally {
      for (const one of read) one.wipe();
    }
  }

  async withScratch<T>(work: (access: PartitionAccess, config: PartitionConfig) => Promise<T>): Promise<T> {
    const { scratch, name } = this.settings;
    const address = this.scratch;
    if (scratch === undefined || address === undefined)
      throw new AntipodeError('SCRATCH_REFUSED', `vault ${name} has no scratch partition for drills`, {
        details: { vault: name },
        hint: 'Add `scratch` to the vault in agent.yaml: an empty partition of the same cloning domain.',
      });
    const { identityPartition: _elsewhere, native: _cloner, ...partition } = this.#ports.partition;
    const { dataFolder } = this.#ports;
    const settings: PartitionSettings = {
      ...partition,
      module: scratch.module ?? partition.module,
      environment: scratch.environment ?? partition.environment,
      tokenLabel: scratch.label,
      pinFile: scratch.pinFile,
    };
    const password = readPinFile(scratch.pinFile);
    try {
      const config = partitionConfig({ ...settings, serial: undefined }, { dataFolder });
      return await work({ address, login: { role: 'co', password } }, config);
    } finally {
      password.wipe();
    }
  }

  backups(): RecordedBackup[] {
    return this.driver
      .ownBackups(this.address)
      .map((one) => ({ ...one, of: backedUp(one.about) }))
      .reverse();
  }

  knownBackups(): RecordedBackup[] {
    try {
      return this.backups();
    } catch (thrown) {
      if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
      return [];
    }
  }

  keepManifest({ digest, signed }: Pick<SealedGeneration, 'digest' | 'signed'>): void {
    const path = this.#manifest(digest);
    makeFolder(join(this.#folder, 'manifests'));
    if (!existsSync(path)) writeFileDurably(path, signed);
  }

  forgetManifests(): void {
    const folder = join(this.#folder, 'manifests');
    if (!existsSync(folder)) return;
    const kept = new Set(this.backups().map(({ of }) => of?.digest));
    for (const name of readdirSync(folder)) if (!kept.has(name)) rmSync(join(folder, name), { force: true });
  }

  async manifest(
    { group, digest }: BackedUp,
    isPinned: (identitySha256: string) => boolean,
  ): Promise<SealedGeneration> {
    const path = this.#manifest(digest);
    if (!existsSync(path))
      throw new AntipodeError('GENERATION_UNKNOWN', 'the manifest of the backup is not at this site any more', {
        details: { group, generation: digest },
      });
    const opening = openingSigned(readFileSync(path), { group, isPinned, expectedDigest: digest });
    return runInSlices(opening, this.#ports.clock);
  }

  #manifest(digest: string): string {
    return join(this.#folder, 'manifests', digest);
  }
}

/** Without the oldest transcripts: each job writes some, and their names begin with their time. */
function prune(folder: string): void {
  const names = readdirSync(folder).sort();
  for (const name of names.slice(0, Math.max(0, names.length - TRANSCRIPTS_MAX))) rmSync(join(folder, name));
}

/** The vaults of the configuration. No program is started yet. */
export const openVaults = ({
  config,
  ...ports
}: {
  config: Pick<AgentConfig, 'vaults' | 'partitions' | 'dataFolder'>;
  clock: Clock;
  prng: Prng;
  log: Log;
}): Vault[] =>
  config.vaults.flatMap((settings) => {
    const partition = config.partitions.find(({ name }) => name === settings.partition.name);
    return partition === undefined
      ? []
      : [new LunaVault({ ...ports, settings, partition, dataFolder: config.dataFolder })];
  });
