/**
 * Retires manifests that nobody may ask for any more. Each changed capture brings a whole manifest: of 10,000 keys some
 * 4 MB, hundreds of times a day. This file erases no sealed objects. The collector (collector.ts) does, once no
 * manifest names them.
 */
import { isNewer } from '@antipode/protocol';
import { type Clock, type Log, runInSlices } from '@antipode/runtime';
import type { GenerationStore } from './generation-store.ts';
import type { DecisionRecords } from './journal/decisions.ts';
import type { FindingRecords } from './journal/findings.ts';
import type { Head, HeadKind, HeadRecords } from './journal/heads.ts';
import type { TenureRecords } from './journal/tenure.ts';

/** More than any member is behind while it still catches up, and what a rehearsal under way may be reading. */
const NEWEST_KEPT = 16;
/** A pass of an agent that has kept everything for a year ends in time all the same. */
const RETIRED_MAX = 200;

export interface RetentionPorts {
  readonly journal: {
    readonly heads: Pick<HeadRecords, 'all' | 'dropOvertaken'>;
    readonly tenure: Pick<TenureRecords, 'seat'>;
    readonly findings: Pick<FindingRecords, 'divergentDigests'>;
    readonly decisions: Pick<DecisionRecords, 'asides'>;
  };
  readonly store: GenerationStore;
  readonly log: Log;
  readonly clock: Clock;
}

interface Stored {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly digest: string;
}

export class Retention {
  readonly #ports: RetentionPorts;
  /** Generations that some member has acknowledged last, by group, as the coordinator reports them. */
  readonly #needed = new Map<string, ReadonlySet<string>>();

  constructor(ports: RetentionPorts) {
    this.#ports = ports;
  }

  /** The coordinator's word on what must stay. Without it, nothing of the group goes. */
  learn(group: string, digests: readonly string[]): void {
    this.#needed.set(group, new Set(digests));
  }

  /** Whether the coordinator has said what must stay. */
  knows(group: string): boolean {
    return this.#needed.has(group);
  }

  /**
   * Whether every member has acknowledged this generation or a newer one, so far as the coordinator has said. One that was
   * away must still hear of what was deleted meanwhile, or it would keep it alive.
   */
  isAcknowledged(group: string, { epoch, number }: { epoch: bigint; number: bigint }): boolean {
    const needed = this.#needed.get(group);
    if (needed === undefined) return false;
    const stored = new Map(this.#ports.store.list(group).map((one) => [one.digest, one]));
    return [...needed].every((digest) => {
      const one = stored.get(digest);
      return one !== undefined && !isNewer({ epoch, number }, one);
    });
  }

  /** Each manifest goes in a transaction of its own, and is compared with what is kept at that very moment. */
  async pass(signal?: AbortSignal): Promise<void> {
    const { clock, log } = this.#ports;
    for (const group of this.#needed.keys()) {
      if (signal?.aborted === true) return;
      const retired = await runInSlices(this.#retiring(group), clock);
      if (retired > 0) log.info('removed old generations from the store', { group, retired });
    }
  }

  /**
   * Works in slices: deleting a large manifest takes time, and leases and heartbeats must not wait for two hundred of
   * them.
   */
  *#retiring(group: string): Generator<void, number> {
    let retired = 0;
    // The oldest of them first.
    const stored = this.#ports.store.list(group);
    const old = stored.slice(NEWEST_KEPT).reverse();
    for (const one of old) {
      if (retired >= RETIRED_MAX) break;
      if (!this.retire(group, { stored, digest: one.digest })) continue;
      retired += 1;
      yield;
    }
    return retired;
  }

  /** Takes a manifest away, where nothing keeps it at this very moment. */
  retire(group: string, { stored, digest }: { stored: readonly Stored[]; digest: string }): boolean {
    const { journal, store } = this.#ports;
    if (!this.#needed.has(group) || this.isKept(group, { stored, digest })) return false;
    for (const { serial, kind } of this.#overtaken(group, stored).filter((head) => head.digest === digest))
      journal.heads.dropOvertaken({ group, serial }, kind);
    store.retire(digest);
    return true;
  }

  /** Whether more than its place among the newest keeps it. @param options.stored those of the group, the newest first */
  isKept(group: string, { stored, digest }: { stored: readonly Stored[]; digest: string }): boolean {
    const { journal, store, clock } = this.#ports;
    const overtaken = this.#overtaken(group, stored);
    return (
      stored[0]?.digest === digest ||
      this.#needed.get(group)?.has(digest) === true ||
      journal.heads.all(group).some((head) => head.digest === digest && !overtaken.some(isSame(head))) ||
      journal.findings.divergentDigests(group).includes(digest) ||
      // Only this list names objects that were set aside. Their generation has epoch and number 0 (set-aside.ts).
      journal.decisions.asides(group).includes(digest) ||
      stored.some((one) => one.digest === digest && one.epoch === 0n) ||
      store.inUse.has(digest, clock.monotonicMs())
    );
  }

  /**
   * Heads that say nothing of a partition any more. A standby that has applied a newer generation does not need what it
   * once captured as the active member. An active member that has captured a newer one does not need what it once
   * applied. Of a partition that has left the group, nothing is needed that the seat's partition is past.
   */
  #overtaken(group: string, stored: readonly Stored[]): Head[] {
    const { journal } = this.#ports;
    const seat = journal.tenure.seat(group);
    if (seat === undefined || seat.role === 'fenced') return [];
    const find = (head: Head | undefined): Stored | undefined => stored.find(({ digest }) => digest === head?.digest);
    const heads = journal.heads.all(group);
    const goesBy: HeadKind = seat.role === 'active' ? 'captured' : 'applied';
    const newest = find(heads.find(({ serial, kind }) => serial === seat.serial && kind === goesBy));
    if (newest === undefined) return [];
    return heads.filter((head) => {
      const isOfSeat = head.serial === seat.serial;
      if (isOfSeat && (seat.role === 'active' ? head.kind === 'captured' : head.kind !== 'captured')) return false;
      const other = find(head);
      return other !== undefined && isNewer(newest, other);
    });
  }
}

const isSame =
  (one: Head) =>
  (other: Head): boolean =>
    other.serial === one.serial && other.kind === one.kind;
