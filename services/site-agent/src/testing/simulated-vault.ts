/** A Backup HSM in memory, with the records of its site. It makes backups that list objects, and moves no key. */
import type { PartitionConfig, SealedGeneration } from '@antipode/hsm-core';
import type { KeepReport, PartitionAccess, PartitionAddress } from '@antipode/hsm-core/luna';
import type { SimulatedMember } from '@antipode/hsm-core/testing';
import { AntipodeError, type Clock, Secret } from '@antipode/runtime';
import type { BackedUp, RecordedBackup, Vault, VaultDriver } from '../vaults/vault.ts';
import { backedUp } from '../vaults/vault.ts';

const BACKUP_MS = 200;

export class SimulatedVault implements Vault {
  readonly settings: Vault['settings'];
  readonly address: PartitionAddress;
  readonly source: PartitionAddress;
  readonly scratch = undefined;
  readonly #clock: Clock;
  readonly #member: SimulatedMember;
  #records: RecordedBackup[] = [];
  readonly #manifests = new Map<string, Pick<SealedGeneration, 'digest' | 'signed'>>();
  readonly driver: VaultDriver = {
    keepBackups: (order) => this.#keep(order),
    archiveContents: notSimulated,
    compareEnds: notSimulated,
    contents: notSimulated,
    drillVault: notSimulated,
    dropBackup: notSimulated,
    restore: notSimulated,
  };

  /** For the member partition of a site. */
  constructor(serial: string, { member, clock }: { member: SimulatedMember; clock: Clock }) {
    const label = `label of ${serial}`;
    const partition = { name: member.serial, serial: member.serial, label: member.serial };
    this.settings = { name: serial, serial, partition, keep: 1 };
    this.address = { serial, label };
    this.source = { serial: member.serial, label: member.serial };
    this.#member = member;
    this.#clock = clock;
  }

  get sourceConfig(): PartitionConfig {
    throw new AntipodeError('INVARIANT_BROKEN', 'a simulated partition has no configuration');
  }

  async withPasswords<T>(
    work: (access: { vault: PartitionAccess; source: PartitionAccess; backup: Secret }) => Promise<T>,
  ): Promise<T> {
    const password = new Secret(Buffer.from('simulated'));
    return work({
      vault: { address: this.address, login: { role: 'so', password } },
      source: { address: this.source, login: { role: 'co', password } },
      backup: password,
    });
  }

  withScratch = notSimulated;

  backups(): RecordedBackup[] {
    return [...this.#records];
  }

  knownBackups(): RecordedBackup[] {
    return this.backups();
  }

  keepManifest({ digest, signed }: Pick<SealedGeneration, 'digest' | 'signed'>): void {
    this.#manifests.set(digest, { digest, signed });
  }

  forgetManifests(): void {
    const kept = new Set(this.#records.map(({ of }) => of?.digest));
    for (const digest of this.#manifests.keys()) if (!kept.has(digest)) this.#manifests.delete(digest);
  }

  manifest(_of: BackedUp): Promise<SealedGeneration> {
    return notSimulated();
  }

  async #keep({ keep, about }: { readonly keep: number; readonly about?: string }): Promise<KeepReport> {
    const labels = this.#member.hsm.contents();
    await this.#clock.sleep(BACKUP_MS);
    const atMs = this.#clock.wallMs();
    const name = `${this.settings.serial}-${atMs}`;
    const made = { name, atMs, state: 'complete' as const, objects: labels.length, of: backedUp(about) };
    const [kept, expired] = [this.#records.slice(0, keep - 1), this.#records.slice(keep - 1)];
    this.#records = [made, ...kept];
    const objects = labels.map((label) => ({
      object: { label, handle: '1', type: 'Private Key', uid: '' },
      state: 'moved' as const,
      refusal: undefined,
    }));
    const backup = { verdict: 'complete', why: undefined, code: '', objects } as const;
    return { name, backup, deleted: expired.map((one) => one.name), due: [], review: undefined };
  }
}

async function notSimulated(): Promise<never> {
  throw new AntipodeError('INVARIANT_BROKEN', 'a simulated vault makes backups and does nothing else');
}
