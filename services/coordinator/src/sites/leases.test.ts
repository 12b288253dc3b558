import { VOUCH_MS, VOUCH_STOP_MS } from '@antipode/protocol';
import { FakeClock } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PROFILES } from '../timings.ts';
import { LeaseBook, RATE_BOUND, surelyOver } from './leases.ts';

const LEASE_MS = 20_000;
const make = () => {
  const clock = new FakeClock();
  return { clock, leases: new LeaseBook({ clock, leaseMs: LEASE_MS }) };
};

it('waits longer than a whole lease after a grant, so that a slow clock of its holder does no harm', async () => {
  const { clock, leases } = make();
  await clock.advance(60_000);
  leases.granted('payments');
  expect(leases.remainingMs('payments')).toBeGreaterThan(LEASE_MS * 1.009);
  expect(leases.remainingMs('payments')).toBeLessThan(LEASE_MS * 1.05);
});

it('waits longer by as much as the slowest known clock lags behind', async () => {
  const clock = new FakeClock();
  let slowestClock = 1;
  const leases = new LeaseBook({ clock, leaseMs: LEASE_MS, slowestClock: () => slowestClock });
  await clock.advance(60_000);
  leases.granted('payments');
  const ordinaryMs = leases.remainingMs('payments');
  slowestClock = 0.5;
  expect(leases.remainingMs('payments')).toBe(ordinaryMs * 2);
});

it('takes every lease as granted when it started', async () => {
  const { clock, leases } = make();
  await clock.advance(LEASE_MS);
  expect(leases.remainingMs('payments')).toBeGreaterThan(0);
  await clock.advance(LEASE_MS * 0.02);
  expect(leases.remainingMs('payments')).toBe(0);
});

it('waits a full lease again when it becomes the leader, whatever it granted or saw end before', async () => {
  const { clock, leases } = make();
  await clock.advance(60_000);
  leases.granted('payments');
  leases.ended('cards');
  await clock.advance(60_000);
  leases.becameLeader({ earlierLeaseMs: 0 });
  for (const group of ['payments', 'cards', 'unknown']) expect(leases.remainingMs(group)).toBeGreaterThan(LEASE_MS);
});

it('waits for the last word of other sites, from when they have persisted the next epoch', async () => {
  const { clock, leases } = make();
  await clock.advance(60_000);
  expect(leases.remainingMs('payments')).toBe(0);
  leases.vouchingEnded('payments', 0);
  expect(leases.remainingMs('payments')).toBe(surelyOver(VOUCH_MS));
  // They gave it some time before, by clocks that may be too fast.
  leases.vouchingEnded('payments', 2_500);
  expect(leases.remainingMs('payments')).toBe(surelyOver(VOUCH_MS) - 2_500 / RATE_BOUND);
  leases.vouchingEnded('payments', 3_600_000);
  expect(leases.remainingMs('payments')).toBe(0);
  leases.vouchingEnded('payments', 0);
  leases.ended('payments');
  expect(leases.remainingMs('payments')).toBe(0);
});

it('has the holder stop before that, also by a slow clock, and is covered by what a new leader waits', () => {
  expect(VOUCH_STOP_MS * RATE_BOUND).toBeLessThan(surelyOver(VOUCH_MS));
  for (const { leaseMs } of Object.values(PROFILES)) expect(VOUCH_MS).toBeLessThanOrEqual(leaseMs);
});

it('need not wait for a holder that has stopped, until it grants again', () => {
  const { leases } = make();
  leases.ended('payments');
  expect(leases.remainingMs('payments')).toBe(0);
  expect(leases.remainingMs('cards')).toBeGreaterThan(0);
  leases.granted('payments');
  expect(leases.remainingMs('payments')).toBeGreaterThan(LEASE_MS);
});

it('waits out the longest lease that was granted before, whatever it grants itself', async () => {
  const { clock, leases } = make();
  leases.becameLeader({ earlierLeaseMs: LEASE_MS * 2 });
  await clock.advance(LEASE_MS);
  // The holder keeps the longer one, although this one ends earlier.
  leases.granted('payments');
  await clock.advance(LEASE_MS);
  for (const group of ['payments', 'cards']) expect(leases.remainingMs(group)).toBeGreaterThan(0);
  expect(leases.longestMs()).toBe(LEASE_MS * 2);
  await clock.advance(LEASE_MS * 0.05);
  for (const group of ['payments', 'cards']) expect(leases.remainingMs(group)).toBe(0);
  expect(leases.longestMs()).toBe(LEASE_MS);
});

it('need not wait out an earlier lease whose holder has stopped, nor one shorter than its own', () => {
  const { leases } = make();
  leases.becameLeader({ earlierLeaseMs: LEASE_MS * 2 });
  leases.ended('payments');
  expect(leases.remainingMs('payments')).toBe(0);
  leases.granted('payments');
  expect(leases.remainingMs('payments')).toBeLessThan(LEASE_MS * 1.05);
  leases.becameLeader({ earlierLeaseMs: 1_000 });
  expect(leases.remainingMs('payments')).toBeGreaterThan(LEASE_MS);
  expect(leases.longestMs()).toBe(LEASE_MS);
});

it.each(Object.entries(PROFILES))(
  'promotes nobody while the active member may still act, whenever it is asked (%s)',
  async (_name, { leaseMs, selfStopMs }) => {
    /** Milliseconds between what happens, as any order of grants and losses of leadership. */
    const story = fc.array(fc.record({ afterMs: fc.nat(leaseMs), isGrant: fc.boolean() }), {
      minLength: 1,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(story, fc.nat(leaseMs * 2), async (events, laterMs) => {
        const clock = new FakeClock();
        const leases = new LeaseBook({ clock, leaseMs });
        let grantedMs = 0;
        for (const { afterMs, isGrant } of events) {
          await clock.advance(afterMs);
          grantedMs = clock.monotonicMs();
          if (isGrant) leases.granted('payments');
          else leases.becameLeader({ earlierLeaseMs: leaseMs });
        }
        await clock.advance(laterMs);
        // The holder counts from before the grant, by a clock that may be 1 % slow.
        const mayActUntilMs = grantedMs + selfStopMs * 1.01;
        if (clock.monotonicMs() <= mayActUntilMs) expect(leases.remainingMs('payments')).toBeGreaterThan(0);
        if (clock.monotonicMs() >= grantedMs + leaseMs * 1.1) expect(leases.remainingMs('payments')).toBe(0);
      }),
      { numRuns: 50 },
    );
  },
);

it('promotes nobody while a holder may act by the length of its own grant, over any change of profile', async () => {
  const profile = fc.constantFrom(...Object.values(PROFILES));
  const events = fc.array(fc.record({ profile, afterMs: fc.nat(40_000), isGrant: fc.boolean() }), {
    minLength: 1,
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(events, fc.nat(50_000), async (story, laterMs) => {
      const clock = new FakeClock();
      /** As the database has it. */
      let longestMs = 0;
      let mayActUntilMs = 0;
      let leases = new LeaseBook({ clock, leaseMs: PROFILES.fast.leaseMs });
      for (const { profile: timings, afterMs, isGrant } of story) {
        await clock.advance(afterMs);
        longestMs = Math.min(longestMs, leases.longestMs());
        // A leader of that profile.
        leases = new LeaseBook({ clock, leaseMs: timings.leaseMs });
        longestMs = Math.max(longestMs, timings.leaseMs);
        leases.becameLeader({ earlierLeaseMs: longestMs });
        if (!isGrant) continue;
        leases.granted('payments');
        mayActUntilMs = Math.max(mayActUntilMs, clock.monotonicMs() + timings.selfStopMs * 1.01);
      }
      await clock.advance(laterMs);
      if (clock.monotonicMs() <= mayActUntilMs) expect(leases.remainingMs('payments')).toBeGreaterThan(0);
    }),
    { numRuns: 200 },
  );
});
