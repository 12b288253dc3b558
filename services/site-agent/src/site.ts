/** What the orders of one agent share. Built once in agent.ts. */
import type { SealedGeneration } from '@antipode/hsm-core';
import { type CertificateState, isNewer } from '@antipode/protocol';
import { AntipodeError, type Clock, type Log, type Prng } from '@antipode/runtime';
import type { Authority } from './orders/authority.ts';
import type { Partition, Partitions } from './partition/partitions.ts';
import type { Mender } from './peers/mending.ts';
import type { Peers } from './peers/peers.ts';
import type { Transfer } from './peers/transfer.ts';
import type { Trust } from './peers/trust.ts';
import type { Collector } from './storage/collector.ts';
import type { Deletions } from './storage/deletions.ts';
import type { GenerationStore, GenerationSummary } from './storage/generation-store.ts';
import type { HeadKind, Journal, Seat } from './storage/journal.ts';
import type { Retention } from './storage/retention.ts';
import type { FenceKeeper } from './tenure/fence.ts';
import type { LeaseKeeper } from './tenure/lease.ts';

export interface Site {
  readonly name: string;
  readonly instance: string;
  readonly version: string;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  /** Of our own certificate; absent where no network is (tests). */
  readonly certificate?: () => CertificateState;
  readonly journal: Journal;
  readonly store: GenerationStore;
  readonly fences: FenceKeeper;
  readonly leases: LeaseKeeper;
  readonly authority: Authority;
  readonly deletions: Deletions;
  readonly partitions: Partitions;
  readonly peers: Peers;
  readonly trust: Trust;
  readonly transfer: Transfer;
  readonly mender: Mender;
  readonly retention: Retention;
  readonly collector: Collector;
}

/** @throws NOT_FOUND */
export function seatOf({ journal, partitions }: Site, group: string): { seat: Seat; partition: Partition } {
  const seat = journal.seat(group);
  if (seat === undefined)
    throw new AntipodeError('NOT_FOUND', `this site has no seat in group ${group}`, { details: { group } });
  return { seat, partition: partitions.bySerial(seat.serial) };
}

/** A head by its names and counts. */
export async function headOf(
  { journal, store }: Site,
  group: string,
  kind: HeadKind,
): Promise<GenerationSummary | undefined> {
  const digest = journal.head(group, kind);
  return digest === undefined ? undefined : store.summary(digest);
}

/** The newest generation that describes this partition: captured here, or restored here. */
export async function newestHere(site: Site, group: string): Promise<GenerationSummary | undefined> {
  const captured = await headOf(site, group, 'captured');
  const applied = await headOf(site, group, 'applied');
  return isNewer(captured, applied) ? captured : applied;
}

/** Objects that this member could not restore: no part of what it has to prove, and never taken for deleted. */
export const refusedAt = ({ journal }: Site, group: string): ReadonlySet<string> =>
  new Set(journal.refused(group).map(({ objectId }) => objectId));

/** What explains the objects of this partition, the newest first: what was restored last, read back or not, and what it held before. */
export async function previousOf(site: Site, group: string): Promise<SealedGeneration[]> {
  const heads = [await newestHere(site, group), await headOf(site, group, 'staged')].filter(
    (head) => head !== undefined,
  );
  const digests = new Set(heads.sort((one, other) => (isNewer(one, other) ? -1 : 1)).map(({ digest }) => digest));
  return Promise.all([...digests].map((digest) => site.store.open(digest)));
}
