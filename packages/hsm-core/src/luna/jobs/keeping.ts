/**
 * Generations of backups in a vault: makes the next one, and deletes own ones that retention does not keep. It deletes
 * nothing that it did not make, and nothing without an approval.
 */
import { AntipodeError, type Prng, type Secret, systemPrng } from '@antipode/runtime';
import { type ApprovedOrder, isApproved, type PartitionAddress } from '../approvals.ts';
import { withDevice } from '../device-lock.ts';
import type { MoveReport } from '../move-report.ts';
import { cleanLine } from '../parse/clean-text.ts';
import {
  expiredIn,
  futileIn,
  inTheWay,
  type OwnBackup,
  reviewOf,
  VaultRegister,
  type VaultReview,
} from '../vault-register.ts';
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
  /** Only backups of the same series are counted, and deleted. */
  readonly series?: string;
  /**
   * The label of each object that the partition should have, and once for each. A backup without one of them is not
   * complete, so that no older one goes for it.
   */
  readonly needed?: readonly string[];
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
  const { source, vault, password, keep, series, prng } = order;
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
    const before = await seenVault(vault.address, register, ports);
    register.forget(before.neverMade);
    await expire(inTheWay(before, series));
    await requireFit({ move: 'backup', from: source.address, to: vault.address }, ports);
    const name = register.begin(order);
    const backup = judged(await backUp({ source, vault, partition: name, password }, ports), order);
    const isComplete = backup.verdict === 'complete';
    if (isComplete) register.completed(name, backup.objects.length + (backup.added ?? 0));
    else if (backup.verdict === 'refused' && backup.orphan === undefined) register.forget([name]);
    const first = await orUnlisted(seenVault(vault.address, register, ports));
    // Without the complete ones where this one is not: the older ones are what there is.
    const count = deleted.length;
    if (first !== undefined) await expire((isComplete ? expiredIn : futileIn)(first, keep, series));
    const review = deleted.length === count ? first : await orUnlisted(seenVault(vault.address, register, ports));
    return { name, backup, deleted, review, due: review === undefined ? [] : expiredIn(review, keep, series) };
  });
}

/** A list of the vault, with what it shows of own backups written down. */
async function seenVault(vault: PartitionAddress, register: VaultRegister, ports: JobPorts): Promise<VaultReview> {
  const review = reviewOf(await vaultState(vault, ports), register.read());
  register.seen(review);
  return review;
}

function judged(backup: MoveReport, { needed = [] }: KeepOrder): MoveReport {
  if (backup.verdict !== 'complete') return backup;
  const left = backup.objects.map(({ object }) => object.label.trim());
  for (const label of needed) {
    const at = left.indexOf(cleanLine(label).trim());
    if (at === -1) return { ...backup, verdict: 'partial', why: 'lacking' };
    left.splice(at, 1);
  }
  return backup;
}

/** Writes down what a vault has of own backups, before a job goes by the register. */
export async function lookAtVault(vault: PartitionAddress, ports: JobPorts): Promise<void> {
  await seenVault(vault, registerOf(vault, ports), ports);
}

/**
 * Deletes one own backup, and forgets it. One that the vault does not have any more is forgotten.
 * @throws NOT_FOUND for one that is not in the register, ARCHIVE_KEPT if fewer than `keep` complete ones of its series
 * would be in the vault, LUNA_BUSY, and what `deleteArchive` throws
 */
export function dropBackup(
  { vault, name, keep }: { vault: PartitionAccess; name: string; keep: number },
  approvals: readonly ApprovedOrder[],
  ports: JobPorts,
): Promise<DestroyReport> {
  return withDevice(vault.address.serial, ports, async () => {
    const register = registerOf(vault.address, ports);
    const found = register.read().find((one) => one.name === name);
    if (found === undefined)
      throw new AntipodeError('NOT_FOUND', `this site has made no backup ${name} in this vault`, {
        details: { serial: vault.address.serial },
        hint: 'Backups of others are never deleted here. Use the vendor tool for them.',
      });
    const { complete, lost, neverMade } = await seenVault(vault.address, register, ports);
    const ofSeries = complete.filter(({ series }) => series === found.series);
    if (ofSeries.some((one) => one.name === name) && ofSeries.length <= keep)
      throw new AntipodeError(
        'ARCHIVE_KEPT',
        `${ofSeries.length} complete backups are in the vault, and ${keep} stay`,
        {
          details: { serial: vault.address.serial, backups: ofSeries.length, keep },
        },
      );
    const isGone = lost.includes(name) || neverMade.includes(name);
    const report: DestroyReport = isGone
      ? { verdict: 'gone', why: undefined }
      : await deleteArchive({ vault, partition: name }, approvals, ports);
    if (report.verdict === 'gone') register.forget([name]);
    return report;
  });
}

/** Own backups by the register alone: nothing asks the vault. @throws FILE_UNWRITABLE */
export const ownBackups = (vault: PartitionAddress, ports: JobPorts): OwnBackup[] => registerOf(vault, ports).read();

function registerOf({ serial }: PartitionAddress, ports: JobPorts, prng: Prng = systemPrng): VaultRegister {
  return new VaultRegister({ folder: ports.stateFolder, serial, clock: ports.clock, prng });
}
