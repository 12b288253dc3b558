/** Whether a scratch partition can open a generation, by the last report of its site. */
import type { Seat } from '../../model.ts';
import { partitionIn } from '../../sites/accounts.ts';
import type { SiteView } from '../../sites/detector.ts';

/** False only where the last report of its site lists the versions, and this one is not among them. */
export function holdsKey(
  view: SiteView | undefined,
  { serial }: Seat,
  { group, domainKeyVersion }: { group: string; domainKeyVersion: number },
): boolean {
  const partition = partitionIn(view?.state, serial);
  // One that cannot be opened lists nothing.
  if (partition === undefined || partition.errorCode !== '') return true;
  return partition.domainKeys.some((key) => key.group === group && key.version === domainKeyVersion);
}
