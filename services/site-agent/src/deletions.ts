/**
 * What the active member's captures lost, or would lose: what is held for an operator, what an operator has accepted, and how
 * long each deleted object has been kept. The age is counted in time that passed while this agent ran, by its monotonic clock:
 * no clock on a wall that is set ahead makes a delete travel faster, and a stolen coordinator cannot either, since the agent's
 * own configuration has the least of days.
 */
import { LOSS_LIMIT, type Loss, type LossLimit, type ObjectId, RETENTION_MS, type Tombstone } from '@antipode/hsm-core';
import type { CaptureRequest } from '@antipode/protocol';
import type { Clock } from '@antipode/runtime';
import type { Journal } from './journal.ts';

/** Passes closer to each other than this are one: each costs a write. */
const PASS_MS_MIN = 60_000;

export interface DeletionRules {
  readonly accepted: ReadonlySet<ObjectId>;
  readonly restored: ReadonlySet<ObjectId>;
  readonly lossLimit: LossLimit;
  readonly retentionMs: number;
  readonly isExpired: (tombstone: Tombstone) => boolean;
}

export class Deletions {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #retentionMsMin: number;
  readonly #countedMs = new Map<string, number>();

  constructor({ journal, clock, retentionMsMin }: { journal: Journal; clock: Clock; retentionMsMin: number }) {
    this.#journal = journal;
    this.#clock = clock;
    this.#retentionMsMin = retentionMsMin;
  }

  /** For a capture upon a generation with these tombstones. */
  rules(group: string, { policy }: CaptureRequest, tombstones: readonly Tombstone[]): DeletionRules {
    const retentionMs = Math.max(this.#retentionMsMin, Number(policy?.retentionMs || RETENTION_MS));
    const kept = this.#count(group, tombstones);
    return {
      accepted: this.#journal.accepted(group),
      restored: this.#journal.restored(group),
      lossLimit: {
        objects: policy?.lossObjects ?? LOSS_LIMIT.objects,
        percent: policy?.lossPercent ?? LOSS_LIMIT.percent,
      },
      retentionMs,
      isExpired: ({ entry, retentionMs: promised = RETENTION_MS }) =>
        (kept.get(entry.objectId) ?? 0) >= Math.max(promised, this.#retentionMsMin),
    };
  }

  /** Whether objects were ever restored into the partition: as a standby, or by hand. */
  hasRestored(group: string): boolean {
    const isReplica = (['staged', 'applied'] as const).some((kind) => this.#journal.head(group, kind) !== undefined);
    return isReplica || this.#journal.hasRestored(group);
  }

  hold(group: string, losses: readonly Loss[]): void {
    this.#journal.setHeld(group, losses);
  }

  /** After a capture that went on, by these rules. */
  release(group: string, decided: Pick<DeletionRules, 'accepted' | 'restored'>): void {
    if (this.#journal.held(group).length > 0) this.#journal.setHeld(group, []);
    if (decided.accepted.size + decided.restored.size > 0) this.#journal.endDecisions(group, decided);
  }

  #count(group: string, tombstones: readonly Tombstone[]): ReadonlyMap<ObjectId, number> {
    const nowMs = this.#clock.monotonicMs();
    const elapsedMs = nowMs - (this.#countedMs.get(group) ?? nowMs);
    if (!this.#countedMs.has(group) || elapsedMs >= PASS_MS_MIN) {
      this.#countedMs.set(group, nowMs);
      const objectIds = tombstones.map(({ entry }) => entry.objectId);
      this.#journal.countKept(group, { objectIds, elapsedMs: Math.floor(elapsedMs) });
    }
    return this.#journal.kept(group);
  }
}
