/**
 * Two clocks whose speeds differ by more than this share are not relied on for leases. Clocks of machines differ by some
 * millionths, and by up to 8 % while a time daemon corrects them. Leases allow for more (coordinator, leases.ts): the rest
 * is for the time in which a difference is not known yet.
 */
export const CLOCK_RATE_TOLERANCE = 0.1;

/** Milliseconds of one clock in one of the other: at least `low`, at most `high`. */
export interface ClockRateBounds {
  readonly low: number;
  readonly high: number;
}

export const isSlowClock = ({ high }: ClockRateBounds): boolean => high < 1 - CLOCK_RATE_TOLERANCE;
export const isFastClock = ({ low }: ClockRateBounds): boolean => low > 1 + CLOCK_RATE_TOLERANCE;
