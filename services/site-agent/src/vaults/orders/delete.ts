/** Deletes one own backup, if enough others stay. */
import { AntipodeError } from '@antipode/runtime';
import { toldBackup } from './told.ts';
import type { Response, Work } from './work.ts';

export async function drop(work: Work): Promise<Response> {
  const { site, vault, request, fence } = work;
  const { group } = fence;
  site.authority.inForce(fence);
  const all = vault.backups();
  // Those of another group are that group's. One that was made before a restore has no generation.
  const doomed = all.find(({ name, of }) => name === request.backup && (of === undefined || of.group === group));
  if (doomed === undefined)
    throw new AntipodeError(
      'NOT_FOUND',
      `this site has made no backup ${request.backup || '(without a name)'} of group ${group} in the vault`,
      {
        details: { group },
        hint: 'Backups of others are never deleted here. Use the vendor tool for them.',
      },
    );
  const keep = Math.max(vault.settings.keep, request.keep);
  const { verdict, why } = await vault.withPasswords(({ vault: officer }) =>
    vault.driver.dropBackup({ vault: officer, name: doomed.name, keep }, [
      { action: 'delete backup', target: vault.address, partition: doomed.name },
    ]),
  );
  if (verdict === 'gone') vault.forgetManifests();
  site.log.warn('backup deleted in the vault', { group, vault: vault.settings.name, backup: doomed.name, verdict });
  return {
    backup: toldBackup(doomed),
    verdict,
    why: why ?? '',
    deleted: verdict === 'gone' ? [doomed.name] : [],
    ...(await work.evidence({ backup: doomed.name, verdict, why: why ?? '' })),
  };
}
