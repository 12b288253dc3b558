/**
 * Work with a vault: a backup of the partition that it is for, a drill, a restore, a deletion. The site's configuration
 * approves what a backup and a drill destroy: own backups beyond those that it keeps, and everything in the scratch
 * partition of the vault (I7). A restore into production needs the approval of the operators where they guard the group.
 *
 * Each may be repeated after a kill at any step: the driver looks at both sides first.
 */
import { type ArchiveRequest, ArchiveWork, fenceOf } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import type { Site } from '../site.ts';
import { backUp } from '../vaults/orders/back-up.ts';
import { drop } from '../vaults/orders/delete.ts';
import { restore } from '../vaults/orders/restore.ts';
import { drill } from '../vaults/orders/vault-drill.ts';
import { type Response, Work } from '../vaults/orders/work.ts';

export function archive(site: Site, request: ArchiveRequest): Promise<Response> {
  const { vaultSerial, work } = request;
  const vault = site.vaults.find(({ settings }) => settings.serial === vaultSerial);
  if (vault === undefined)
    throw new AntipodeError('NOT_FOUND', `this site has no vault with serial number ${vaultSerial}`, {
      details: { serial: vaultSerial },
      hint: 'Add it to `vaults` in agent.yaml, or correct the archive of the group (`antipode group update --archive`).',
    });
  const { group, epoch } = fenceOf(request);
  return inSpan('archive', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
    switch (work) {
      case ArchiveWork.BACKUP:
        return backUp(new Work(site, vault, request));
      case ArchiveWork.DRILL:
        return drill(new Work(site, vault, request));
      case ArchiveWork.RESTORE:
        return restore(new Work(site, vault, request));
      case ArchiveWork.DELETE:
        return drop(new Work(site, vault, request));
      default:
        throw new AntipodeError('REQUEST_INVALID', 'work is missing, or unknown to this version of the agent', {
          details: { field: 'work' },
        });
    }
  });
}
