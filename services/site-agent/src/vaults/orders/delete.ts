/** Deletes one own backup, if enough others stay. */
import { AntipodeError } from '@antipode/runtime';
import { toldBackup } from './told.ts';
import type { Response, Work } from './work.ts';

export async function drop(work: Work): Promise<Response> {
  const { site, vault, request, fence } = work;
  const { group } = fence;
  site.authority.inForce(fence);
  const all = vault.backups();
  const doomed = all.find(({ name }) => name === request.backup);
  if (doomed === undefined)
    throw new AntipodeError(
      'NOT_FOUND',
      `this site has made no backup ${request.backup || '(without a name)'} in the vault`,
      {
        details: { group },
        hint: 'Backups of others are never deleted here. Use the vendor tool for them.',
      },
    );
  const keep = Math.max(vault.settings.keep, request.keep);
  const complete = all.filter(({ state }) => state === 'complete');
  if (doomed.state === 'complete' && complete.length <= keep)
    throw new AntipodeError('ARCHIVE_KEPT', `${complete.length} complete backups are in the vault, and ${keep} stay`, {
      details: { group, backups: complete.length, keep },
    });
  const { verdict, why } = await vault.withPasswords(({ vault: officer }) =>
    vault.driver.dropBackup({ vault: officer, name: doomed.name }, [
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
