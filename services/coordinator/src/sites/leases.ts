/**
 * The leases that this coordinator has promised. Nobody else is promoted in a group until its last lease has surely
 * ended. A lease is counted on this process's monotonic clock, from the last grant, by the length of that grant. The
 * holder stops at three quarters of that by its own clock. So the two clocks may differ by a quarter (RATE_BOUND), and by
 * more where the difference is known (ADR 0043).
 *
 * A new leader knows nothing of earlier grants. It assumes that every lease was granted when it became leader, with the
 * longest length that may have been granted before. The holder counts by the length of its grant, not by ours.
 */
import { VOUCH_MS } from '@antipode/protocol';
import type { Clock } from '@antipode/runtime';

/**
 * How much slower the clock of a holder may run while nobody has noticed: a profile whose holders would stop too late at
 * this rate is refused by a test (timings.test.ts).
 */
export const RATE_BOUND = 1.25;
/** Beside the share of a lease that its holder leaves unused. */
const DRIFT = 1.01;
const MARGIN_MS = 50;

/** After so long nobody holds a lease of this length any more, by clocks that do not differ more than RATE_BOUND. */
export const surelyOver = (leaseMs: number): number => leaseMs * DRIFT + MARGIN_MS;

export class LeaseBook {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #slowestClock: () => number;
  #startedMs: number;
  #earlierLeaseMs: number;
  readonly #grantedMs = new Map<string, number>();
  /** Groups whose holder of before has said itself that it has stopped. */
  readonly #ended = new Set<string>();
  /** Until when the word of other sites may keep a lease alive, by group. */
  readonly #vouchedMs = new Map<string, number>();

  /** @param options.slowestClock the speed of the slowest clock that a holder may have, by what is known; 1 for no difference */
  constructor({
    clock,
    leaseMs,
    slowestClock = () => 1,
  }: { clock: Clock; leaseMs: number; slowestClock?: () => number }) {
    this.#slowestClock = slowestClock;
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
    this.#vouchedMs.clear();
  }

  granted(group: string): void {
    this.#grantedMs.set(group, this.#clock.monotonicMs());
  }

  /**
   * Sites that could keep the lease alive have just persisted another epoch, and give their word for it no more. They gave
   * it last so long ago, or may have. The shortest of these times counts: a site that lies can only prolong the wait.
   */
  vouchingEnded(group: string, silentMs: number): void {
    const leftMs = this.#surelyOver(VOUCH_MS) - Math.max(0, silentMs) / RATE_BOUND;
    this.#vouchedMs.set(group, this.#clock.monotonicMs() + Math.max(0, leftMs));
  }

  /**
   * How long {@link vouchingEnded} would make this coordinator wait, if these sites persisted another epoch now. Undefined
   * times are those of sites that are not heard.
   */
  vouchWaitMs(silentMs: readonly (number | undefined)[]): number {
    if (silentMs.length === 0) return 0;
    const known = silentMs.filter((ms) => ms !== undefined);
    const shortestMs = known.length === 0 ? 0 : Math.max(0, Math.min(...known));
    return Math.max(0, this.#surelyOver(VOUCH_MS) - shortestMs / RATE_BOUND);
  }

  /** The old active member said itself that it has stopped. */
  ended(group: string): void {
    this.#ended.add(group);
    this.#grantedMs.delete(group);
    this.#vouchedMs.delete(group);
  }

  /** How long until nobody can hold a lease of this group any more. */
  remainingMs(group: string): number {
    const grantedMs = this.#grantedMs.get(group) ?? Number.NEGATIVE_INFINITY;
    const earlierMs = this.#ended.has(group) ? Number.NEGATIVE_INFINITY : this.#startedMs;
    const endMs = Math.max(
      grantedMs + this.#surelyOver(this.#leaseMs),
      earlierMs + this.#surelyOver(this.#earlierLeaseMs),
      this.#vouchedMs.get(group) ?? Number.NEGATIVE_INFINITY,
    );
    return Math.max(0, endMs - this.#clock.monotonicMs());
  }

  /** The longest lease that somebody may hold: what the next leader must wait for. */
  longestMs(): number {
    const areEarlierOver = this.#clock.monotonicMs() >= this.#startedMs + this.#surelyOver(this.#earlierLeaseMs);
    return areEarlierOver ? this.#leaseMs : this.#earlierLeaseMs;
  }

  #surelyOver(leaseMs: number): number {
    return surelyOver(leaseMs) / this.#slowestClock();
  }
}
