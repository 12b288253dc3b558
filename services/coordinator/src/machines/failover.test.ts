import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Candidate,
  decideFailover,
  type FailoverEvent,
  type FailoverState,
  planFailover,
  type Survey,
} from './failover.ts';

const REQUEST = { from: 'a', wanted: '', acceptLoss: false, reason: 'operator', outageStartedMs: 5 } as const;
const RUN = { seed: 20_260_101, numRuns: 1_000 };

const standby = (site: string, number: bigint | undefined, epoch = 1n): Candidate => ({
  site,
  serial: `serial-${site}`,
  role: 'standby',
  epoch,
  applied: number === undefined ? undefined : { epoch, number, manifestDigest: `${site}${number}` },
});
const survey = (reachable: readonly Candidate[], rest: Partial<Survey> = {}): Survey => ({
  reachable,
  voters: 3,
  highestEpoch: 1n,
  known: [],
  ...rest,
});

type Applied = Candidate['applied'];
/** Epoch first: a generation of a later tenure is newer, whatever its number. */
function isNewer(a: Applied | Survey['known'][number], b: Applied): boolean {
  if (a === undefined || b === undefined) return a !== undefined;
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.number > b.number);
}

describe('the plan of a failover', () => {
  const small = fc.bigInt({ min: 1n, max: 4n });
  const candidate = fc.record({
    site: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    serial: fc.constant('s'),
    role: fc.constantFrom('active' as const, 'standby' as const, 'standby' as const, 'fenced' as const),
    epoch: fc.bigInt({ min: 0n, max: 9n }),
    applied: fc.option(fc.record({ epoch: small, number: small, manifestDigest: fc.constant('dd') }), {
      nil: undefined,
      freq: 4,
    }),
  });
  const surveys: fc.Arbitrary<Survey> = fc.record({
    reachable: fc.uniqueArray(candidate, { selector: ({ site }) => site, maxLength: 5 }),
    voters: fc.integer({ min: 1, max: 5 }),
    highestEpoch: fc.bigInt({ min: 0n, max: 9n }),
    known: fc.array(fc.record({ epoch: small, number: small }), { maxLength: 4 }),
  });
  const requests = fc.record({
    from: fc.constantFrom('a', 'b', ''),
    wanted: fc.constantFrom('', '', 'a', 'c'),
    acceptLoss: fc.boolean(),
    reason: fc.constantFrom('automatic' as const, 'operator' as const),
  });
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

  it('names nobody without a majority of the voters', () => {
    ofChoice(({ found }) => {
      expect(found.reachable.length * 2).toBeGreaterThan(found.voters);
    });
  });

  it('never names the site that is to be left, and only a standby that answered', () => {
    ofChoice(({ request, found }, { to }) => {
      expect(to).not.toBe(request.from);
      expect(found.reachable.find(({ site }) => site === to)?.role).toBe('standby');
      if (request.wanted !== '') expect(to).toBe(request.wanted);
    });
  });

  it('never names a candidate that is behind another standby that answered', () => {
    ofChoice(({ request, found }, { to, generation }) => {
      fc.pre(request.wanted === '');
      const others = found.reachable.filter(
        ({ site, role }) => role === 'standby' && site !== request.from && site !== to,
      );
      for (const { applied } of others) expect(isNewer(applied, generation)).toBe(false);
    });
  });

  it('takes an epoch above every epoch that was seen', () => {
    ofChoice(({ found }, { epoch }) => {
      for (const seen of [found.highestEpoch, ...found.reachable.map((one) => one.epoch)])
        expect(epoch > seen).toBe(true);
    });
  });

  it('promotes what the target has applied, and tells of every generation that it lacks', () => {
    ofChoice(({ found }, { to, serial, generation, lost }) => {
      const target = found.reachable.find(({ site }) => site === to);
      expect({ serial, generation }).toEqual({ serial: target?.serial, generation: target?.applied });
      expect(lost).toEqual(found.known.filter((one) => isNewer(one, generation)).map(({ number }) => number));
    });
  });

  it('loses nothing that nobody has accepted to lose', () => {
    ofChoice(({ request }, { lost }) => {
      if (!request.acceptLoss && request.reason === 'operator') expect(lost).toEqual([]);
    });
  });

  it('finds somebody whenever a standby is in reach of a majority and the loss is accepted', () => {
    fc.assert(
      fc.property(plans, ({ request, found, plan }) => {
        const isPossible =
          found.reachable.length * 2 > found.voters &&
          (request.acceptLoss || request.reason === 'automatic') &&
          found.reachable.some(
            ({ site, role }) =>
              role === 'standby' && site !== request.from && (request.wanted === '' || site === request.wanted),
          );
        fc.pre(isPossible);
        expect(plan.obstacle).toBeUndefined();
      }),
      RUN,
    );
  });

  it('prefers the first of the group among equals', () => {
    const { choice } = planFailover(REQUEST, survey([standby('b', 4n), standby('c', 4n)]));
    expect(choice?.to).toBe('b');
  });

  it('takes a generation of a later epoch for newer, although its number is lower', () => {
    const { choice } = planFailover(REQUEST, survey([standby('b', 9n, 1n), standby('c', 2n, 2n)]));
    expect(choice?.to).toBe('c');
  });
});

describe('a failover', () => {
  const requested: FailoverState = { phase: 'requested', ...REQUEST };
  const good = survey([standby('b', 4n), standby('c', 5n)], { known: [{ epoch: 1n, number: 5n }] });

  it.each([
    ['no majority', survey([standby('b', 5n)])],
    ['no standby', survey([{ ...standby('b', 5n), role: 'fenced' }, standby('a', 5n)])],
    [
      'a loss that nobody accepted',
      survey([standby('b', 4n), standby('c', 3n)], { known: [{ epoch: 1n, number: 5n }] }),
    ],
  ])('is refused where there is %s', (_why, found) => {
    const { state, effect } = decideFailover(requested, { type: 'surveyed', survey: found });
    expect(effect).toBeUndefined();
    expect(state).toMatchObject({ phase: 'aborted', code: 'FAILOVER_REFUSED', ...REQUEST });
  });

  it('goes from survey to publication with one target and one epoch', () => {
    const choice = { to: 'c', serial: 'serial-c', epoch: 2n, lost: [] };
    const effects: (string | undefined)[] = [];
    let state: FailoverState = requested;
    for (const event of [
      { type: 'resume' },
      { type: 'surveyed', survey: good },
      { type: 'issued', isOldActiveFenced: false },
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

  it('does not wait for a lease whose holder has confirmed the fence', () => {
    const issuing = decideFailover(requested, { type: 'surveyed', survey: good }).state;
    expect(decideFailover(issuing, { type: 'issued', isOldActiveFenced: true }).effect?.type).toBe('promote');
    expect(decideFailover(issuing, { type: 'issued', isOldActiveFenced: false }).effect?.type).toBe('await-fence');
  });

  it('promotes nobody before the epoch is issued and the old active member is fenced', () => {
    const event: fc.Arbitrary<FailoverEvent> = fc.oneof(
      fc.constant({ type: 'resume' } as const),
      fc.constant({ type: 'surveyed', survey: good } as const),
      fc.record({ type: fc.constant('issued' as const), isOldActiveFenced: fc.boolean() }),
      fc.constant({ type: 'fenced' } as const),
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
});
