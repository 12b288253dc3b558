/** The clock of a machine that runs too fast or too slow, over another clock. */
import type { Clock } from '../time/clock.ts';

/** @param rate milliseconds of this clock in one of the other */
export function ratedClock(clock: Clock, rate: number): Clock {
  const originMs = clock.wallMs() - clock.monotonicMs();
  return {
    wallMs: () => originMs + clock.monotonicMs() * rate,
    monotonicMs: () => clock.monotonicMs() * rate,
    sleptMs: () => (clock.sleptMs?.() ?? 0) * rate,
    sleep: (ms, signal) => clock.sleep(ms / rate, signal),
    isSliceOver: (sinceMs) => clock.isSliceOver(sinceMs / rate),
    makeWay: () => clock.makeWay(),
  };
}
