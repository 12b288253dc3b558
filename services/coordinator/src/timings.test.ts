/** The arithmetic that keeps two members from acting as active at once, and failover within its promised time. */
import { linkLimits } from '@antipode/protocol';
import { describe, expect, it } from 'vitest';
import { RATE_BOUND, surelyOver } from './sites/leases.ts';
import { PROFILES } from './timings.ts';

/** Clocks of two machines drift apart by less. */
const DRIFT = 1.01;
const PROMISED_MS = { default: 30_000, wan: 60_000, fast: 10_000 };

describe.each(Object.entries(PROFILES))('the profile %s', (name, timings) => {
  const { heartbeatMs, suspectMs, probeTimeoutMs, probeRounds, leaseMs, selfStopMs, planMs, leaderMs } = timings;

  it('has the active member stop before anybody else may be promoted, also by a slow clock', () => {
    expect(selfStopMs * DRIFT).toBeLessThan(leaseMs);
    expect(selfStopMs * RATE_BOUND).toBeLessThan(surelyOver(leaseMs));
  });

  it('survives the loss of several heartbeats, both as a sign of life and as a renewal of the lease', () => {
    expect(heartbeatMs * 4).toBeLessThanOrEqual(suspectMs);
    expect(heartbeatMs * 10).toBeLessThanOrEqual(selfStopMs);
  });

  it('has another coordinator lead before the active member would stop for want of one', () => {
    const untilNextLeaderMs = leaderMs * 1.1 + leaderMs / 4;
    expect(untilNextLeaderMs + heartbeatMs).toBeLessThan(selfStopMs);
  });

  it('calls a site down before the lease of its member has run out, so that the lease is all that is waited for', () => {
    // A probe through another site is answered within twice its limit.
    const untilDownMs = suspectMs + heartbeatMs + probeRounds * (probeTimeoutMs * 2 + heartbeatMs);
    expect(untilDownMs).toBeLessThan(leaseMs * DRIFT);
  });

  it('leaves a third of the promised time for the promotion itself', () => {
    const untilPromotionMs = heartbeatMs + leaseMs * DRIFT + planMs * 2;
    expect(untilPromotionMs).toBeLessThan((PROMISED_MS[name as keyof typeof PROMISED_MS] * 4) / 5);
  });

  it('doubts itself before it doubts a site', () => {
    expect(timings.loopDelayMsMax).toBeLessThan(suspectMs);
    expect(probeRounds).toBeGreaterThanOrEqual(2);
  });
});

it.each([PROFILES.default, PROFILES.wan])('waits for an answer longer than the longest link takes', (timings) => {
  const { roundTripMsMax, probeTimeoutMs, suspectMs, heartbeatMs, selfStopMs } = timings;
  const { keepalive, answerMs, connectMs } = linkLimits(roundTripMsMax);
  // A connection is made in three round trips, and the call is the fourth.
  expect(connectMs).toBeGreaterThan(roundTripMsMax * 4);
  expect(Math.min(keepalive.timeoutMs, answerMs, probeTimeoutMs)).toBeGreaterThan(roundTripMsMax);
  // Through another site: once there, and once further on.
  expect(probeTimeoutMs * 2).toBeGreaterThanOrEqual(roundTripMsMax + probeTimeoutMs);
  // Heartbeats follow each other: a site on the longest link is not suspect, and its lease does not lapse.
  expect(heartbeatMs + roundTripMsMax).toBeLessThan(suspectMs);
  expect(heartbeatMs + roundTripMsMax * 2).toBeLessThan(selfStopMs / 2);
});

it('reaches over a round trip of 3 s in a wide network', () => {
  expect(PROFILES.wan.roundTripMsMax).toBe(3_000);
});

it('gives a wide network at least the time of a near one in everything', () => {
  for (const [name, value] of Object.entries(PROFILES.default))
    expect(PROFILES.wan[name as keyof typeof PROFILES.wan]).toBeGreaterThanOrEqual(value);
  for (const name of ['heartbeatMs', 'suspectMs', 'probeTimeoutMs', 'leaseMs', 'selfStopMs'] as const)
    expect(PROFILES.wan[name]).toBe(PROFILES.default[name] * 2);
});

it('has at most one automatic failover an hour, however fast the profile', () => {
  for (const { automaticFailoverGapMs } of Object.values(PROFILES)) expect(automaticFailoverGapMs).toBe(3_600_000);
});
