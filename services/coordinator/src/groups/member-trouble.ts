/** The known reason why a member cannot serve, by the last report of its site. */

import type { Group, Seat } from '../model.ts';
import { partitionIn, seatIn } from '../sites/accounts.ts';
import type { SiteView } from '../sites/detector.ts';
import { quarantineOf } from './contradiction.ts';

/** Code of the error; empty for none, and for a site that was not heard since this coordinator started. */
export function troubleOf(view: SiteView | undefined, { serial }: Pick<Seat, 'serial'>): string {
  if (view?.state === undefined) return '';
  const partition = partitionIn(view.state, serial);
  return partition === undefined ? 'PARTITION_NOT_FOUND' : partition.errorCode;
}

/**
 * Without what members have acknowledged that cannot serve now: a key in a token that nobody can use, or at a site that is
 * not promoted, protects nobody (I13). The same holds for a token that was initialised again: it is empty until a
 * generation was read back there. The record itself stays, and counts again when the member can serve.
 */
export function usableAcknowledgements<T extends { readonly site: string }>(
  group: Group,
  acknowledged: readonly T[],
  view: (site: string) => SiteView | undefined,
): T[] {
  const isBroken = (seat: Seat): boolean =>
    troubleOf(view(seat.site), seat) !== '' ||
    quarantineOf(group, view(seat.site)) !== undefined ||
    isUnproved(group, view(seat.site));
  const broken = new Set(group.members.filter(isBroken).map(({ site }) => site));
  return acknowledged.filter(({ site }) => !broken.has(site));
}

/** Whether the site says that its partition holds nothing of the group that was proved. */
const isUnproved = ({ spec }: Group, view: SiteView | undefined): boolean =>
  seatIn(view?.state, spec.name)?.unproved === true;
