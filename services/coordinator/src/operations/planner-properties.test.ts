import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SiteStatus } from '../sites/detector.ts';
import { generation, intent, NOW_MS, RPO_MS, type SeatSaid, situation, TIMINGS } from '../testing/situation.ts';
import { INTENT_KINDS, type IntentKind } from './kinds.ts';
import { type Plan, plan, type Situation } from './planner.ts';

const RUN = { numRuns: 800 };

describe('in whatever situation', () => {
  const sites = ['a', 'b', 'c', 'd'];
  const epoch = fc.bigInt({ min: 1n, max: 2n });
  const recoveryPointMs = fc.constantFrom(NOW_MS, NOW_MS - RPO_MS);
  const newest = fc.record({ epoch, number: epoch, domainKeyVersion: fc.constantFrom(1, 2), recoveryPointMs });
  const intents = fc.array(
    fc.record({
      kind: fc.constantFrom(...INTENT_KINDS),
      site: fc.constantFrom('', ...sites),
      status: fc.constantFrom('open' as const, 'parked' as const),
      updatedMs: fc.constantFrom(NOW_MS, NOW_MS - TIMINGS.parkedRetryMs),
      errorCode: fc.constantFrom('EPOCH_STALE', 'HSM_FULL'),
    }),
    { maxLength: 4 },
  );
  /** Each part of a situation, for itself. */
  const parts = {
    roles: fc.array(fc.constantFrom('standby' as const, 'standby' as const, 'fenced' as const), { maxLength: 3 }),
    policy: fc.constantFrom('automatic' as const, 'manual' as const),
    statuses: fc.record(
      Object.fromEntries(
        sites.map((site) => [site, fc.constantFrom<SiteStatus[]>('up', 'up', 'down', 'suspect', 'unknown')]),
      ),
    ),
    seats: fc.record(
      Object.fromEntries(
        sites.map((site) => [
          site,
          fc.constantFrom<(SeatSaid | undefined)[]>('standby', 'standby', 'none', 'active', undefined),
        ]),
      ),
    ),
    epoch,
    isIssuing: fc.constantFrom(false, false, true),
    highestOwner: fc.constantFrom(...sites),
    domainKeyVersion: fc.constantFrom(0, 1, 2),
    newest: fc.option(newest, { nil: undefined }),
    acknowledged: fc.subarray(sites),
    failovers: fc.array(
      fc.record({
        reason: fc.constantFrom('automatic', 'operator'),
        ageMs: fc.constantFrom(0, TIMINGS.automaticFailoverGapMs - 1, TIMINGS.automaticFailoverGapMs),
      }),
      { maxLength: 2 },
    ),
    open: intents,
    failed: intents,
  };
  const situationsOf = (changed: Partial<typeof parts> = {}) =>
    fc.record({ ...parts, ...changed }).map((one) => {
      const held = one.newest === undefined ? undefined : generation(one.newest);
      return situation(
        {
          roles: ['active', ...one.roles],
          policy: one.policy,
          statuses: one.statuses,
          seats: one.seats,
          group: {
            epoch: one.epoch,
            highestEpoch: one.epoch + (one.isIssuing ? 1n : 0n),
            highestOwner: one.highestOwner,
            domainKeyVersion: one.domainKeyVersion,
          },
        },
        {
          newest: held,
          acknowledged: held === undefined ? [] : one.acknowledged.map((site) => ({ ...held, site })),
          recent: one.failovers.map(({ reason, ageMs }) =>
            intent('failover', {
              createdMs: NOW_MS - ageMs,
              state: { phase: 'complete', reason } as { phase: string },
              status: 'done',
            }),
          ),
          open: one.open.map(({ kind, ...rest }) => intent(kind, rest)),
          failed: one.failed.map(({ kind, ...rest }) => intent(kind, { ...rest, status: 'failed' })),
        },
      );
    });
  const situations = situationsOf();
  /** Among all situations, one in a hundred has a failover. A property of them makes what it needs more likely. */
  const often = <T>(needed: T, all: fc.Arbitrary<T>) =>
    fc.oneof({ weight: 3, arbitrary: fc.constant(needed) }, { weight: 1, arbitrary: all });
  const always = (work: (one: Situation, made: Plan) => void, among = situations): void =>
    fc.assert(
      fc.property(among, (one) => {
        work(one, plan(one));
      }),
      RUN,
    );

  it('never plans what is open already, nor anything twice', () => {
    always(({ open }, { create }) => {
      const all = [...open, ...create].map(({ kind, site }) => `${kind} ${site}`);
      for (const planned of create)
        expect(all.filter((one) => one === `${planned.kind} ${planned.site}`)).toHaveLength(1);
    });
  });

  it('plans nothing more once what it planned is open', () => {
    always((one, { create }) => {
      const open = [...one.open, ...create.map(({ kind, site, state }) => intent(kind, { site, state }))];
      const more = plan({ ...one, open }).create;
      expect(more).toEqual([]);
    });
  });

  it('replicates only what was captured under the epoch in force, and nothing while another is being issued', () => {
    const busy = situationsOf({
      statuses: often({ a: 'up', b: 'up', c: 'up', d: 'up' }, parts.statuses),
      open: often([], parts.open),
      failed: often([], parts.failed),
    });
    always(({ group, newest }, { create }) => {
      fc.pre(create.some(({ kind }) => kind === 'replication'));
      expect([group.highestEpoch, newest?.epoch]).toEqual([group.epoch, group.epoch]);
    }, busy);
  });

  it('never captures while a failover is open, planned, or has issued an epoch', () => {
    always(({ group, open }, { create }) => {
      fc.pre(create.some(({ kind }) => kind === 'capture'));
      expect([...open, ...create].some(({ kind }) => kind === 'failover')).toBe(false);
      expect(group.highestEpoch).toBe(group.epoch);
    });
  });

  it('fails over by itself only by policy, with three voters, from a site that is down, and not twice an hour', () => {
    const losses = situationsOf({
      roles: often(['standby', 'standby'], parts.roles),
      policy: often('automatic', parts.policy),
      statuses: often({ a: 'down', b: 'up', c: 'up', d: 'up' }, parts.statuses),
      isIssuing: fc.constant(false),
      open: often([], parts.open),
      failed: often([], parts.failed),
    });
    always(({ group, recent, view, nowMs }, { create }) => {
      fc.pre(create.some(({ kind }) => kind === 'failover') && group.highestEpoch === group.epoch);
      expect(group.spec.failoverPolicy).toBe('automatic');
      expect(group.members.length).toBeGreaterThanOrEqual(3);
      expect(view(group.members[0]!.site)?.status).toBe('down');
      for (const { state, createdMs } of recent)
        if ((state as { phase: string; reason?: string }).reason === 'automatic')
          expect(nowMs - createdMs).toBeGreaterThanOrEqual(TIMINGS.automaticFailoverGapMs);
    }, losses);
  });

  it('leaves no epoch out of force: a failover or a reseat goes on, or has just failed', () => {
    always(({ group, open, failed }, { create }) => {
      fc.pre(group.highestEpoch !== group.epoch && group.domainKeyVersion > 0);
      const isReseated = open.some(({ kind, status }) => kind === 'reseat' && status === 'open');
      expect([...open, ...create, ...failed].some(({ kind }) => kind === 'failover') || isReseated).toBe(true);
    });
  });

  it('orders nothing of a site that is not up, and of each only what its role allows', () => {
    const roles: Partial<Record<IntentKind, readonly string[]>> = {
      capture: ['active'],
      replication: ['standby'],
      rejoin: ['fenced', 'standby'],
    };
    always(({ group, view }, { create }) => {
      for (const { kind, site } of create) {
        if (site === '') continue;
        expect(view(site)?.status).toBe('up');
        expect(roles[kind]).toContain(group.members.find((member) => member.site === site)?.role);
      }
    });
  });

  it('plans everything there is to plan', () => {
    const seen = new Set(fc.sample(situations, RUN).flatMap((one) => plan(one).create.map(({ kind }) => kind)));
    expect([...seen].sort()).toEqual(['capture', 'domain-key', 'failover', 'rejoin', 'replication']);
  });
});
