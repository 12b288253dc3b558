/**
 * Where what the agents say of a group contradicts what the database says. The database can be rolled back (a backup, a
 * replica that lagged), a journal can be lost or replaced by an older copy. From inside either one everything looks
 * normal, so both are compared. While they contradict each other nothing is ordered in the group, and nobody is sent
 * anywhere (I1, I13). Pure.
 *
 * The views must have been taken before the group was read: agents learn an epoch only after the database has it.
 */

import { type DescribeResponse, isNewer, type WitnessedEpoch } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { activeOf, type Generation, type Group, witnessesOf } from '../model.ts';
import { seatIn } from '../sites/accounts.ts';
import type { SiteView } from '../sites/detector.ts';

export interface Contradiction {
  readonly kind: 'database-behind' | 'journal-not-ours';
  readonly message: string;
}

export type Views = (site: string) => SiteView | undefined;

/** The first one found; undefined where database and agents agree. A standby in quarantine is its own matter. */
export function contradictionOf({
  group,
  newest,
  view,
}: {
  group: Group;
  newest: Pick<Generation, 'epoch' | 'number'> | undefined;
  view: Views;
}): Contradiction | undefined {
  const ofEpochs = epochContradictionOf(group, view);
  if (ofEpochs !== undefined) return ofEpochs;
  for (const { site } of group.members) {
    const { applied, domainKeyVersion = 0 } = seatOf(group, view(site)) ?? {};
    // A version is on record before anybody makes it. The group may have had other members since.
    if (domainKeyVersion > group.highestVersion)
      return {
        kind: 'database-behind',
        message: `site ${site} holds version ${domainKeyVersion} of the domain key, but the highest in the database is ${group.highestVersion}`,
      };
    if (applied !== undefined && isNewer({ epoch: applied.epoch, number: applied.generation }, newest))
      return {
        kind: 'database-behind',
        message: `site ${site} has applied generation ${applied.generation} of epoch ${applied.epoch}, but the newest in the database is ${newest === undefined ? 'none' : `${newest.number} of epoch ${newest.epoch}`}`,
      };
  }
  return undefined;
}

/** As {@link contradictionOf}, by epochs and journals alone: for a heartbeat, which waits for no query. */
export function epochContradictionOf(group: Group, view: Views): Contradiction | undefined {
  const { highestEpoch, highestOwner } = group;
  for (const { site } of group.members) {
    const seat = seatOf(group, view(site));
    if (seat === undefined) continue;
    const { epoch, epochOwner } = seat;
    const isOther = epoch === highestEpoch && epochOwner !== '' && epochOwner !== highestOwner;
    if (epoch > highestEpoch || isOther)
      return {
        kind: 'database-behind',
        message: `site ${site} is in epoch ${epoch} of ${epochOwner || 'nobody'}, but the highest epoch in the database is ${highestEpoch} of ${highestOwner}`,
      };
  }
  for (const site of witnessesOf(group)) {
    const seen = view(site);
    const persisted = seen?.status === 'down' ? undefined : witnessedBy(seen?.state, group.spec.name);
    if (persisted === undefined) continue;
    const isOther = persisted.epoch === highestEpoch && persisted.owner !== highestOwner;
    if (persisted.epoch > highestEpoch || isOther)
      return {
        kind: 'database-behind',
        message: `witness ${site} has persisted epoch ${persisted.epoch} of ${persisted.owner}, but the highest epoch in the database is ${highestEpoch} of ${highestOwner}`,
      };
  }
  const active = activeOf(group);
  const reason = active === undefined ? undefined : quarantineOf(group, view(active.site));
  return active === undefined || reason === undefined
    ? undefined
    : { kind: 'journal-not-ours', message: `site ${active.site} is active and in quarantine: ${reason}` };
}

/** The epoch that a site without a seat in the group has persisted, by its own account. */
export function witnessedBy(state: DescribeResponse | undefined, group: string): WitnessedEpoch | undefined {
  return state?.witnessed?.find((one) => one.group === group);
}

export const witnessedEpoch = (state: DescribeResponse | undefined, group: string): bigint =>
  witnessedBy(state, group)?.epoch ?? 0n;

/** Why a member does nothing until an operator seats it again; undefined for nothing, and where it is not heard. */
export function quarantineOf(group: Group, view: SiteView | undefined): string | undefined {
  if (view?.status === 'down') return undefined;
  return view?.state?.journal?.quarantined.find((one) => one.group === group.spec.name)?.reason;
}

/** @throws GROUP_CONTRADICTED */
export function refuseContradicted(group: Group, contradiction: Contradiction | undefined): void {
  if (contradiction === undefined) return;
  throw new AntipodeError('GROUP_CONTRADICTED', `group ${group.spec.name}: ${contradiction.message}`, {
    details: { group: group.spec.name, kind: contradiction.kind },
  });
}

/** Of a site that is down nobody knows what its journal says by now. */
function seatOf(group: Group, view: SiteView | undefined) {
  if (view === undefined || view.status === 'down') return undefined;
  return seatIn(view.state, group.spec.name);
}
