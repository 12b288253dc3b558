/**
 * Drives the vendor's `lunacm`. One job at a time, since the tool caches what it knows of a device, and each run of it is
 * new. Slots are named by serial number and label only.
 */
import { SerialQueue } from '@antipode/runtime';
import type { ApprovedOrder, PartitionAddress } from './approvals.ts';
import { withDevice } from './device-lock.ts';
import { type CompareOrder, compareEnds, requireFit } from './jobs/comparing.ts';
import { clear, type DestroyReport, deleteArchive } from './jobs/destroying.ts';
import { type DrillOrder, type DrillReport, drillVault } from './jobs/drilling.ts';
import type { JobPorts } from './jobs/job-ports.ts';
import { dropBackup, type KeepOrder, type KeepReport, keepBackups, ownBackups, reviewVault } from './jobs/keeping.ts';
import {
  type BackupOrder,
  backUp,
  type CloneOrder,
  clonePartition,
  type PartitionAccess,
  type RestoreOrder,
  restore,
} from './jobs/moving.ts';
import { type PrepareOrder, type PrepareReport, prepareVault } from './jobs/preparing.ts';
import {
  type ArchiveSource,
  archiveObjects,
  type Examination,
  examine,
  type PartitionContents,
  partitionObjects,
  type Survey,
  survey,
  vaultState,
} from './jobs/reading.ts';
import type { Login } from './login.ts';
import type { MoveReport } from './move-report.ts';
import type { Vault } from './parse/archives.ts';
import type { ListedObject } from './parse/contents.ts';
import type { PreflightRow } from './preflight/facts.ts';
import type { Shown } from './selection.ts';
import type { OwnBackup, VaultReview } from './vault-register.ts';

export class LunaDriver {
  readonly #ports: JobPorts;
  readonly #queue = new SerialQueue();

  constructor(ports: JobPorts) {
    this.#ports = ports;
  }

  survey(): Promise<Survey> {
    return this.#queue.run(() => survey(this.#ports));
  }

  examine(address: PartitionAddress, shown: Shown): Promise<Examination> {
    return this.#queue.run(() => examine(address, shown, this.#ports));
  }

  contents(address: PartitionAddress, login: Login): Promise<PartitionContents> {
    return this.#queue.run(() => partitionObjects(address, login, this.#ports));
  }

  /** Every rule that a move has to fit, judged by both ends before anything is changed. */
  compareEnds(order: CompareOrder): Promise<PreflightRow[]> {
    return this.#queue.run(() => compareEnds(order, this.#ports));
  }

  /** @throws LUNA_REFUSED with the rules in its details, and what stops the reading */
  requireFit(order: CompareOrder, options: { except?: readonly string[] } = {}): Promise<void> {
    return this.#queue.run(() => requireFit(order, this.#ports, options));
  }

  vault(address: PartitionAddress): Promise<Vault> {
    return this.#queue.run(() => vaultState(address, this.#ports));
  }

  archiveContents(source: ArchiveSource): Promise<ListedObject[]> {
    return this.#queue.run(() => archiveObjects(source, this.#ports));
  }

  backUp(order: BackupOrder): Promise<MoveReport> {
    const { serial } = order.vault.address;
    return this.#queue.run(() => withDevice(serial, this.#ports, () => backUp(order, this.#ports)));
  }

  restore(order: RestoreOrder): Promise<MoveReport> {
    const { serial } = order.from.vault;
    return this.#queue.run(() => withDevice(serial, this.#ports, () => restore(order, this.#ports)));
  }

  clone(order: CloneOrder): Promise<MoveReport> {
    return this.#queue.run(() => clonePartition(order, this.#ports));
  }

  /** The backups of a vault, with those that this agent made apart. */
  reviewVault(address: PartitionAddress): Promise<VaultReview> {
    return this.#queue.run(() => reviewVault(address, this.#ports));
  }

  prepareVault(order: PrepareOrder, approvals: readonly ApprovedOrder[]): Promise<PrepareReport> {
    return this.#queue.run(() => prepareVault(order, approvals, this.#ports));
  }

  keepBackups(order: KeepOrder, approvals: readonly ApprovedOrder[]): Promise<KeepReport> {
    return this.#queue.run(() => keepBackups(order, approvals, this.#ports));
  }

  /** The register of own backups in a vault. Read at once, whatever the queue does. */
  ownBackups(address: PartitionAddress): OwnBackup[] {
    return ownBackups(address, this.#ports);
  }

  dropBackup(
    order: { vault: PartitionAccess; name: string; keep: number },
    approvals: readonly ApprovedOrder[],
  ): Promise<DestroyReport> {
    return this.#queue.run(() => dropBackup(order, approvals, this.#ports));
  }

  drillVault(order: DrillOrder, approvals: readonly ApprovedOrder[]): Promise<DrillReport> {
    return this.#queue.run(() => drillVault(order, approvals, this.#ports));
  }

  clear(target: PartitionAccess, approvals: readonly ApprovedOrder[]): Promise<DestroyReport> {
    return this.#queue.run(() => clear(target, approvals, this.#ports));
  }

  deleteArchive(
    order: { vault: PartitionAccess; partition: string },
    approvals: readonly ApprovedOrder[],
  ): Promise<DestroyReport> {
    const { serial } = order.vault.address;
    return this.#queue.run(() => withDevice(serial, this.#ports, () => deleteArchive(order, approvals, this.#ports)));
  }
}
