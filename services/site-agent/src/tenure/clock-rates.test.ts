import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClockRates } from './clock-rates.ts';

/** Heartbeats between an agent and a coordinator whose clocks run at these speeds, with messages that take their time. */
function compared(
  { agent = 1, coordinator = 1, id = 'c' }: { agent?: number; coordinator?: number; id?: string },
  beats: readonly { readonly gapMs: number; readonly thereMs: number; readonly backMs: number }[],
  rates = new ClockRates(),
): ClockRates {
  let nowMs = 1_000_000;
  for (const { gapMs, thereMs, backMs } of beats) {
    nowMs += gapMs;
    const sentMs = nowMs * agent;
    nowMs += thereMs;
    const stampMs = nowMs * coordinator;
    nowMs += backMs;
    rates.compared({ id, nowMs: stampMs, sentMs, receivedMs: nowMs * agent });
  }
  return rates;
}
const steady = (count: number, gapMs = 1_000) =>
  Array.from({ length: count }, () => ({ gapMs, thereMs: 20, backMs: 20 }));
const beat = fc.record({
  gapMs: fc.integer({ min: 100, max: 5_000 }),
  thereMs: fc.integer({ min: 0, max: 3_000 }),
  backMs: fc.integer({ min: 0, max: 3_000 }),
});
const RUN = { numRuns: 300 };

describe('the speed of two clocks', () => {
  it('lies between the bounds, however long each message takes', () => {
    const speed = fc.constantFrom(0.5, 0.8, 1, 1.25, 2);
    fc.assert(
      fc.property(speed, speed, fc.array(beat, { minLength: 2, maxLength: 40 }), (agent, coordinator, beats) => {
        const { low = 0, high = Number.POSITIVE_INFINITY } = compared({ agent, coordinator }, beats).bounds ?? {};
        expect(low).toBeLessThanOrEqual((agent / coordinator) * (1 + 1e-9));
        expect(high).toBeGreaterThanOrEqual((agent / coordinator) * (1 - 1e-9));
      }),
      RUN,
    );
  });

  it('is not known before the second answer, nor after another process has answered', () => {
    const rates = compared({ coordinator: 2 }, steady(1));
    expect(rates.bounds).toBeUndefined();
    expect(compared({ coordinator: 2 }, steady(5), rates).isSlow).toBe(true);
    expect(compared({ id: 'another' }, steady(1), rates).bounds).toBeUndefined();
  });

  it.each([
    [{ coordinator: 2 }, true],
    [{ agent: 0.5 }, true],
    [{ coordinator: 1.2 }, true],
    [{ coordinator: 1.08 }, false],
    [{ agent: 2 }, false],
    [{}, false],
  ])('makes this clock a slow one where they run at %o: %s', (speeds, isSlow) => {
    expect(compared(speeds, steady(60)).isSlow).toBe(isSlow);
  });

  it('is found out within four heartbeats where one clock runs twice as fast', () => {
    expect(compared({ coordinator: 2 }, steady(4, 250)).isSlow).toBe(true);
  });

  it('is judged by the last minute: a difference that is over counts no longer', () => {
    const rates = compared({ coordinator: 2 }, steady(30));
    expect(rates.isSlow).toBe(true);
    let nowMs = 2_000_000;
    for (let count = 0; count < 70; count += 1) {
      nowMs += 1_000;
      rates.compared({ id: 'c', nowMs: nowMs + 10_000_000, sentMs: nowMs - 20, receivedMs: nowMs + 20 });
    }
    expect(rates.isSlow).toBe(false);
  });
});
