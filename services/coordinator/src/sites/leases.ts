/**
 * The leases that this coordinator has promised. Nobody else is promoted in a group until its last lease has surely
 * ended. A lease is counted on this process's monotonic clock, from the last grant, by the length of that grant. A
 * margin allows for clocks that run at different rates.
 *
 * A new leader knows nothing of earlier grants. It assumes that every lease was granted when it became leader, with the
 * longest length that may have been granted before. The holder counts by the length of its grant, not by ours.
 */
import type { Clock } from '@antipode/runtime';

/** Clocks of two machines drift apart by far less; 1 % of 20 s is 200 ms. */
const DRIFT = 1.01;
const MARGIN_MS = 50;

/** After so long nobody holds a lease of this length any more. */
const surelyOver = (leaseMs: number): number => leaseMs * DRIFT + MARGIN_MS;

export class LeaseBook {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  #startedMs: number;
  #earlierLeaseMs: number;
  readonly #grantedMs = new Map<string, number>();
  /** Groups whose holder of before has said itself that it has stopped. */
  readonly #ended = new Set<string>();

  constructor({ clock, leaseMs }: { clock: Clock; leaseMs: number }) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.#startedMs = clock.monotonicMs();
    this.#earlierLeaseMs = leaseMs;
  }

  /** @param options.earlierLeaseMs the longest lease that another coordinator may have granted until just now */
  becameLeader({ earlierLeaseMs }: { earlierLeaseMs: number }): void {
    this.#startedMs = this.#clock.monotonicMs();
    this.#earlierLeaseMs = Math.max(earlierLeaseMs, this.#leaseMs);
    this.#grantedMs.clear();
    this.#ended.clear();
  }

  granted(group: string): void {
    this.#grantedMs.set(group, this.#clock.monotonicMs());
  }

  /** The old active member said itself that it has stopped. */
  ended(group: string): void {
    this.#ended.add(group);
    this.#grantedMs.delete(group);
  }

  /** How long until nobody can hold a lease of this group any more. */
  remainingMs(group: string): number {
    const grantedMs = this.#grantedMs.get(group) ?? Number.NEGATIVE_INFINITY;
    const earlierMs = this.#ended.has(group) ? Number.NEGATIVE_INFINITY : this.#startedMs;
    const endMs = Math.max(grantedMs + surelyOver(this.#leaseMs), earlierMs + surelyOver(this.#earlierLeaseMs));
    return Math.max(0, endMs - this.#clock.monotonicMs());
  }

  /** The longest lease that somebody may hold: what the next leader must wait for. */
  longestMs(): number {
    const areEarlierOver = this.#clock.monotonicMs() >= this.#startedMs + surelyOver(this.#earlierLeaseMs);
    return areEarlierOver ? this.#leaseMs : this.#earlierLeaseMs;
  }
}
