/**
 * Generations of backups in a vault: makes the next one, and deletes own ones that retention does not keep. It deletes
 * nothing that it did not make, and nothing without an approval.
 */
import { AntipodeError, type Prng, type Secret, systemPrng } from '@antipode/runtime';
import { type ApprovedOrder, isApproved, type PartitionAddress } from '../approvals.ts';
import { withDevice } from '../device-lock.ts';
import type { MoveReport } from '../move-report.ts';
import { expiredIn, inTheWay, type OwnBackup, reviewOf, VaultRegister, type VaultReview } from '../vault-register.ts';
import { requireFit } from './comparing.ts';
import { type DestroyReport, deleteArchive } from './destroying.ts';
import type { JobPorts } from './job-ports.ts';
import { backUp, type PartitionAccess } from './moving.ts';
import { orUnlisted, vaultState } from './reading.ts';

export interface KeepOrder {
  readonly source: PartitionAccess;
  readonly vault: PartitionAccess;
  /** The password of each new backup. */
  readonly password: Secret;
  /** As many complete own backups as remain; at least one. */
  readonly keep: number;
  /** Kept in the register beside the name, for its caller: what the partition held when this began. */
  readonly about?: string;
  readonly prng?: Prng;
}

export interface KeepReport {
  /** The name of the new backup. It is in the vault only if the report of the backup says so. */
  readonly name: string;
  readonly backup: MoveReport;
  readonly deleted: readonly string[];
  /** Own backups that retention does not keep and that are still there: without an approval, or because it failed. */
  readonly due: readonly string[];
  /** The vault afterwards; undefined if nobody could list it. */
  readonly review: VaultReview | undefined;
}

/** @throws what stops it before anything is changed */
export async function reviewVault(vault: PartitionAddress, ports: JobPorts): Promise<VaultReview> {
  return reviewOf(await vaultState(vault, ports), registerOf(vault, ports).read());
}

/**
 * Removes what an earlier run left unfinished, makes a backup, and then removes older ones. The older ones go only after
 * the new one is complete.
 * @throws LUNA_BUSY, and what stops it before anything is changed
 */
export function keepBackups(
  order: KeepOrder,
  approvals: readonly ApprovedOrder[],
  ports: JobPorts,
): Promise<KeepReport> {
  const { source, vault, password, keep, about, prng } = order;
  return withDevice(vault.address.serial, ports, async () => {
    const register = registerOf(vault.address, ports, prng);
    const deleted: string[] = [];
    const isCovered = isApproved({ action: 'expire own backups', target: vault.address, keep }, approvals);
    const expire = async (names: readonly string[]): Promise<void> => {
      if (!isCovered) return;
      for (const partition of names) {
        const named: ApprovedOrder = { action: 'delete backup', target: vault.address, partition };
        const { verdict } = await deleteArchive({ vault, partition }, [named], ports);
        if (verdict !== 'gone') return;
        register.forget([partition]);
        deleted.push(partition);
      }
    };
    const before = await reviewVault(vault.address, ports);
    register.forget(before.neverMade);
    await expire(inTheWay(before));
    await requireFit({ move: 'backup', from: source.address, to: vault.address }, ports);
    const name = register.begin(about);
    const backup = await backUp({ source, vault, partition: name, password }, ports);
    if (backup.verdict === 'complete') {
      register.completed(name, backup.objects.length + (backup.added ?? 0));
      await expire(expiredIn(await reviewVault(vault.address, ports), keep));
    } else if (backup.verdict === 'refused' && backup.orphan === undefined) register.forget([name]);
    const review = await orUnlisted(reviewVault(vault.address, ports));
    return { name, backup, deleted, review, due: review === undefined ? [] : expiredIn(review, keep) };
  });
}

/**
 * Deletes one own backup, and forgets it.
 * @throws NOT_FOUND for one that is not in the register, LUNA_BUSY, and what `deleteArchive` throws
 */
export function dropBackup(
  { vault, name }: { vault: PartitionAccess; name: string },
  approvals: readonly ApprovedOrder[],
  ports: JobPorts,
): Promise<DestroyReport> {
  return withDevice(vault.address.serial, ports, async () => {
    const register = registerOf(vault.address, ports);
    if (!register.read().some((one) => one.name === name))
      throw new AntipodeError('NOT_FOUND', `this site has made no backup ${name} in this vault`, {
        details: { serial: vault.address.serial },
        hint: 'Backups of others are never deleted here. Use the vendor tool for them.',
      });
    const report = await deleteArchive({ vault, partition: name }, approvals, ports);
    if (report.verdict === 'gone') register.forget([name]);
    return report;
  });
}

/** Own backups by the register alone: nothing asks the vault. @throws FILE_UNWRITABLE */
export const ownBackups = (vault: PartitionAddress, ports: JobPorts): OwnBackup[] => registerOf(vault, ports).read();

function registerOf({ serial }: PartitionAddress, ports: JobPorts, prng: Prng = systemPrng): VaultRegister {
  return new VaultRegister({ folder: ports.stateFolder, serial, clock: ports.clock, prng });
}
