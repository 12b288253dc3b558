/**
 * Objects that the active member's captures lost or would lose: which are held for an operator, which losses an
 * operator has accepted, and how long each deleted object has been kept. The age counts time that passed while this
 * agent ran, by its monotonic clock. So a wall clock that is set ahead does not make a delete travel faster. A stolen
 * coordinator cannot do so either, since the agent's own configuration sets the minimum of days.
 */
import {
  blobsOfTombstone,
  LOSS_LIMIT,
  type Loss,
  type LossLimit,
  type ObjectId,
  RETENTION_MS,
  type Tombstone,
} from '@antipode/hsm-core';
import type { DeletionPolicy } from '@antipode/protocol';
import type { Clock } from '@antipode/runtime';
import { type Burial, burialKey, type KeptBurial } from './journal/collection.ts';
import type { Journal } from './journal/journal.ts';
import type { PartitionOf } from './journal/line.ts';
import { RunningTime } from './running-time.ts';

export interface DeletionRules {
  readonly accepted: ReadonlySet<ObjectId>;
  readonly restored: ReadonlySet<ObjectId>;
  readonly lossLimit: LossLimit;
  readonly retentionMs: number;
  readonly isExpired: (tombstone: Tombstone) => boolean;
}

/** The part of an order to capture that concerns deletions. A field that is omitted has a default here. */
export interface DeletionOrder {
  readonly policy?: Partial<Pick<DeletionPolicy, 'retentionMs' | 'lossObjects' | 'lossPercent'>> | undefined;
}

export class Deletions {
  readonly #journal: Journal;
  readonly runningTime: RunningTime;
  readonly #retentionMsMin: number;

  constructor({ journal, clock, retentionMsMin }: { journal: Journal; clock: Clock; retentionMsMin: number }) {
    this.#journal = journal;
    this.runningTime = new RunningTime({ journal, clock });
    this.#retentionMsMin = retentionMsMin;
  }

  /** For a capture upon a generation with these tombstones. @param options.isAcknowledged whether every member knows of one */
  rules(
    seat: PartitionOf,
    { policy }: DeletionOrder,
    tombstones: readonly Tombstone[],
    { isAcknowledged = () => true }: { isAcknowledged?: (tombstone: Tombstone) => boolean } = {},
  ): DeletionRules {
    const retentionMs = Math.max(this.#retentionMsMin, Number(policy?.retentionMs || RETENTION_MS));
    const { group } = seat;
    const nowMs = this.note(group, tombstones);
    const kept = new Map(this.#journal.collection.buried(group).map((one) => [burialKey(one), one]));
    return {
      accepted: this.#journal.decisions.accepted(seat),
      restored: this.#journal.decisions.restored(seat),
      lossLimit: {
        objects: policy?.lossObjects ?? LOSS_LIMIT.objects,
        percent: policy?.lossPercent ?? LOSS_LIMIT.percent,
      },
      retentionMs,
      isExpired: (tombstone) => {
        const one = kept.get(burialKey(burialOf(tombstone)));
        return one !== undefined && this.isExpired(one, nowMs) && isAcknowledged(tombstone);
      },
    };
  }

  hasRestored(seat: PartitionOf): boolean {
    return hasRestored(this.#journal, seat);
  }

  hold(seat: PartitionOf, losses: readonly Loss[]): void {
    this.#journal.decisions.setHeld(seat, losses);
  }

  /** After a capture that went on, by these rules. */
  release(seat: PartitionOf, decided: Pick<DeletionRules, 'accepted' | 'restored'>): void {
    if (this.#journal.decisions.held(seat).length > 0) this.#journal.decisions.setHeld(seat, []);
    if (decided.accepted.size + decided.restored.size > 0) this.#journal.decisions.end(seat, decided);
  }

  /** Deleted objects that this agent sees for the first time count from now. @returns the running time */
  note(group: string, tombstones: readonly Tombstone[]): number {
    const nowMs = this.runningTime.nowMs();
    this.#journal.collection.noteBuried(group, tombstones.map(burialOf), nowMs);
    return nowMs;
  }

  /** Whether it was kept for as long as its tombstone promises, and this site's configuration, in this agent's running time. */
  isExpired({ retentionMs, sinceMs }: Pick<KeptBurial, 'retentionMs' | 'sinceMs'>, nowMs: number): boolean {
    return nowMs - sinceMs >= Math.max(retentionMs, this.#retentionMsMin);
  }

  get retentionMsMin(): number {
    return this.#retentionMsMin;
  }
}

/** Whether objects were ever restored into the partition: as a standby, or by hand. */
export function hasRestored({ heads, decisions }: Pick<Journal, 'heads' | 'decisions'>, seat: PartitionOf): boolean {
  const isReplica = (['staged', 'applied'] as const).some((kind) => heads.of(seat, kind) !== undefined);
  return isReplica || decisions.hasRestored(seat);
}

function burialOf(tombstone: Tombstone): Burial {
  const { entry, epoch, generation, domainKeyVersion, retentionMs = RETENTION_MS } = tombstone;
  const blobs = [...blobsOfTombstone(tombstone)];
  return { objectId: entry.objectId, epoch, generation, version: domainKeyVersion, blobs, retentionMs };
}
