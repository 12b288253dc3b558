/** The parts that the orders of one agent share. They are built from ports, which the agent opens and closes. */
import type { SealedGeneration } from '@antipode/hsm-core';
import { type CertificateState, isNewer, type RevocationStateSchema } from '@antipode/protocol';
import { AntipodeError, type Clock, type Log, type LoopDelay, type Prng } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ApprovalRules } from './approvals/approval-rules.ts';
import { Approvals } from './approvals/approvals.ts';
import { Enrolments } from './approvals/enrolments.ts';
import { SetAsideCounts } from './objects/set-aside-objects.ts';
import { Authority } from './orders/authority.ts';
import { OrderBook } from './orders/order-book.ts';
import { DeviceCopies } from './partition/device-copies.ts';
import type { Partition, Partitions } from './partition/partition.ts';
import { RefusedRetries } from './partition/refused-retries.ts';
import { Mender } from './peers/mending.ts';
import { Observations } from './peers/observations.ts';
import type { Peers } from './peers/peers.ts';
import { Transfer } from './peers/transfer.ts';
import { Trust, type TrustPorts } from './peers/trust.ts';
import { Collector } from './storage/collector.ts';
import { Deletions } from './storage/deletions.ts';
import type { GenerationStore, GenerationSummary } from './storage/generation-store.ts';
import { IdleCollection } from './storage/idle-collection.ts';
import type { HeadKind } from './storage/journal/heads.ts';
import type { Journal } from './storage/journal/journal.ts';
import type { PartitionOf } from './storage/journal/line.ts';
import type { Seat } from './storage/journal/tenure.ts';
import { Retention } from './storage/retention.ts';
import { Acknowledgements } from './tenure/acknowledgements.ts';
import { ClockRates } from './tenure/clock-rates.ts';
import { FenceKeeper } from './tenure/fence.ts';
import { KnownPlaces } from './tenure/known-places.ts';
import { LeaseKeeper } from './tenure/lease.ts';
import { TermKeeper } from './tenure/terms.ts';
import { VouchBook } from './tenure/vouch-book.ts';
import { VouchedLeases } from './tenure/vouched-leases.ts';
import type { Vault } from './vaults/vault.ts';

/** Where a site meets the world. Open already: whoever has opened one closes it, after the last order has ended. */
export interface SitePorts {
  readonly name: string;
  /** Of this run of the agent. */
  readonly instance: string;
  readonly version: string;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  /** Of our own certificate; absent where no network is (tests). */
  readonly certificate?: () => CertificateState;
  /** The list of revoked certificates that this site goes by; absent where no network is (tests). */
  readonly revocations?: () => MessageInitShape<typeof RevocationStateSchema>;
  readonly journal: Journal;
  readonly store: GenerationStore;
  readonly partitions: Partitions;
  /** Backup HSMs; none if absent. */
  readonly vaults?: readonly Vault[];
  readonly peers: Peers;
  /** Partitions elsewhere that this site trusts, by its own configuration. Read at each use. */
  readonly pins: TrustPorts['pins'];
  /** The operators who may approve guarded actions here, by the site's own configuration. */
  readonly approvalRules: ApprovalRules;
  readonly loopDelay: Pick<LoopDelay, 'maxMs'>;
  /** A whole garbage collection: nothing else happens meanwhile. Asked for when no order has run for a while. */
  readonly collectGarbage: () => unknown;
  /** How long deleted objects are kept sealed at least, whatever a group's policy says. */
  readonly deletedRetentionMsMin: number;
  /** How long a sealed object must have been needed by nothing before it is erased. */
  readonly eraseGraceMs: number;
}

export interface Site extends SitePorts {
  readonly vaults: readonly Vault[];
  readonly fences: FenceKeeper;
  readonly leases: LeaseKeeper;
  /** The word of this site for others, and the word of others for this site, while no coordinator answers. */
  readonly vouches: VouchBook;
  readonly vouched: VouchedLeases;
  readonly clockRates: ClockRates;
  readonly terms: TermKeeper;
  readonly observations: Observations;
  readonly authority: Authority;
  readonly places: KnownPlaces;
  readonly acknowledgements: Acknowledgements;
  readonly approvals: Approvals;
  readonly enrolments: Enrolments;
  readonly deletions: Deletions;
  readonly trust: Trust;
  readonly transfer: Transfer;
  readonly mender: Mender;
  readonly retention: Retention;
  readonly refusedRetries: RefusedRetries;
  readonly deviceCopies: DeviceCopies;
  readonly setAside: SetAsideCounts;
  readonly collector: Collector;
  readonly orders: OrderBook;
  readonly idle: IdleCollection;
}

/** The one way to put a site together: for the agent, for tests and for simulations. Opens and starts nothing. */
export function buildSite(ports: SitePorts): Site {
  const { name, clock, log, journal, store, partitions, peers, pins } = ports;
  const fences = new FenceKeeper({ records: journal.tenure });
  const leases = new LeaseKeeper({ clock });
  const places = new KnownPlaces({ journal });
  const approvals = new Approvals({ rules: ports.approvalRules, records: journal.approvals, clock, log });
  const enrolments = new Enrolments({ site: name, approvals, journal, pins, partitions: partitions.all });
  if (ports.approvalRules.isSet) enrolments.begin();
  const trust = new Trust({ site: name, partitions: partitions.all, pins, tenure: journal.tenure, enrolments });
  const transfer = new Transfer({ store, peers, trust, log, clock });
  const deletions = new Deletions({ journal, clock, retentionMsMin: ports.deletedRetentionMsMin });
  const retention = new Retention({ journal, store, log, clock });
  return {
    ...ports,
    vaults: ports.vaults ?? [],
    fences,
    leases,
    clockRates: new ClockRates(),
    terms: new TermKeeper({ records: journal.terms }),
    observations: new Observations({ clock }),
    authority: new Authority({ name, tenure: journal.tenure, fences, leases }),
    places,
    vouches: new VouchBook({ name, clock, tenure: journal.tenure }),
    vouched: new VouchedLeases({ name, clock, journal, leases, places, peers, log }),
    acknowledgements: new Acknowledgements({ journal, name, clock }),
    approvals,
    enrolments,
    deletions,
    trust,
    transfer,
    mender: new Mender({ journal, store, transfer, log }),
    retention,
    refusedRetries: new RefusedRetries({ clock }),
    deviceCopies: new DeviceCopies({ tenure: journal.tenure, clock, log }),
    setAside: new SetAsideCounts({ journal, store }),
    collector: new Collector({ journal, store, deletions, retention, clock, log, graceMs: ports.eraseGraceMs }),
    orders: new OrderBook({ clock, mark: () => journal.mark }),
    idle: new IdleCollection({ clock, collect: ports.collectGarbage }),
  };
}

/** @throws NOT_FOUND, ROLE_REFUSED where the configuration declares the partition as something else since */
export function seatOf({ journal, partitions }: Site, group: string): { seat: Seat; partition: Partition } {
  const seat = journal.tenure.seat(group);
  if (seat === undefined)
    throw new AntipodeError('NOT_FOUND', `this site has no seat in group ${group}`, { details: { group } });
  const partition = partitions.bySerial(seat.serial);
  const { role, name } = partition.settings;
  if (role === 'member') return { seat, partition };
  throw new AntipodeError(
    'ROLE_REFUSED',
    `partition ${name} has the seat in group ${group}, and is declared as ${role}`,
    {
      details: { group, serial: seat.serial },
      hint: `Declare partition ${name} as a member again in the configuration of this site, or remove the site from the group first.`,
    },
  );
}

/** A head by its names and counts. */
export async function headOf(
  { journal, store }: Site,
  seat: PartitionOf,
  kind: HeadKind,
): Promise<GenerationSummary | undefined> {
  const digest = journal.heads.of(seat, kind);
  return digest === undefined ? undefined : store.summary(digest);
}

/** The newest generation that describes this partition: captured here, or restored here. */
export async function newestHere(site: Site, seat: PartitionOf): Promise<GenerationSummary | undefined> {
  const captured = await headOf(site, seat, 'captured');
  const applied = await headOf(site, seat, 'applied');
  return isNewer(captured, applied) ? captured : applied;
}

/** Objects that this member could not restore: no part of what it has to prove, and never taken for deleted. */
export const refusedAt = ({ journal }: Site, seat: PartitionOf): ReadonlySet<string> =>
  new Set(journal.findings.refused(seat).map(({ objectId }) => objectId));

/**
 * Generations that explain the objects of this partition, newest first: the one it held before, and the one restored
 * last, even if that has not been read back.
 */
export async function previousOf(site: Site, seat: PartitionOf): Promise<SealedGeneration[]> {
  const heads = [await newestHere(site, seat), await headOf(site, seat, 'staged')].filter((head) => head !== undefined);
  const digests = new Set(heads.sort((one, other) => (isNewer(one, other) ? -1 : 1)).map(({ digest }) => digest));
  return Promise.all([...digests].map((digest) => site.store.open(digest)));
}
