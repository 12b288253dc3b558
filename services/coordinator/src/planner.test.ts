import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SiteStatus, SiteView } from './detector.ts';
import { type Generation, type Group, INTENT_KINDS, type IntentKind, type Member } from './model.ts';
import { type Plan, plan, type Situation } from './planner.ts';
import type { Intent } from './store/intents.ts';
import { PROFILES } from './timings.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const TIMINGS = PROFILES.default;
const RPO_MS = 300_000;
const RUN = { seed: 20_260_101, numRuns: 800 };

const view = (site: string, status: SiteStatus): SiteView => ({
  site,
  status,
  reason: '',
  address: `${site}:1`,
  instance: '',
  lastMs: 0,
  lastWallMs: NOW_MS - 12_000,
  failedRounds: 0,
  state: undefined,
});
const intent = (kind: IntentKind, rest: Partial<Intent> = {}): Intent => ({
  id: `${kind}-1`,
  kind,
  group: 'payments',
  site: '',
  state: { phase: 'due' },
  status: 'open',
  attempts: 0,
  nextAttemptMs: 0,
  errorCode: '',
  errorMessage: '',
  trace: {},
  createdMs: NOW_MS,
  updatedMs: NOW_MS,
  ...rest,
});
const generation = (rest: Partial<Generation> = {}): Generation => ({
  epoch: 1n,
  number: 4n,
  manifestDigest: 'd4',
  contentDigest: 'c4',
  objectCount: 2,
  domainKeyVersion: 1,
  uncaptured: [],
  recoveryPointMs: NOW_MS - 1_000,
  trace: { traceparent: '00-1' },
  ...rest,
});
const members = (roles: readonly Member['role'][]): Member[] =>
  roles.map((role, at) => ({ site: 'abcde'[at]!, serial: `serial-${at}`, role, divergent: 0 }));

interface Case {
  readonly group?: Partial<Group>;
  readonly roles?: readonly Member['role'][];
  readonly policy?: Group['spec']['failoverPolicy'];
  readonly statuses?: Readonly<Record<string, SiteStatus>>;
}

/** A group of three in which nothing is due, but for what the case says. */
function situation(one: Case = {}, rest: Partial<Situation> = {}): Situation {
  const { group = {}, roles = ['active', 'standby', 'standby'], policy = 'automatic', statuses = {} } = one;
  const seats = members(roles);
  return {
    group: {
      spec: {
        name: 'payments',
        members: seats,
        scratch: [],
        filter: { excludeIds: [], excludeLabels: [], excludeClasses: [] },
        rpoMs: RPO_MS,
        drillCron: '',
        failoverPolicy: policy,
      },
      members: seats,
      epoch: 1n,
      owner: 'a',
      highestEpoch: 1n,
      highestOwner: 'a',
      domainKeyVersion: 1,
      highestVersion: 1,
      recoveryTimeMs: undefined,
      ...group,
    },
    newest: generation(),
    acknowledged: ['b', 'c'].map((site) => ({ ...generation(), site })),
    lastFailover: undefined,
    failed: [],
    open: [],
    view: (site) => view(site, statuses[site] ?? 'up'),
    nowMs: NOW_MS,
    timings: TIMINGS,
    ...rest,
  };
}

const kinds = ({ create }: Plan): string[] => create.map(({ kind, site }) => (site === '' ? kind : `${kind} ${site}`));
const due = (one: Case, rest: Partial<Situation> = {}): string[] => kinds(plan(situation(one, rest)));

describe('what is due', () => {
  it('is nothing where everything is as it should be', () => {
    expect(plan(situation())).toEqual({ create: [], reopen: [] });
  });

  it('is an enrolment, and nothing else, before the first domain key', () => {
    expect(due({ group: { domainKeyVersion: 0 }, statuses: { a: 'down' } }, { newest: undefined })).toEqual([
      'enrolment',
    ]);
  });

  it.each([
    ['there is none', undefined, true],
    ['half the objective has passed', generation({ recoveryPointMs: NOW_MS - RPO_MS / 2 }), true],
    ['less has passed', generation({ recoveryPointMs: NOW_MS - RPO_MS / 2 + 1 }), false],
    ['it is of an earlier epoch', generation({ epoch: 0n }), true],
    ['it is sealed under an earlier domain key', generation({ domainKeyVersion: 0 }), true],
  ])('is a capture when %s', (_when, newest, isDue) => {
    const plans = due({}, { newest }).filter((one) => one.startsWith('capture'));
    expect(plans).toEqual(isDue ? ['capture a'] : []);
  });

  it('is the newest generation for every standby that is up and lacks it, in the trace of its capture', () => {
    const newest = generation({ number: 5n, contentDigest: 'c5' });
    const acknowledged = ['b', 'c', 'd'].map((site) => ({ ...(site === 'c' ? newest : generation()), site }));
    const { create } = plan(
      situation(
        { roles: ['active', 'standby', 'standby', 'standby', 'standby'], statuses: { d: 'suspect' } },
        { newest, acknowledged },
      ),
    );
    const state = { phase: 'due', epoch: 1n, number: 5n, contentDigest: 'c5' };
    expect(create).toEqual(
      ['b', 'e'].map((site) => ({ kind: 'replication', group: 'payments', site, state, trace: newest.trace })),
    );
  });

  it('is a rejoin for a fenced member that is up, unless an epoch is being issued to it', () => {
    const roles = ['fenced', 'active', 'standby'] as const;
    const group = { epoch: 2n, owner: 'b', highestEpoch: 2n, highestOwner: 'b' };
    const rest = { newest: generation({ epoch: 2n }), acknowledged: [{ ...generation({ epoch: 2n }), site: 'c' }] };
    expect(due({ roles, group }, rest)).toEqual(['rejoin a']);
    expect(due({ roles, group, statuses: { a: 'down' } }, rest)).toEqual([]);
    expect(due({ roles, group: { ...group, highestEpoch: 3n, highestOwner: 'a' } }, rest)).toEqual([]);
  });

  it('is another look at what waits for a person, after a while', () => {
    const parked = (id: string, ageMs: number) =>
      intent('enrolment', { id, status: 'parked', updatedMs: NOW_MS - ageMs });
    const { reopen } = plan(
      situation({}, { open: [parked('old', TIMINGS.parkedRetryMs), parked('new', TIMINGS.parkedRetryMs - 1)] }),
    );
    expect(reopen).toEqual(['old']);
  });
});

describe('an automatic failover', () => {
  const lost: Case = { statuses: { a: 'down' } };
  const failover = (rest: Partial<Intent> & { phase: string; reason: string }): Intent =>
    intent('failover', { status: 'done', ...rest, state: { phase: rest.phase, reason: rest.reason } as never });

  it('moves from the lost site, counts the outage from its last sign of life, and is due alone', () => {
    const { create } = plan(situation(lost));
    expect(create).toEqual([
      {
        kind: 'failover',
        group: 'payments',
        site: '',
        state: {
          phase: 'requested',
          from: 'a',
          wanted: '',
          acceptLoss: false,
          reason: 'automatic',
          outageStartedMs: NOW_MS - 12_000,
        },
        trace: {},
      },
    ]);
  });

  it.each([
    ['the policy is manual', { ...lost, policy: 'manual' }, {}],
    ['fewer than three sites vote', { ...lost, roles: ['active', 'standby'] }, {}],
    ['the active site is only suspect', { statuses: { a: 'suspect' } }, {}],
    ['the active site was never heard', { statuses: { a: 'unknown' } }, {}],
    ['only a standby is lost', { statuses: { b: 'down' } }, {}],
    ['one is under way', lost, { open: [intent('failover')] }],
    ['one waits for a person', lost, { open: [intent('failover', { status: 'parked' })] }],
  ] satisfies [string, Case, Partial<Situation>][])('is not due where %s', (_where, one, rest) => {
    expect(due(one, rest).filter((kind) => kind === 'failover')).toEqual([]);
  });

  it.each([
    ['automatic', 'complete', TIMINGS.automaticFailoverGapMs - 1, false],
    ['automatic', 'complete', TIMINGS.automaticFailoverGapMs, true],
    ['operator', 'complete', 1, true],
    ['automatic', 'aborted', TIMINGS.parkedRetryMs, true],
  ])('after one that was %s and %s %i ms ago: due %s', (reason, phase, ageMs, isDue) => {
    const lastFailover = failover({ reason, phase, createdMs: NOW_MS - ageMs });
    expect(due(lost, { lastFailover })).toEqual(isDue ? ['failover'] : []);
  });
});

describe('what has just failed', () => {
  it.each([
    ['EPOCH_STALE', 1_000],
    ['ROLE_REFUSED', 1_000],
    ['GENERATION_NOT_NEWER', 1_000],
    ['LEADERSHIP_LOST', 1_000],
    ['DIGEST_MISMATCH', TIMINGS.parkedRetryMs],
    ['FAILOVER_REFUSED', TIMINGS.parkedRetryMs],
  ])('with %s is left alone for %i ms', (errorCode, gapMs) => {
    const failed = (ageMs: number): Intent[] => [
      intent('capture', { site: 'a', status: 'failed', errorCode, updatedMs: NOW_MS - ageMs }),
    ];
    expect(due({}, { newest: undefined, failed: failed(gapMs - 1) })).toEqual([]);
    expect(due({}, { newest: undefined, failed: failed(gapMs) })).toEqual(['capture a']);
  });

  it('at one site does not hold up another', () => {
    const failed = [intent('replication', { site: 'b', status: 'failed', errorCode: 'DIGEST_MISMATCH' })];
    expect(due({}, { acknowledged: [], failed })).toEqual(['replication c']);
  });
});

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
  const situations = fc
    .record({
      roles: fc.array(fc.constantFrom('standby' as const, 'standby' as const, 'fenced' as const), { maxLength: 3 }),
      policy: fc.constantFrom('automatic' as const, 'manual' as const),
      statuses: fc.record(
        Object.fromEntries(
          sites.map((site) => [site, fc.constantFrom<SiteStatus[]>('up', 'up', 'down', 'suspect', 'unknown')]),
        ),
      ),
      epoch,
      isIssuing: fc.boolean(),
      highestOwner: fc.constantFrom(...sites),
      domainKeyVersion: fc.constantFrom(0, 1, 2),
      newest: fc.option(newest, { nil: undefined }),
      acknowledged: fc.subarray(sites),
      failover: fc.option(
        fc.record({
          phase: fc.constantFrom('complete', 'aborted'),
          reason: fc.constantFrom('automatic', 'operator'),
          ageMs: fc.constantFrom(0, TIMINGS.automaticFailoverGapMs - 1, TIMINGS.automaticFailoverGapMs),
        }),
        { nil: undefined },
      ),
      open: intents,
      failed: intents,
    })
    .map((one) => {
      const held = one.newest === undefined ? undefined : generation(one.newest);
      return situation(
        {
          roles: ['active', ...one.roles],
          policy: one.policy,
          statuses: one.statuses,
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
          lastFailover:
            one.failover &&
            intent('failover', { createdMs: NOW_MS - one.failover.ageMs, state: one.failover, status: 'done' }),
          open: one.open.map(({ kind, ...rest }) => intent(kind, rest)),
          failed: one.failed.map(({ kind, ...rest }) => intent(kind, { ...rest, status: 'failed' })),
        },
      );
    });
  const always = (work: (one: Situation, made: Plan) => void): void =>
    fc.assert(
      fc.property(situations, (one) => {
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

  it('never captures while a failover is open, planned, or has issued an epoch', () => {
    always(({ group, open }, { create }) => {
      fc.pre(create.some(({ kind }) => kind === 'capture'));
      expect([...open, ...create].some(({ kind }) => kind === 'failover')).toBe(false);
      expect(group.highestEpoch).toBe(group.epoch);
    });
  });

  it('fails over by itself only by policy, with three voters, from a site that is down, and not twice an hour', () => {
    always(({ group, lastFailover, view, nowMs }, { create }) => {
      fc.pre(create.some(({ kind }) => kind === 'failover'));
      expect(group.spec.failoverPolicy).toBe('automatic');
      expect(group.members.length).toBeGreaterThanOrEqual(3);
      expect(view(group.members[0]!.site)?.status).toBe('down');
      const state = lastFailover?.state as { phase: string; reason: string } | undefined;
      if (state?.phase === 'complete' && state.reason === 'automatic')
        expect(nowMs - lastFailover!.createdMs).toBeGreaterThanOrEqual(TIMINGS.automaticFailoverGapMs);
    });
  });

  it('orders nothing of a site that is not up, and of each only what its role allows', () => {
    const roles: Partial<Record<IntentKind, string>> = { capture: 'active', replication: 'standby', rejoin: 'fenced' };
    always(({ group, view }, { create }) => {
      for (const { kind, site } of create) {
        if (site === '') continue;
        expect(view(site)?.status).toBe('up');
        expect(group.members.find((member) => member.site === site)?.role).toBe(roles[kind]);
      }
    });
  });

  it('plans everything there is to plan', () => {
    const seen = new Set(fc.sample(situations, RUN).flatMap((one) => plan(one).create.map(({ kind }) => kind)));
    expect([...seen].sort()).toEqual(['capture', 'enrolment', 'failover', 'rejoin', 'replication']);
  });
});
