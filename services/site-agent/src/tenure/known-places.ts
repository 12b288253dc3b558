/**
 * Where clients of each group must go, as the coordinator last said. The applications of this site get it while no
 * coordinator answers them. A place is not given out once this site's own journal has a higher epoch (ADR 0037).
 */
import { type Handlers, type KnownPlace, KnownPlaceSchema, type ResolverService } from '@antipode/protocol';
import { AntipodeError, elapsedMs } from '@antipode/runtime';
import { create, equals } from '@bufbuild/protobuf';
import type { Journal } from '../storage/journal/journal.ts';
import { type OwnAccountPorts, ownAccount } from './own-account.ts';

/**
 * For a group that stops with its lease: a site that has heard of the active one within this time names it. It is the
 * longest lease of any profile.
 */
const HEARD_MS_MAX = 40_000;

interface Known {
  readonly place: KnownPlace;
  /** As written in the journal. */
  readonly durable: KnownPlace | undefined;
  /**
   * Elapsed time, with the sleep of the machine, at which the heartbeat was sent that brought it. Undefined where an
   * earlier run of this agent heard it.
   */
  readonly sentAtMs?: number;
}

export class KnownPlaces {
  readonly #journal: Pick<Journal, 'places'>;
  readonly #places: Map<string, Known>;

  constructor({ journal }: { journal: Pick<Journal, 'places'> }) {
    this.#journal = journal;
    this.#places = new Map(journal.places.all().map((place) => [place.group, { place, durable: place }]));
  }

  /**
   * Heartbeats come each second, so only another place is written down. The state of its site is not: after a restart
   * nobody knows it. If that fails, the place is known all the same, and written with the next heartbeat.
   * @throws FILE_BUSY, FILE_UNWRITABLE
   */
  learn(place: KnownPlace, { sentAtMs }: { sentAtMs: number }): void {
    const before = this.#places.get(place.group);
    // A coordinator that has lost its lead can answer late.
    if (before !== undefined && before.place.epoch > place.epoch) return;
    const durable = create(KnownPlaceSchema, { ...place, siteState: 'unknown', partitionErrorCode: '' });
    this.#places.set(place.group, { place, durable: before?.durable, sentAtMs });
    if (before?.durable !== undefined && equals(KnownPlaceSchema, before.durable, durable)) return;
    this.#journal.places.record(durable);
    this.#places.set(place.group, { place, durable, sentAtMs });
  }

  /** This site serves the group, and all others vouch for that: the place holds as of this moment. */
  confirmed(group: string, { epoch, sentAtMs }: { epoch: bigint; sentAtMs: number }): void {
    const known = this.#places.get(group);
    if (known?.place.epoch === epoch) this.#places.set(group, { ...known, sentAtMs });
  }

  /** Nobody tells this site any more where the group is served. @throws FILE_BUSY, FILE_UNWRITABLE */
  forget(group: string): void {
    this.#journal.places.remove(group);
    this.#places.delete(group);
  }

  get groups(): string[] {
    return [...this.#places.keys()];
  }

  of(group: string): Known | undefined {
    return this.#places.get(group);
  }
}

export interface ResolverPorts extends OwnAccountPorts {
  readonly places: Pick<KnownPlaces, 'of'>;
}

export function resolverHandlers(ports: ResolverPorts): Handlers<typeof ResolverService> {
  const { name, clock, journal, places, leases, vouched } = ports;
  return {
    ownAccount: async () => ownAccount(ports),

    lastKnown: async ({ group }) => {
      const known = places.of(group);
      if (known === undefined)
        throw new AntipodeError('NOT_FOUND', `no coordinator has told site ${name} where group ${group} is served`, {
          details: { group, site: name },
          hint: 'Check the name of the group. An agent knows the groups that have a partition at its site, after its first heartbeat.',
        });
      const { place, sentAtMs } = known;
      const fence = journal.tenure.fence(group);
      const isOver = fence !== undefined && fence.epoch > place.epoch;
      if (place.site === '' || isOver)
        throw new AntipodeError(
          'NOT_SERVED',
          isOver
            ? `group ${group} has moved, or is moving, to site ${fence.owner}: site ${name} knows its epoch ${fence.epoch}, and not yet its place`
            : `group ${group} had no active member when site ${name} last heard of it`,
          { details: { group, epoch: isOver ? fence.epoch : place.epoch } },
        );
      const ageMs = sentAtMs === undefined ? {} : { ageMs: BigInt(Math.round(elapsedMs(clock) - sentAtMs)) };
      const isHere = place.site === name;
      const heardMs = sentAtMs === undefined ? Number.POSITIVE_INFINITY : elapsedMs(clock) - sentAtMs;
      const mayHaveLapsed = isHere ? leases.remainingMs(group, place.epoch) === 0 : heardMs > HEARD_MS_MAX;
      if (place.stopsOnLeaseLapse && mayHaveLapsed)
        throw new AntipodeError(
          'NOT_SERVED',
          isHere
            ? `the lease of site ${name} in group ${group} has lapsed, and the group stops serving then`
            : `site ${name} does not know whether the lease of site ${place.site} in group ${group} has lapsed, and the group stops serving then`,
          { details: { group, epoch: place.epoch, stopsServing: true } },
        );
      const missing = vouched.of(group)?.missing.map(({ site }) => site) ?? [];
      return {
        answeredBy: name,
        place,
        ...ageMs,
        vouchedBy: isHere ? (vouched.of(group)?.by.filter((site) => !missing.includes(site)) ?? []) : [],
        notVouchedBy: isHere ? missing : [],
        leaseRemainingMs: BigInt(isHere ? Math.floor(leases.remainingMs(group, place.epoch)) : 0),
      };
    },
  };
}
