/**
 * Compares the speed of this site's clock with that of the coordinator that answers (ADR 0043). Each heartbeat brings the
 * coordinator's time. It was read between the sending of the heartbeat and the arrival of the answer, so two answers bound
 * the ratio of the two clocks, however long messages take.
 */
import { type ClockRateBounds, isFastClock, isSlowClock } from '@antipode/protocol';

/** The coordinator's time, and this site's time around it; milliseconds. */
export interface Comparison {
  /** Which clock of which process. */
  readonly id: string;
  readonly nowMs: number;
  readonly sentMs: number;
  readonly receivedMs: number;
}

/** This site's milliseconds in one of the coordinator's. */
export interface RateBounds extends ClockRateBounds {
  readonly clockId: string;
}

/** A clock that ran wrong for a while is judged by that no longer. */
const WINDOW_MS = 60_000;
/** With a heartbeat every second, or four in a second, the window is covered by one in some seconds. */
const KEPT_MAX = 32;

export class ClockRates {
  #comparisons: Comparison[] = [];
  #bounds: RateBounds | undefined;

  /** The bounds that show a difference, if any do; else those of the longest time. Undefined before the second answer. */
  get bounds(): RateBounds | undefined {
    return this.#bounds;
  }

  /** This site's clock certainly runs slower than leases allow: it would count them too long. */
  get isSlow(): boolean {
    return this.#bounds !== undefined && isSlowClock(this.#bounds);
  }

  compared(newest: Comparison): void {
    const [last] = this.#comparisons.slice(-1);
    // Another process, whose clock has another origin.
    if (last !== undefined && last.id !== newest.id) {
      this.#comparisons = [];
      this.#bounds = undefined;
    }
    const earlier = this.#comparisons.filter(({ sentMs }) => newest.receivedMs - sentMs <= WINDOW_MS);
    const all = earlier.flatMap((one) => boundsBetween(one, newest) ?? []);
    this.#bounds = all.find(isSlowClock) ?? all.find(isFastClock) ?? all[0];
    this.#comparisons = thinned([...earlier, newest]);
  }
}

/** Undefined where the coordinator's clock has not moved in between. */
function boundsBetween(earlier: Comparison, later: Comparison): RateBounds | undefined {
  const theirs = later.nowMs - earlier.nowMs;
  if (theirs <= 0) return undefined;
  return {
    clockId: later.id,
    low: Math.max(0, later.sentMs - earlier.receivedMs) / theirs,
    high: (later.receivedMs - earlier.sentMs) / theirs,
  };
}

/** The oldest and the newest stay; in between every other one goes. */
function thinned(all: Comparison[]): Comparison[] {
  return all.length <= KEPT_MAX ? all : all.filter((_, at) => at % 2 === 0 || at === all.length - 1);
}
