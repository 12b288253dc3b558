import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { latestMatch, parseCron } from './cron.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** A Thursday. */
const at = (day: number, hour = 0, minute = 0): number => Date.UTC(2026, 0, day, hour, minute);
const latest = (text: string, afterMs: number, untilMs: number): number | undefined =>
  latestMatch(parseCron(text)!, { afterMs, untilMs });

/** Every minute of January 2026 that matches. */
function minutesOf(text: string): string[] {
  const found: string[] = [];
  for (let until = at(32) - MINUTE_MS; ; ) {
    const match = latest(text, at(1) - 1, until);
    if (match === undefined) return found.reverse();
    found.push(new Date(match).toISOString().slice(8, 16));
    until = match - MINUTE_MS;
  }
}

describe('a calendar', () => {
  it.each([
    ['0 3 13 * *', ['13T03:00']],
    ['30 3,5 1 1 *', ['01T03:30', '01T05:30']],
    ['0 0-23/12 2 jan *', ['02T00:00', '02T12:00']],
    ['58-59 23 * * SUN', ['04', '11', '18', '25'].flatMap((day) => [`${day}T23:58`, `${day}T23:59`])],
    ['0 3 * * 7', ['04T03:00', '11T03:00', '18T03:00', '25T03:00']],
    ['0 3 30/1 * *', ['30T03:00', '31T03:00']],
    ['0 3 31 2 *', []],
    // Both day fields: either counts.
    ['0 3 13 * FRI', ['02', '09', '13', '16', '23', '30'].map((day) => `${day}T03:00`)],
    ['0 3 1,15 * MON', ['01', '05', '12', '15', '19', '26'].map((day) => `${day}T03:00`)],
    // A field that begins with a star says nothing by itself: both must hold.
    ['0 3 */2 * FRI', ['09', '23'].map((day) => `${day}T03:00`)],
  ])('of %s is %s', (text, minutes) => {
    expect(minutesOf(text)).toEqual(minutes);
  });

  it('finds what is rare', () => {
    expect(latest('0 0 29 2 *', 0, at(1))).toBe(Date.UTC(2024, 1, 29));
    expect(latest('0 0 31 12 *', at(1), at(300))).toBeUndefined();
  });

  it('gives the latest minute after the one, up to and with the other', () => {
    expect(latest('0 3 * * *', at(1, 3), at(2, 3))).toBe(at(2, 3));
    expect(latest('0 3 * * *', at(2, 3), at(3, 3) - 1)).toBeUndefined();
    expect(latest('0 3 * * *', at(2, 3) - 1, at(2, 3))).toBe(at(2, 3));
    expect(latest('* * * * *', at(1), at(1) + 90_000)).toBe(at(1) + MINUTE_MS);
  });

  it('of a list of minutes and hours is found from anywhere', () => {
    const times = fc.record({
      minute: fc.integer({ min: 0, max: 59 }),
      hour: fc.integer({ min: 0, max: 23 }),
      untilMs: fc.integer({ min: at(1), max: at(300) }),
    });
    fc.assert(
      fc.property(times, ({ minute, hour, untilMs }) => {
        const found = latest(`${minute} ${hour} * * *`, untilMs - 2 * DAY_MS, untilMs)!;
        expect(found % DAY_MS).toBe((hour * 60 + minute) * MINUTE_MS);
        expect(untilMs - found).toBeLessThan(DAY_MS);
        expect(untilMs - found).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 300 },
    );
  });
});
