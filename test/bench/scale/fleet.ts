/**
 * Many sites and groups, each at a known place: the coordinator's database and the simulated agents are made of the same
 * plan. The members of a group are spread evenly over the sites, so that a region of neighbouring sites holds few of them.
 */
import { createHash } from 'node:crypto';

export interface FleetSize {
  readonly groups: number;
  readonly sites: number;
  /** Of each group. */
  readonly members: number;
}

export interface FleetSeat {
  readonly site: string;
  readonly serial: string;
}

export interface FleetGroup {
  readonly name: string;
  /** The first one is active. */
  readonly seats: readonly FleetSeat[];
}

export const TRUST_DOMAIN = 'bench.antipode';
export const FIRST_NUMBER = 1n;

const padded = (number: number): string => String(number).padStart(4, '0');

export const siteName = (index: number): string => `site-${padded(index)}`;

export function fleetSites({ sites }: FleetSize): string[] {
  return Array.from({ length: sites }, (_, index) => siteName(index));
}

export function fleetGroups({ groups, sites, members }: FleetSize): FleetGroup[] {
  const apart = Math.floor(sites / members);
  return Array.from({ length: groups }, (_, index) => ({
    name: `group-${padded(index)}`,
    seats: Array.from({ length: members }, (_seat, position) => {
      const site = (index + position * apart) % sites;
      return { site: siteName(site), serial: digestOf(`${site} ${index}`).slice(0, 16) };
    }),
  }));
}

export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A generation, as every simulated agent knows it. */
export function generationOf(group: string, { epoch, number }: { epoch: bigint; number: bigint }) {
  return {
    epoch,
    number,
    manifestDigest: digestOf(`manifest ${group} ${epoch} ${number}`),
    contentDigest: digestOf(`contents ${group} ${epoch} ${number}`),
    objectCount: 40,
    keyCount: 20,
    domainKeyVersion: 1,
  };
}
