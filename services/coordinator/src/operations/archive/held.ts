/** Whether the newest complete backup on record is what its vault has, as far as its site has seen. */
import type { SiteView } from '../../sites/detector.ts';
import type { ArchiveStanding } from '../../store/tables/evidence/archives.ts';

/**
 * False where the site has seen the vault without that backup, or with a changed one. A site that says nothing of it
 * contradicts nothing: its report can be older than the record.
 */
export function isHeld(
  { site, serial, complete }: Pick<ArchiveStanding, 'site' | 'serial' | 'complete'>,
  view: (site: string) => SiteView | undefined,
): boolean {
  const vault = view(site)?.state?.vaults.find((one) => one.serial === serial);
  return vault?.backups.some(({ name, spoilt }) => spoilt && name === complete?.backup) !== true;
}
