/** The word of agents about their groups, and how much of it counts. Pure. */
import {
  type DescribeResponse,
  filterMessage,
  filterRules,
  type MemberState,
  type ToldGroup,
} from '@antipode/protocol';
import type { AntipodeError } from '@antipode/runtime';
import type { Seat } from '../model.ts';

export interface Heard {
  readonly site: string;
  readonly account?: DescribeResponse;
  readonly groups?: readonly ToldGroup[];
  readonly error?: AntipodeError;
}

/** A site that says that it has a seat in the group. */
export interface Claim extends Seat {
  readonly seat: MemberState;
  readonly told: ToldGroup | undefined;
  readonly isQuarantined: boolean;
}

/** How many backups stayed in it was the policy of the group, and is lost. So no backup is ordered, and none deleted. */
export interface ToldVault extends Seat {
  readonly name: string;
  /** Complete backups of this group, by the records of the site. */
  readonly backups: number;
}

export function claimsOf(group: string, heard: readonly Heard[]): Claim[] {
  return heard.flatMap(({ site, account, groups }): Claim[] => {
    const seat = account?.members.find((one) => one.group === group);
    const told = groups?.find((one) => one.group === group);
    return seat === undefined
      ? []
      : [{ site, serial: seat.serial, seat, told, isQuarantined: isQuarantined(account, group) }];
  });
}

export const isQuarantined = (account: DescribeResponse | undefined, group: string): boolean =>
  (account?.journal?.quarantined ?? []).some((one) => one.group === group);

/** How many of these trust the partition in that role. */
export const pinned = (by: readonly Claim[], role: string, { site, serial }: Seat): number =>
  by.filter(({ told }) => told?.trusted.some((one) => one.role === role && one.site === site && one.serial === serial))
    .length;

/** Whether another site says that the partition is its own. */
export const isElsewhere = ({ site, serial }: Seat, heard: readonly Heard[]): boolean =>
  heard.some(
    (one) =>
      one.site !== site &&
      [...(one.account?.partitions ?? []), ...(one.account?.members ?? [])].some((other) => other.serial === serial),
  );

/** The vaults for a partition of the group, or with backups of it. */
export function vaultsOf(group: string, heard: readonly Heard[], seats: readonly Seat[]): ToldVault[] {
  return heard.flatMap(({ site, account }) => {
    const seat = seats.find((one) => one.site === site);
    return (account?.vaults ?? []).flatMap(({ serial, name, partitionSerial, backups }) => {
      const count = backups.filter((one) => one.group === group && one.complete).length;
      const isFor = seat !== undefined && seat.serial === partitionSerial;
      return isFor || count > 0 ? [{ site, serial, name, backups: count }] : [];
    });
  });
}

/** The active member's word, from its newest order to capture. After a promotion it has no such order yet. */
export const orderedBy = (own: Claim | undefined, supporters: readonly Claim[]): ToldGroup | undefined =>
  (own?.told?.filter === undefined ? supporters.find(({ told }) => told?.filter !== undefined) : own)?.told;

export function filterOf(
  own: Claim | undefined,
  supporters: readonly Claim[],
): ReturnType<typeof filterRules> | undefined {
  if (own?.told?.filter !== undefined) return filterRules(own.told.filter);
  // A member of before may know older rules, so all of them must be the same.
  const known = supporters.flatMap(({ told }) => (told?.filter === undefined ? [] : [filterRules(told.filter)]));
  const texts = new Set(known.map((rules) => JSON.stringify(filterMessage(rules))));
  return own !== undefined && texts.size === 1 ? known[0] : undefined;
}

/** By the word of the active member, else of most of those that know. */
export function stopsOnLeaseLapse(own: Claim | undefined, supporters: readonly Claim[]): boolean {
  const known = supporters.flatMap(({ told }) => told?.stopsOnLeaseLapse ?? []);
  return own?.told?.stopsOnLeaseLapse ?? known.filter(Boolean).length * 2 > known.length;
}

/** The highest that another one comes near to; of a single one, itself. */
export function highestBelievable(values: readonly bigint[], jumpMax: bigint): bigint {
  const sorted = [...values].sort((one, other) => (one < other ? 1 : -1));
  const at = sorted.findIndex((value, index) => index === sorted.length - 1 || value - sorted[index + 1]! <= jumpMax);
  return sorted[at] ?? 0n;
}
