import { isNewer } from '@antipode/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decideFailover, type FailoverEvent, type FailoverState } from './machine.ts';
import { type Candidate, type Held, mayLose, type PlanRequest, planFailover, type Survey } from './plan.ts';

const REQUEST = {
  from: 'a',
  wanted: '',
  acceptLoss: false,
  accepted: [],
  reason: 'operator',
  outageStartedMs: 5,
  excluded: [],
  overtaken: 0,
} as const;
const RUN = { numRuns: 1_000 };

const standby = (site: string, number: bigint | undefined, epoch = 1n): Candidate => ({
  site,
  serial: `serial-${site}`,
  role: 'standby',
  epoch,
  applied: number === undefined ? undefined : { epoch, number, manifestDigest: `m${number}` },
  problem: '',
});
const generation = (number: bigint, isAcknowledged = false): Survey['known'][number] => ({
  epoch: 1n,
  number,
  manifestDigest: `m${number}`,
  isAcknowledged,
});
const held = (number: bigint): Held => ({ epoch: 1n, number, manifestDigest: `m${number}` });
/** The epoch is issued, and nothing has come in between. */
const issued = (isOldActiveFenced: boolean, rest: Partial<Extract<FailoverEvent, { type: 'issued' }>> = {}) =>
  ({
    type: 'issued',
    isOldActiveFenced,
    issuedMs: 99,
    generation: held(5n),
    lost: [],
    handover: undefined,
    ...rest,
  }) as const;
const survey = (reachable: readonly Candidate[], rest: Partial<Survey> = {}): Survey => ({
  active: 'a',
  reachable,
  voters: 3,
  highestEpoch: 1n,
  known: [],
  ...rest,
});

describe('the vote of a witness', () => {
  const witness = { site: 'w', epoch: 1n };
  const LOST = { ...REQUEST, reason: 'automatic' } as const;
  const ofTwo = (rest: Partial<Survey> = {}) => planFailover(LOST, survey([standby('b', 5n)], rest));

  it('makes a majority with the member that is left, and the witness is never promoted', () => {
    expect(ofTwo({ witnesses: [witness] }).choice).toMatchObject({ to: 'b', quorum: 2, epoch: 2n });
    expect(planFailover(LOST, survey([], { witnesses: [witness, { site: 'v', epoch: 1n }] })).obstacle).toMatch(
      /no standby can be promoted/,
    );
  });

  it('is missed where the witness does not answer, or claims an epoch beyond belief', () => {
    expect(ofTwo().obstacle).toMatch(/only 1 of 3 voting sites/);
    expect(ofTwo({ witnesses: [{ site: 'w', epoch: 1_002n }] }).obstacle).toMatch(/only 1 of 3 voting sites/);
  });

  it('puts the next epoch above what the witness has persisted', () => {
    expect(ofTwo({ witnesses: [{ site: 'w', epoch: 7n }] }).choice?.epoch).toBe(8n);
  });
});

describe('a target whose token refuses objects', () => {
  const found = (refused: number) => survey([{ ...standby('b', 5n), refused }, standby('w', 5n)]);
  const plan = (refused: number, change: Partial<PlanRequest> = {}) =>
    planFailover({ ...REQUEST, wanted: 'b', ...change }, found(refused));

  it('is promoted by a person only who was shown how many', () => {
    expect(plan(0).choice?.to).toBe('b');
    expect(plan(2).obstacle).toBe(
      'the token of site b refuses 2 objects of the group, which would not be served there',
    );
    expect(plan(2, { acceptedRefused: 1 }).obstacle).toMatch(/refuses 2 objects/);
    expect(plan(2, { acceptedRefused: 2 }).choice?.to).toBe('b');
    expect(plan(2, { accepted: 'all' }).choice?.to).toBe('b');
  });

  it('is promoted by the automation, and once an epoch is issued: most keys are better than none', () => {
    expect(plan(2, { reason: 'automatic', wanted: '' }).choice).toMatchObject({ to: 'w' });
    expect(plan(2, { excluded: [{ site: 'w', code: 'OBJECT_UNPROVEN' }] }).choice?.to).toBe('b');
    const only = survey([{ ...standby('b', 5n), refused: 2 }], { voters: 1 });
    expect(planFailover({ ...REQUEST, reason: 'automatic' }, only).choice?.to).toBe('b');
  });

  it('first tries them again where the active member answers', () => {
    const active: Candidate = { ...standby('a', 5n), role: 'active' };
    const both = survey([active, { ...standby('b', 5n), refused: 2 }]);
    expect(planFailover({ ...REQUEST, wanted: 'b' }, both).choice?.canCatchUp).toBe(true);
  });
});

describe('the plan of a failover', () => {
  const small = fc.bigInt({ min: 1n, max: 4n });
  const generationOf = { epoch: small, number: small, manifestDigest: fc.constant('dd') };
  const candidate = fc.record({
    site: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    serial: fc.constant('s'),
    role: fc.constantFrom('active' as const, 'standby' as const, 'standby' as const, 'fenced' as const),
    epoch: fc.bigInt({ min: 0n, max: 9n }),
    applied: fc.option(fc.record(generationOf), { nil: undefined, freq: 4 }),
    problem: fc.constantFrom('', '', '', 'PIN_REFUSED'),
  });
  const surveys: fc.Arbitrary<Survey> = fc.record({
    reachable: fc.uniqueArray(candidate, { selector: ({ site }) => site, maxLength: 5 }),
    voters: fc.integer({ min: 1, max: 5 }),
    highestEpoch: fc.bigInt({ min: 0n, max: 9n }),
    active: fc.constant('a'),
    known: fc.array(fc.record({ ...generationOf, isAcknowledged: fc.boolean() }), { maxLength: 4 }),
  });
  const requests = fc.record({
    from: fc.constantFrom('a', 'b', ''),
    wanted: fc.constantFrom('', '', 'a', 'c'),
    acceptLoss: fc.boolean(),
    accepted: fc.oneof(fc.constant('all' as const), fc.array(fc.record(generationOf), { maxLength: 4 })),
    reason: fc.constantFrom('automatic' as const, 'operator' as const),
    excluded: fc.constantFrom([], [], [{ site: 'c', code: 'OBJECT_UNPROVEN' }]),
  });
  type Request = PlanRequest;
  /**
   * Whether a member can be promoted: its partition is usable, it was not left aside before, and the request allows it.
   */
  const isUsable = ({ wanted, excluded }: Request, { site, problem }: Candidate): boolean =>
    problem === '' && !excluded.some((one) => one.site === site) && (wanted === '' || wanted === site);
  const usableStandbys = (request: Request, found: Survey): Candidate[] =>
    found.reachable.filter((one) => one.role === 'standby' && one.site !== request.from && isUsable(request, one));
  const isOldServing = ({ from }: Request, found: Survey): boolean =>
    found.reachable.some(
      ({ site, role, problem, epoch }) =>
        site === from && role === 'active' && problem === '' && epoch >= found.highestEpoch,
    );
  const forbidden = (request: Request, found: Survey, { applied }: Candidate): Held[] =>
    found.known.filter((one) => isNewer(one, applied) && !mayLose(request, one));
  const plans = fc
    .tuple(requests, surveys)
    .map(([request, found]) => ({ request, found, plan: planFailover(request, found) }));
  const chosen = plans.filter(({ plan }) => plan.choice !== undefined);
  const ofChoice = (
    work: (
      one: { request: Parameters<typeof planFailover>[0]; found: Survey },
      choice: NonNullable<ReturnType<typeof planFailover>['choice']>,
    ) => void,
  ): void =>
    fc.assert(
      fc.property(chosen, ({ request, found, plan }) => {
        work({ request, found }, plan.choice!);
      }),
      RUN,
    );

  it('names nobody without a majority of the voters, two sites and an accepted loss apart', () => {
    ofChoice(({ request, found }, { quorum }) => {
      const isTwoSites = found.voters === 2 && request.reason === 'operator' && request.acceptLoss;
      expect(quorum * 2).toBeGreaterThan(isTwoSites ? 1 : found.voters);
      expect(found.reachable.length).toBeGreaterThanOrEqual(quorum);
    });
  });

  it('names only a member that can serve, and the one that is to be left only when no standby can', () => {
    ofChoice(({ request, found }, { to }) => {
      const target = found.reachable.find(({ site }) => site === to)!;
      expect(isUsable(request, target)).toBe(true);
      if (to !== request.from) expect(target.role).toBe('standby');
      else {
        expect(target.role).not.toBe('active');
        // Or each of them would lose what must not be lost.
        for (const one of usableStandbys(request, found)) expect(forbidden(request, found, one)).not.toEqual([]);
      }
    });
  });

  it('never names a candidate that is behind another standby that can serve', () => {
    ofChoice(({ request, found }, { to, generation: held }) => {
      fc.pre(to !== request.from);
      for (const { applied } of usableStandbys(request, found)) expect(isNewer(applied, held)).toBe(false);
    });
  });

  it('leaves an active member that answers only by order, and then lets the target catch up first', () => {
    ofChoice(({ request, found }, { canCatchUp, to }) => {
      expect(canCatchUp).toBe(isOldServing(request, found) && to !== request.from);
      if (canCatchUp) expect(request.reason).toBe('operator');
    });
  });

  it('takes an epoch above every epoch that was seen', () => {
    ofChoice(({ found }, { epoch }) => {
      for (const seen of [found.highestEpoch, ...found.reachable.map((one) => one.epoch)])
        expect(epoch > seen).toBe(true);
    });
  });

  it('promotes what the target has applied, and tells of every generation that it lacks', () => {
    ofChoice(({ found }, { to, serial, generation: held, lost, canCatchUp, fetch }) => {
      const target = found.reachable.find(({ site }) => site === to);
      expect({ serial, held }).toEqual({ serial: target?.serial, held: target?.applied });
      const ahead = found.known.filter((one) => isNewer(one, fetch?.newest ?? held));
      expect(lost).toEqual(canCatchUp ? [] : ahead.map(({ isAcknowledged, ...one }) => one));
    });
  });

  it('loses nothing that nobody has accepted to lose, and by itself nothing that was acknowledged', () => {
    ofChoice(({ request, found }, { lost, generation, canCatchUp, fetch }) => {
      if (request.accepted === 'all' || canCatchUp) return;
      const held = fetch?.newest ?? generation;
      if (request.reason === 'operator') for (const one of lost) expect(request.accepted).toContainEqual(one);
      else {
        expect(held).toBeDefined();
        expect(found.known.filter((one) => one.isAcknowledged && isNewer(one, held))).toEqual([]);
      }
    });
  });

  it('lets the target fetch what must not be lost, from somebody who answers and holds it, and only then', () => {
    ofChoice(({ request, found }, { to, canCatchUp, fetch }) => {
      const target = found.reachable.find(({ site }) => site === to)!;
      const isNeeded = !canCatchUp && forbidden(request, found, target).length > 0;
      expect(fetch !== undefined).toBe(isNeeded);
      for (const site of fetch?.holders ?? []) {
        expect(site).not.toBe(to);
        expect(isNewer(fetch!.newest, found.reachable.find((one) => one.site === site)?.applied)).toBe(false);
      }
    });
  });

  it('takes a generation out of the store of a member that cannot serve, and does not take the site itself', () => {
    const broken = { ...standby('b', 5n), problem: 'HSM_UNAVAILABLE' };
    const found = survey([broken, standby('c', 4n)], { known: [generation(5n, true), generation(6n)] });
    const automatic = { ...REQUEST, reason: 'automatic' as const };
    expect(planFailover(automatic, found).choice).toMatchObject({
      to: 'c',
      fetch: { newest: held(5n), holders: ['b'] },
      lost: [held(6n)],
    });
    const quarantined = { ...broken, problem: 'SITE_QUARANTINED' };
    for (const other of [quarantined, standby('d', 4n)]) {
      const reachable = [standby('c', 4n), other];
      expect(planFailover(automatic, { ...found, reachable, witnesses: [{ site: 'w', epoch: 1n }] })).toMatchObject({
        losing: { to: 'c', holds: held(4n), generations: [held(5n)] },
      });
    }
  });

  it('counts no vote of a member in quarantine, and says what gives it back', () => {
    const quarantined = { ...standby('c', 5n), problem: 'SITE_QUARANTINED' };
    const found = survey([standby('b', 5n), quarantined]);
    const { obstacle } = planFailover({ ...REQUEST, reason: 'automatic' }, found);
    expect(obstacle).toContain('only 1 of 3 voting sites');
    expect(obstacle).toContain(
      'site c is in quarantine and has no vote until it is reseated (`antipode group reseat`)',
    );
    expect(
      planFailover({ ...REQUEST, reason: 'automatic' }, survey([standby('b', 5n), standby('c', 5n)])).choice,
    ).toBeDefined();
  });

  it('takes the former active member, which has everything, before a standby that would lose what is acknowledged', () => {
    const former = { ...standby('a', 5n), role: 'fenced' as const };
    const found = survey([standby('c', 4n), former], { known: [generation(5n, true)], highestEpoch: 2n });
    expect(planFailover({ ...REQUEST, reason: 'automatic' }, found).choice).toMatchObject({ to: 'a', lost: [] });
    expect(planFailover({ ...REQUEST, accepted: 'all' }, found).choice).toMatchObject({ to: 'c' });
  });

  it('finds somebody whenever a standby can serve, a majority answers and the loss is accepted', () => {
    fc.assert(
      fc.property(plans, ({ request, found, plan }) => {
        fc.pre(found.reachable.length * 2 > found.voters && request.reason === 'operator');
        fc.pre(request.accepted === 'all');
        fc.pre(usableStandbys(request, found).length > 0);
        expect(plan.obstacle).toBeUndefined();
      }),
      RUN,
    );
  });

  it('does not believe an epoch that no honest agent would follow', () => {
    const liar = { ...standby('c', 9n), epoch: 1_000_000n };
    expect(planFailover(REQUEST, survey([standby('b', 4n), liar])).obstacle).toContain('majority');
    const { choice } = planFailover(REQUEST, survey([standby('b', 4n), liar, { ...standby('a', 4n), role: 'fenced' }]));
    expect(choice).toMatchObject({ to: 'b', epoch: 2n });
  });

  it('lets one of two sites go on only by order and with the loss accepted', () => {
    const two = survey([standby('b', 4n)], { voters: 2 });
    expect(planFailover(REQUEST, two).obstacle).toContain('--accept-loss');
    expect(planFailover({ ...REQUEST, reason: 'automatic', acceptLoss: true }, two).obstacle).toBeDefined();
    expect(planFailover({ ...REQUEST, acceptLoss: true }, two).choice).toMatchObject({ to: 'b', quorum: 1 });
  });

  it('prefers the first of the group among equals', () => {
    const { choice } = planFailover(REQUEST, survey([standby('b', 4n), standby('c', 4n)]));
    expect(choice?.to).toBe('b');
  });

  it('prefers among equals who can capture at once, and what a standby holds before that', () => {
    const lacking = { ...standby('b', 4n), lacksKey: true };
    expect(planFailover(REQUEST, survey([lacking, standby('c', 4n)])).choice?.to).toBe('c');
    expect(planFailover(REQUEST, survey([standby('c', 4n), lacking])).choice?.to).toBe('c');
    expect(planFailover(REQUEST, survey([{ ...lacking, applied: held(5n) }, standby('c', 4n)])).choice?.to).toBe('b');
    expect(planFailover(REQUEST, survey([lacking, { ...standby('c', 3n) }])).choice?.to).toBe('b');
  });

  it('prefers among equals the one whose token has refused fewer objects', () => {
    const partial = { ...standby('b', 4n), refused: 2 };
    const lacking = { ...standby('c', 4n), lacksKey: true };
    expect(planFailover(REQUEST, survey([partial, lacking])).choice?.to).toBe('c');
    expect(
      planFailover({ ...REQUEST, acceptedRefused: 2 }, survey([{ ...partial, applied: held(5n) }, lacking])).choice?.to,
    ).toBe('b');
  });

  it('goes by what a standby holds, then by what the group prefers, then by what else is active at its site', () => {
    const [b, c, d] = [standby('b', 4n), { ...standby('c', 4n), load: 2 }, { ...standby('d', 4n), load: 1 }];
    const of = (reachable: readonly Candidate[], prefer: readonly string[] = []) => {
      const { choice } = planFailover(REQUEST, survey(reachable, { prefer, voters: reachable.length }));
      return [choice?.to, choice?.chosenFor];
    };
    expect(of([c, d, b])).toEqual(['b', 'load']);
    expect(of([c, d])).toEqual(['d', 'load']);
    expect(of([b, c, d], ['c', 'd'])).toEqual(['c', 'preferred']);
    expect(of([b, d], ['c'])).toEqual(['b', 'load']);
    expect(of([b, { ...c, applied: held(5n) }], ['b'])).toEqual(['c', 'newest']);
    expect(of([{ ...b, refused: 1 }, c], ['b'])).toEqual(['c', 'complete']);
    expect(of([{ ...b, lacksKey: true }, c], ['b'])).toEqual(['c', 'domain-key']);
    expect(of([b, { ...d, load: 0 }])).toEqual(['b', 'order']);
    expect(of([c])).toEqual(['c', 'only']);
  });

  it('says that an operator has named the target, and that the former active member is the last resort', () => {
    const found = survey([standby('b', 4n), standby('c', 4n)]);
    expect(planFailover({ ...REQUEST, wanted: 'c' }, found).choice).toMatchObject({ to: 'c', chosenFor: 'wanted' });
    const fenced = { ...standby('a', 5n), role: 'fenced' } as const;
    const behind = survey([fenced, standby('b', 4n)], { known: [generation(5n, true)] });
    expect(planFailover(REQUEST, behind).choice).toMatchObject({ to: 'a', chosenFor: 'former' });
  });

  it('takes a generation of a later epoch for newer, although its number is lower', () => {
    const { choice } = planFailover(REQUEST, survey([standby('b', 9n, 1n), standby('c', 2n, 2n)]));
    expect(choice?.to).toBe('c');
  });
});

describe('a switchover', () => {
  const planned = { ...REQUEST, planned: true } as const;
  const active = { ...standby('a', 4n), role: 'active' } as const;
  const whole = survey([active, standby('b', 4n)]);

  it('is planned like any move while the active member answers', () => {
    expect(planFailover(planned, whole).choice).toMatchObject({ to: 'b', canCatchUp: true, lost: [] });
  });

  it.each([
    ['is silent', survey([standby('b', 4n), standby('c', 4n)]), /cannot be reached/],
    ['has lost its HSM', survey([{ ...active, problem: 'HSM_UNAVAILABLE' }, standby('b', 4n)]), /HSM_UNAVAILABLE/],
    ['is fenced', survey([{ ...active, role: 'fenced' }, standby('b', 4n)]), /it is fenced there/],
  ] as const)('is refused where the active member %s, whatever is accepted', (_why, found, why) => {
    for (const accepted of [[], 'all'] as const)
      expect(planFailover({ ...planned, acceptLoss: true, accepted }, found).obstacle).toMatch(why);
  });

  it('changes nothing if the active member is lost before the epoch, and goes on to its end after that', () => {
    const state: FailoverState = { phase: 'requested', ...planned, deadlineMs: 60_000 };
    const lost = survey([standby('b', 4n), standby('c', 4n)]);
    expect(decideFailover(state, { type: 'surveyed', survey: lost }).state).toMatchObject({ phase: 'aborted' });
    const catchingUp = decideFailover(state, { type: 'surveyed', survey: whole });
    expect(catchingUp.effect).toMatchObject({ type: 'catch-up', deadlineMs: 60_000 });
    const caughtUp = { type: 'caught-up', generation: held(5n), startedMs: 7 } as const;
    const issuing = decideFailover(catchingUp.state, caughtUp);
    expect(issuing).toMatchObject({ state: { caughtUp: true }, effect: { type: 'issue-epoch', deadlineMs: 60_000 } });
    const promoting = decideFailover(issuing.state, issued(true)).state;
    const again = decideFailover(promoting, { type: 'target-lost', code: 'OBJECT_UNPROVEN' }).state;
    expect(again).toMatchObject({ phase: 'requested', wanted: '' });
    for (const field of ['planned', 'deadlineMs']) expect(again).not.toHaveProperty(field);
  });
});

describe('a failover', () => {
  const requested: FailoverState = { phase: 'requested', ...REQUEST };
  const good = survey([standby('b', 4n), standby('c', 5n)], { known: [generation(5n)] });

  it.each([
    ['no majority', survey([standby('b', 5n)])],
    [
      'no standby',
      survey([
        { ...standby('b', 5n), role: 'fenced' },
        { ...standby('a', 5n), role: 'active' },
      ]),
    ],
    ['a loss that nobody accepted', survey([standby('b', 4n), standby('c', 3n)], { known: [generation(5n)] })],
  ])('is refused where there is %s', (_why, found) => {
    const { state, effect } = decideFailover(requested, { type: 'surveyed', survey: found });
    expect(effect).toBeUndefined();
    expect(state).toMatchObject({ phase: 'aborted', code: 'FAILOVER_REFUSED', ...REQUEST });
  });

  it('goes from survey to publication with one target and one epoch', () => {
    const choice = { to: 'c', serial: 'serial-c', epoch: 2n, generation: held(5n), lost: [] };
    const effects: (string | undefined)[] = [];
    let state: FailoverState = requested;
    for (const event of [
      { type: 'resume' },
      { type: 'surveyed', survey: good },
      issued(false),
      { type: 'fenced' },
      { type: 'promoted', proved: 8 },
      { type: 'published', recoveryTimeMs: 900 },
    ] satisfies FailoverEvent[]) {
      const step = decideFailover(state, event);
      if (state !== requested) expect(step.state).toMatchObject({ ...REQUEST, ...choice });
      effects.push(step.effect?.type);
      state = step.state;
    }
    expect(effects).toEqual(['survey', 'issue-epoch', 'await-fence', 'promote', 'publish', undefined]);
    expect(state).toMatchObject({ phase: 'complete', proved: 8, recoveryTimeMs: 900 });
  });

  it('fetches before anything is changed, looks again, and is refused where that fails', () => {
    const broken = { ...standby('b', 5n), problem: 'HSM_UNAVAILABLE' };
    const lacking = survey([broken, standby('c', 4n)], { known: [generation(5n, true)] });
    const fetching = decideFailover(requested, { type: 'surveyed', survey: lacking });
    expect(fetching).toMatchObject({
      state: { phase: 'fetching', to: 'c' },
      effect: { type: 'fetch', fetch: { newest: held(5n), holders: ['b'] } },
    });
    expect(decideFailover(fetching.state, { type: 'resume' }).effect).toMatchObject(fetching.effect!);
    const again = decideFailover(fetching.state, { type: 'fetched' });
    expect(again).toMatchObject({ state: { phase: 'requested', overtaken: 1 }, effect: { type: 'survey' } });
    const found = survey([broken, standby('c', 5n)], { known: [generation(5n, true)] });
    expect(decideFailover(again.state, { type: 'surveyed', survey: found }).effect).toMatchObject({
      type: 'issue-epoch',
      to: 'c',
      generation: held(5n),
      lost: [],
    });
    expect(decideFailover(fetching.state, { type: 'not-fetched', code: 'BLOB_INVALID' }).state).toMatchObject({
      phase: 'aborted',
      code: 'FAILOVER_REFUSED',
    });
    const lost = { type: 'target-lost', code: 'SITE_UNREACHABLE' } as const;
    expect(decideFailover(fetching.state, lost).state).toMatchObject({
      phase: 'requested',
      excluded: [{ site: 'c', code: 'SITE_UNREACHABLE' }],
    });
    const wanted = { ...fetching.state, wanted: 'c' } as FailoverState;
    expect(decideFailover(wanted, lost).state).toMatchObject({ phase: 'aborted', code: 'FAILOVER_REFUSED' });
  });

  it('does not wait for a lease whose holder has confirmed the fence', () => {
    const issuing = decideFailover(requested, { type: 'surveyed', survey: good }).state;
    expect(decideFailover(issuing, issued(true)).effect?.type).toBe('promote');
    expect(decideFailover(issuing, issued(false)).effect?.type).toBe('await-fence');
  });

  it('promotes nobody before the epoch is issued and the old active member is fenced', () => {
    const event: fc.Arbitrary<FailoverEvent> = fc.oneof(
      fc.constant({ type: 'resume' } as const),
      fc.constant({ type: 'surveyed', survey: good } as const),
      fc
        .tuple(fc.boolean(), fc.boolean())
        .map(([isFenced, hasMore]) =>
          issued(isFenced, hasMore ? { handover: { newest: held(6n), holders: ['b'] } } : {}),
        ),
      fc.constant({ type: 'handed-over' } as const),
      fc.constant({ type: 'not-handed-over' } as const),
      fc.constant({ type: 'overtaken', generations: [held(6n)] } as const),
      fc.constant({ type: 'fenced' } as const),
      fc.constant({ type: 'target-lost', code: 'SITE_UNREACHABLE' } as const),
      fc.constant({ type: 'promoted', proved: 1 } as const),
      fc.constant({ type: 'published', recoveryTimeMs: 1 } as const),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 10 }), (events) => {
        let state: FailoverState = requested;
        let [isIssued, isFenced] = [false, false];
        for (const event of events) {
          const { phase } = state;
          const step = decideFailover(state, event);
          if (phase === 'issuing' && event.type === 'issued') [isIssued, isFenced] = [true, event.isOldActiveFenced];
          if (phase === 'fencing' && event.type === 'fenced') isFenced = true;
          // Another target means another epoch, which must be issued and fenced again.
          if (['requested', 'issuing'].includes(step.state.phase)) [isIssued, isFenced] = [false, false];
          const isPromoting =
            ['promote', 'publish'].includes(step.effect?.type ?? '') || step.state.phase === 'complete';
          if (isPromoting) expect([isIssued, isFenced]).toEqual([true, true]);
          state = step.state;
        }
      }),
      RUN,
    );
  });

  it('is aborted by what a person must settle, under its own code, and keeps what was asked', () => {
    const failure = { type: 'failed', code: 'EPOCH_CONFLICT', disposition: 'operator', message: 'two owners' } as const;
    const issuing = decideFailover(requested, { type: 'surveyed', survey: good }).state;
    expect(decideFailover(issuing, failure)).toEqual({
      state: { phase: 'aborted', code: 'EPOCH_CONFLICT', message: 'two owners', ...REQUEST },
    });
  });

  it('lets the target catch up while the active member still serves, and counts the outage from the epoch', () => {
    const answering = survey([{ ...standby('a', 5n), role: 'active' }, standby('b', 4n), standby('c', 3n)], {
      known: [generation(4n, true), generation(5n)],
    });
    const first = decideFailover(requested, { type: 'surveyed', survey: answering });
    expect(first).toMatchObject({ state: { phase: 'catching-up', to: 'b' }, effect: { type: 'catch-up' } });
    const second = decideFailover(first.state, { type: 'caught-up', generation: held(6n), startedMs: 77 });
    expect(second).toMatchObject({
      state: { phase: 'issuing', generation: held(6n), lost: [], outageStartedMs: 77 },
      effect: { type: 'issue-epoch', epoch: 2n },
    });
    // Hooks have taken their time in between, while the active member served.
    expect(decideFailover(second.state, issued(true)).state).toMatchObject({ phase: 'promoting', outageStartedMs: 99 });
  });

  it('takes the next best when its target is lost, and the old active member when nobody else is left', () => {
    const issuing = decideFailover({ ...requested, wanted: 'c' }, { type: 'surveyed', survey: good });
    expect(issuing.state).toMatchObject({ phase: 'issuing', to: 'c' });
    const lost = decideFailover(issuing.state, { type: 'target-lost', code: 'OBJECT_UNPROVEN' });
    expect(lost).toMatchObject({
      state: { phase: 'requested', wanted: '', excluded: [{ site: 'c', code: 'OBJECT_UNPROVEN' }] },
      effect: { type: 'survey' },
    });
    const left = survey([{ ...standby('a', 5n), role: 'fenced', epoch: 2n }, standby('b', 4n), standby('c', 5n)]);
    const next = decideFailover(lost.state, { type: 'surveyed', survey: left });
    expect(next.state).toMatchObject({ phase: 'issuing', to: 'b', epoch: 3n });
    const again = decideFailover(next.state, { type: 'target-lost', code: 'SITE_UNREACHABLE' });
    expect(decideFailover(again.state, { type: 'surveyed', survey: left }).state).toMatchObject({ to: 'a' });
  });

  it('begins again with the survey where something that must not be lost is there when the epoch is to be issued', () => {
    const answering = survey([{ ...standby('a', 5n), role: 'active' }, standby('b', 4n), standby('c', 3n)]);
    const first = decideFailover(requested, { type: 'surveyed', survey: answering });
    const second = decideFailover(first.state, { type: 'caught-up', generation: held(5n), startedMs: 77 });
    const overtaken = decideFailover(second.state, { type: 'overtaken', generations: [held(6n)] });
    expect(overtaken).toMatchObject({
      state: { phase: 'requested', from: 'a', overtaken: 1 },
      effect: { type: 'survey' },
    });
    expect(decideFailover(overtaken.state, { type: 'surveyed', survey: answering }).state.phase).toBe('catching-up');
  });

  it('is given up, and has changed nothing, where it is overtaken again and again', () => {
    let { state } = decideFailover(requested, { type: 'surveyed', survey: good });
    for (let count = 0; count < 10 && state.phase !== 'aborted'; count += 1) {
      state = decideFailover(state, { type: 'overtaken', generations: [held(9n)] }).state;
      state = decideFailover(state, { type: 'surveyed', survey: good }).state;
    }
    expect(state).toMatchObject({ phase: 'aborted', code: 'FAILOVER_REFUSED' });
    expect((state as { message: string }).message).toContain('generation 9');
  });

  it('promotes what the target holds once nothing older can change it, and tells what that loses', () => {
    const issuing = decideFailover(requested, { type: 'surveyed', survey: good }).state;
    const { state } = decideFailover(issuing, issued(true, { generation: held(6n), lost: [held(7n)] }));
    expect(state).toMatchObject({ phase: 'promoting', generation: held(6n), lost: [held(7n)] });
  });

  it('hands over what another member turns out to hold, before anybody is promoted', () => {
    const issuing = decideFailover(requested, { type: 'surveyed', survey: good }).state;
    const handover = { newest: held(6n), holders: ['a'] };
    const more = { lost: [held(6n), held(7n)], handover };
    for (const isFenced of [true, false]) {
      const handing = decideFailover(issuing, issued(isFenced, more));
      expect(handing).toMatchObject({ state: { phase: 'handing-over' }, effect: { type: 'hand-over', handover } });
      const next = decideFailover(handing.state, { type: 'handed-over' });
      expect(next.state).toMatchObject({ generation: held(6n), lost: [held(7n)] });
      expect(next.effect?.type).toBe(isFenced ? 'promote' : 'await-fence');
    }
  });

  it('asks the members again where that cannot be had, and goes on without it', () => {
    const issuing = decideFailover(requested, { type: 'surveyed', survey: good }).state;
    const handover = { newest: held(6n), holders: ['a'] };
    const handing = decideFailover(issuing, issued(true, { lost: [held(6n)], handover }));
    const asking = decideFailover(handing.state, { type: 'not-handed-over' });
    expect(asking).toMatchObject({ effect: { type: 'issue-epoch', unreachable: [held(6n)], epoch: 2n } });
    const next = decideFailover(asking.state, issued(true, { lost: [held(6n)] }));
    expect(next.state).toMatchObject({ phase: 'promoting', generation: held(5n), lost: [held(6n)] });
  });

  it('is refused where another site has become active since it was ordered', () => {
    const { state } = decideFailover(requested, { type: 'surveyed', survey: { ...good, active: 'b' } });
    expect(state).toMatchObject({ phase: 'aborted', code: 'FAILOVER_REFUSED' });
  });

  it('loses by order only the very generations that were named, by epoch, number and digest', () => {
    const found = survey([standby('b', 4n), standby('c', 3n)], { known: [generation(5n, true), generation(6n)] });
    const order = (accepted: readonly Held[]) =>
      decideFailover({ ...requested, acceptLoss: true, accepted }, { type: 'surveyed', survey: found }).state;
    expect(order([held(5n), held(6n)])).toMatchObject({ phase: 'issuing', lost: [held(5n), held(6n)] });
    for (const accepted of [[], [held(5n)], [held(5n), { ...held(6n), manifestDigest: 'another' }]])
      expect(order(accepted)).toMatchObject({ phase: 'aborted', code: 'FAILOVER_REFUSED' });
  });

  it('goes on from a state that an older version has written', () => {
    const { accepted, overtaken, ...older } = REQUEST;
    const { state } = decideFailover({ phase: 'requested', ...older } as never, { type: 'surveyed', survey: good });
    expect(state).toMatchObject({ phase: 'issuing', to: 'c', accepted: [], overtaken: 0 });
  });
});
