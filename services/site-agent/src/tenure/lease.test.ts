import { FakeClock, thrown } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { beforeEach, expect, it } from 'vitest';
import { LeaseKeeper } from './lease.ts';

const group = 'payments';
let clock: FakeClock;
let leases: LeaseKeeper;

beforeEach(() => {
  clock = new FakeClock();
  leases = new LeaseKeeper({ clock });
});

const grant = (sentAtMs: number, epoch = 1n) => leases.grant({ group, epoch, sentAtMs, selfStopMs: 100 });

it('counts from the moment the renewal was sent, not from its answer', async () => {
  await clock.advance(60);
  grant(0);
  expect(leases.remainingMs(group, 1n)).toBe(40);
  await clock.advance(39);
  leases.check(group, 1n);
  await clock.advance(1);
  expect(thrown(() => leases.check(group, 1n))).toMatchObject({
    code: 'LEASE_LAPSED',
    details: { group, epoch: 1n },
  });
});

it('ends while the machine sleeps: the clocks of the others go on', async () => {
  grant(0);
  clock.sleepMachine(100);
  expect(clock.monotonicMs()).toBe(0);
  expect(thrown(() => leases.check(group, 1n)).code).toBe('LEASE_LAPSED');
});

it('holds none at the start, none for another group or epoch, and none that was taken away', () => {
  const lapsed = (name: string, epoch: bigint) => thrown(() => leases.check(name, epoch)).code;
  expect(lapsed(group, 1n)).toBe('LEASE_LAPSED');
  grant(0);
  expect([lapsed('other', 1n), lapsed(group, 2n), lapsed(group, 0n)]).toEqual(Array(3).fill('LEASE_LAPSED'));
  leases.revoke(group);
  expect(lapsed(group, 1n)).toBe('LEASE_LAPSED');
});

it('is not shortened by a grant that was overtaken, nor brought back by one of an earlier epoch', () => {
  grant(50);
  grant(20);
  expect(leases.remainingMs(group, 1n)).toBe(150);
  grant(0, 2n);
  grant(90, 1n);
  expect([leases.remainingMs(group, 1n), leases.remainingMs(group, 2n)]).toEqual([0, 100]);
});

it('never lasts longer than the latest grant allows, and gets no shorter but by time', async () => {
  const step = fc.oneof(
    fc.record({ passMs: fc.nat({ max: 80 }) }),
    fc.record({ delayMs: fc.nat({ max: 80 }), epoch: fc.bigInt({ min: 1n, max: 3n }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const time = new FakeClock();
      const keeper = new LeaseKeeper({ clock: time });
      let highest = 0n;
      const untilMs = new Map<bigint, number>();
      for (const one of steps) {
        const before = keeper.remainingMs(group, highest);
        if ('passMs' in one) await time.advance(one.passMs);
        else {
          const sentAtMs = Math.max(0, time.monotonicMs() - one.delayMs);
          keeper.grant({ group, epoch: one.epoch, sentAtMs, selfStopMs: 100 });
          if (one.epoch === highest) expect(keeper.remainingMs(group, highest)).toBeGreaterThanOrEqual(before);
          highest = one.epoch > highest ? one.epoch : highest;
          untilMs.set(one.epoch, Math.max(untilMs.get(one.epoch) ?? 0, sentAtMs + 100));
        }
        for (const epoch of [1n, 2n, 3n]) {
          const allowedMs = epoch === highest ? Math.max(0, untilMs.get(epoch)! - time.monotonicMs()) : 0;
          expect(keeper.remainingMs(group, epoch)).toBe(allowedMs);
        }
      }
    }),
    { numRuns: 50 },
  );
});
