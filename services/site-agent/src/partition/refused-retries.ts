/**
 * When a member tries again to restore objects that its token has refused. A token that was away, or lied, may take them
 * later, and the group must not stay partially protected until somebody changes a key. One that never takes them is
 * asked ever more seldom. In memory only: after a restart the objects are tried again at once.
 */
import type { Clock } from '@antipode/runtime';
import type { PartitionOf } from '../storage/journal/line.ts';

const PAUSE_MS_FIRST = 10_000;
const PAUSE_MS_MAX = 3_600_000;

interface Tried {
  readonly objects: string;
  readonly pauseMs: number;
  /** Monotonic. */
  readonly dueMs: number;
}

export class RefusedRetries {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #tried = new Map<string, Tried>();

  constructor({ clock }: { clock: Pick<Clock, 'monotonicMs'> }) {
    this.#clock = clock;
  }

  /** An apply has ended, and its token refused these objects. */
  applied(seat: PartitionOf, objectIds: readonly string[]): void {
    const key = keyOf(seat);
    const objects = [...objectIds].sort().join();
    const before = this.#tried.get(key);
    if (objects === '') {
      this.#tried.delete(key);
      return;
    }
    const pauseMs = before?.objects === objects ? Math.min(before.pauseMs * 2, PAUSE_MS_MAX) : PAUSE_MS_FIRST;
    this.#tried.set(key, { objects, pauseMs, dueMs: this.#clock.monotonicMs() + pauseMs });
  }

  /** Whether it is time to try the objects of this member that are on record as refused. */
  isDue(seat: PartitionOf): boolean {
    return this.#clock.monotonicMs() >= (this.#tried.get(keyOf(seat))?.dueMs ?? 0);
  }
}

const keyOf = ({ group, serial }: PartitionOf): string => JSON.stringify([group, serial]);
