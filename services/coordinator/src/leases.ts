/**
 * What this coordinator has promised: nobody else is promoted in a group until its last lease has surely ended. Counted on
 * its own monotonic clock from when a grant was last given, with room for clocks that run at different rates. A new leader
 * knows nothing of earlier grants, so it takes every lease as granted when it started.
 */
import type { Clock } from '@antipode/runtime';

/** Clocks of two machines drift apart by far less; 1 % of 20 s is 200 ms. */
const DRIFT = 1.01;
const MARGIN_MS = 50;

export class LeaseBook {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  #startedMs: number;
  readonly #grantedMs = new Map<string, number>();

  constructor({ clock, leaseMs }: { clock: Clock; leaseMs: number }) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.#startedMs = clock.monotonicMs();
  }

  /** Another coordinator may have granted leases until just now. */
  becameLeader(): void {
    this.#startedMs = this.#clock.monotonicMs();
    this.#grantedMs.clear();
  }

  granted(group: string): void {
    this.#grantedMs.set(group, this.#clock.monotonicMs());
  }

  /** The old active member said itself that it has stopped. */
  ended(group: string): void {
    this.#grantedMs.set(group, Number.NEGATIVE_INFINITY);
  }

  /** How long until nobody can hold a lease of this group any more. */
  remainingMs(group: string): number {
    const grantedMs = this.#grantedMs.get(group) ?? this.#startedMs;
    return Math.max(0, grantedMs + this.#leaseMs * DRIFT + MARGIN_MS - this.#clock.monotonicMs());
  }
}
