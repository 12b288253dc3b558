import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Circumstances, expectRecovery } from './expectation.ts';

const move = (recoveryTimeMs: number, rest: Partial<Circumstances['moves'][number]> = {}) => ({
  to: 'b',
  recoveryTimeMs,
  proved: 10,
  caughtUp: true,
  ...rest,
});
const NOTHING: Circumstances = { to: 'b', moves: [], drills: [], objects: 10, leaseWaitMs: 0, silenceMs: 0 };
const ms = (rest: Partial<Circumstances>): number | undefined => expectRecovery({ ...NOTHING, ...rest })?.ms;

describe('the expected time without an active member', () => {
  it('is unknown while nothing was measured', () => {
    expect(expectRecovery({ ...NOTHING, leaseWaitMs: 5_000 })).toBeUndefined();
  });

  it('is that of the slowest of the last moves to this target', () => {
    expect(ms({ moves: [move(300), move(500), move(9_000, { to: 'c' })] })).toBe(500);
    expect(ms({ to: 'd', moves: [move(300), move(500), move(9_000, { to: 'c' })] })).toBe(9_000);
  });

  it('grows with the objects, and does not shrink with them', () => {
    expect(ms({ moves: [move(500)], objects: 40 })).toBe(2_000);
    expect(ms({ moves: [move(500)], objects: 1 })).toBe(500);
  });

  it('goes by drills before it goes by failovers, which have waited for a lease', () => {
    const lost = move(20_000, { caughtUp: false });
    expect(ms({ moves: [lost], drills: [{ recoveryTimeMs: 800, proved: 10 }] })).toBe(800);
    expect(ms({ moves: [lost] })).toBe(20_000);
    expect(ms({ moves: [lost, move(400)] })).toBe(400);
  });

  it('adds the rest of a lease and the wait for sites that do not answer, and names each part', () => {
    const expected = expectRecovery({ ...NOTHING, moves: [move(450)], leaseWaitMs: 11_040, silenceMs: 4_000 });
    expect(expected).toEqual({
      ms: 15_490,
      from: [
        '11.1 s until the lease has ended',
        '4 s for sites that do not answer',
        '450 ms for 10 objects (the slowest of 1 moves to b)',
      ],
    });
  });

  it('is never shorter than a move to this target that it counts, or than the lease', () => {
    const moves = fc.array(
      fc.record({
        to: fc.constantFrom('b', 'c'),
        recoveryTimeMs: fc.nat(60_000),
        proved: fc.nat(1_000),
        caughtUp: fc.constant(true),
      }),
      { minLength: 1, maxLength: 5 },
    );
    fc.assert(
      fc.property(moves, fc.nat(1_000), fc.nat(60_000), (all, objects, leaseWaitMs) => {
        const expected = ms({ moves: all, objects, leaseWaitMs })!;
        const there = all.filter(({ to }) => to === 'b');
        for (const { recoveryTimeMs } of there) expect(expected).toBeGreaterThanOrEqual(recoveryTimeMs + leaseWaitMs);
      }),
    );
  });
});
