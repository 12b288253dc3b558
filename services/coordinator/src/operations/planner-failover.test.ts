import { describe, expect, it } from 'vitest';
import type { Intent } from '../store/tables/intents.ts';
import {
  type Case,
  generation,
  intent,
  kinds,
  NOW_MS,
  RPO_MS,
  SCRUB_MS,
  situation,
  TIMINGS,
} from '../testing/situation.ts';
import { plan, type Situation } from './planner.ts';

const due = (one: Case, rest: Partial<Situation> = {}): string[] => kinds(plan(situation(one, rest)));

describe('an automatic failover', () => {
  const lost: Case = { statuses: { a: 'down' } };

  describe('that follows one which ended with nobody active', () => {
    const ordered = (highestEpoch: bigint, agoMs: number, rest: Case['group'] = {}): boolean => {
      const failed = [
        intent('failover', { status: 'failed', errorCode: 'FAILOVER_REFUSED', updatedMs: NOW_MS - agoMs }),
      ];
      return due({ group: { highestEpoch, highestOwner: 'b', ...rest } }, { failed }).includes('failover');
    };

    it.each([
      [1n, 1],
      [3n, 1],
      [6n, 2],
      [30n, 10],
      [359n, 119],
      [3_000n, 120],
    ])('waits in proportion to the epochs that nobody came into force under: %s', (issued, pauses) => {
      const waitMs = pauses * TIMINGS.parkedRetryMs;
      expect([ordered(1n + issued, waitMs - 1), ordered(1n + issued, waitMs)]).toEqual([false, true]);
    });

    it('uses few epochs in a day of failures, and none faster when a person has resumed the group', () => {
      let highestEpoch = 3n;
      let failedMs = 0;
      for (let nowMs = 0; nowMs < 86_400_000; nowMs += TIMINGS.parkedRetryMs)
        if (ordered(highestEpoch, nowMs - failedMs)) {
          // Every other member fails.
          highestEpoch += 2n;
          failedMs = nowMs;
        }
      expect(Number(highestEpoch)).toBeGreaterThan(100);
      expect(Number(highestEpoch)).toBeLessThan(200);
      expect(ordered(highestEpoch, TIMINGS.parkedRetryMs)).toBe(false);
      expect(ordered(highestEpoch, TIMINGS.parkedRetryMs, { resumedMs: NOW_MS })).toBe(true);
    });
  });

  describe('that would lose what is acknowledged', () => {
    const [fourth, fifth] = [
      generation({ number: 4n, manifestDigest: '04' }),
      generation({ number: 5n, manifestDigest: '05' }),
    ];
    const acknowledged = {
      acknowledged: [
        { ...fifth, site: 'b' },
        { ...fourth, site: 'c' },
      ],
      newest: fifth,
    };
    const heard = (said: Case['said'], rest: Case = {}): Case => ({
      ...lost,
      ...rest,
      roles: ['active', 'standby', 'standby', 'standby', 'standby'],
      said: { b: { applied: fifth }, c: { applied: fourth }, d: { applied: fourth }, e: { applied: fourth }, ...said },
    });
    const away = { statuses: { a: 'down', b: 'down' } } as const;
    const waits = (one: Case) => plan(situation(one, acknowledged)).waits;

    it('is not ordered while nobody who answers holds it, and says what it waits for', () => {
      expect(due(heard({}, away), acknowledged)).not.toContain('failover');
      expect(waits(heard({}, away))).toEqual({
        to: 'c',
        holds: { epoch: 1n, number: 4n, manifestDigest: '04' },
        generations: [{ epoch: 1n, number: 5n, manifestDigest: '05' }],
        holders: [{ site: 'b', trouble: 'down' }],
      });
    });

    it.each<[string, Case]>([
      ['it is back', heard({})],
      ['it is only silent, and may answer a survey', heard({}, { statuses: { a: 'down', b: 'suspect' } })],
      ['its HSM is gone, and its store can be read', heard({ b: { applied: fifth, errorCode: 'HSM_UNAVAILABLE' } })],
      ['another one has it by now', heard({ e: { applied: fifth } }, away)],
      ['what others hold is not known yet', heard({ c: {}, d: {}, e: {} }, away)],
    ])('is ordered at once where %s', (_where, one) => {
      expect(due(one, acknowledged)).toContain('failover');
      expect(waits(one)).toBeUndefined();
    });

    it('waits for no member in quarantine to hand it over, and says so', () => {
      const one = heard({ b: { applied: fifth, quarantine: 'an older copy' } });
      expect(due(one, acknowledged)).not.toContain('failover');
      expect(waits(one)?.holders).toEqual([{ site: 'b', trouble: 'SITE_QUARANTINED' }]);
    });

    it('tries again and again where somebody could not hand it over, and says what it waits for meanwhile', () => {
      const one = heard({ b: { applied: fifth, errorCode: 'HSM_UNAVAILABLE' } });
      const unfetched = { newest: { epoch: 1n, number: 5n, manifestDigest: '05' }, holders: ['b'] };
      const refused = (newest = unfetched.newest, updatedMs = NOW_MS - TIMINGS.parkedRetryMs): Partial<Situation> => ({
        ...acknowledged,
        failed: [
          intent('failover', {
            status: 'failed',
            errorCode: 'FAILOVER_REFUSED',
            updatedMs,
            state: { phase: 'aborted', unfetched: { ...unfetched, newest } } as { phase: string },
          }),
        ],
      });
      const { create, waits: said } = plan(situation(one, refused()));
      expect(create.map(({ kind }) => kind)).toContain('failover');
      expect(said).toMatchObject({ to: 'c', holders: [{ site: 'b', trouble: 'HSM_UNAVAILABLE' }] });
      expect(due(one, refused(undefined, NOW_MS))).not.toContain('failover');
      const other = { ...unfetched.newest, number: 4n, manifestDigest: '03' };
      expect(plan(situation(one, refused(other))).waits).toBeUndefined();
    });

    it('waits for no member in a role that this version does not know, and says so', () => {
      const one = heard({}, { seats: { b: 'unknown' } });
      expect(due(one, acknowledged)).not.toContain('failover');
      expect(waits(one)?.holders).toEqual([{ site: 'b', trouble: 'REQUEST_INVALID' }]);
    });

    it('waits where nobody is active after a failover that did not end well, too', () => {
      const one = heard({}, { ...away, policy: 'manual', group: { highestEpoch: 2n, highestOwner: 'b' } });
      expect(due(one, acknowledged)).not.toContain('failover');
      expect(waits(one)?.to).toBe('c');
    });

    it('waits for nothing while none is due', () => {
      expect(waits(heard({}, { statuses: { b: 'down' } }))).toBeUndefined();
      expect(waits(heard({}, { ...away, policy: 'manual' }))).toBeUndefined();
    });
  });

  describe('away from an active member in quarantine', () => {
    const quarantined = { contradiction: { kind: 'journal-not-ours', message: 'an older copy' } } as const;
    const said = { a: { quarantine: 'an older copy', errorCode: 'HSM_UNAVAILABLE' } };
    const withView = (one: Case, hsmLostForMs: number, rest: Partial<Situation> = quarantined): Situation => {
      const made = situation(one, rest);
      const hsmLostMs = new Map([['serial-0', NOW_MS - hsmLostForMs]]);
      return { ...made, view: (site) => (site === 'a' ? { ...made.view(site)!, hsmLostMs } : made.view(site)) };
    };
    const LONG_MS = TIMINGS.hsmLostMs;

    it('is not ordered while its HSM serves the applications', () => {
      expect(kinds(plan(situation({ said }, quarantined)))).toEqual([]);
      expect(kinds(plan(withView({ said }, LONG_MS - 1)))).toEqual([]);
    });

    it('is ordered, and nothing else, where its HSM is gone as well', () => {
      expect(kinds(plan(withView({ said }, LONG_MS)))).toEqual(['failover']);
      expect(kinds(plan(withView({ said, policy: 'manual' }, LONG_MS)))).toEqual([]);
      expect(kinds(plan(withView({ said, group: { highestEpoch: 2n }, policy: 'manual' }, LONG_MS)))).toEqual([]);
    });

    it('is not ordered where the database was rolled back', () => {
      const behind = { contradiction: { kind: 'database-behind', message: 'epoch 2' } } as const;
      expect(kinds(plan(withView({ said }, LONG_MS, behind)))).toEqual([]);
    });
  });
  const ended = ({ reason, ageMs }: { reason: string; ageMs: number }): Intent =>
    intent('failover', {
      status: 'done',
      state: { phase: 'complete', reason } as { phase: string },
      createdMs: NOW_MS - ageMs,
    });

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
          accepted: [],
          overtaken: 0,
          reason: 'automatic',
          outageStartedMs: NOW_MS - 12_000,
          excluded: [],
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

  describe('while a person has paused the automation', () => {
    const PAUSE = { sinceMs: NOW_MS - 1_000, operator: 'alice', reason: 'maintenance' };
    const paused = (one: Case, rest: Partial<Situation> = {}) => {
      const found = situation(one, rest);
      return plan({ ...found, group: { ...found.group, pause: PAUSE } });
    };

    it('is not due, and one that waits for a person is not taken up again', () => {
      expect(paused(lost).create).toEqual([]);
      const waits = (reason: string) =>
        intent('failover', {
          id: reason,
          status: 'parked',
          state: { phase: 'issuing', reason } as { phase: string },
          updatedMs: NOW_MS - TIMINGS.parkedRetryMs,
        });
      expect(paused(lost, { open: [waits('automatic')] }).reopen).toEqual([]);
      expect(paused(lost, { open: [waits('operator')] }).reopen).toEqual(['operator']);
    });

    it('settles an epoch that is not in force: somebody has to serve', () => {
      const unsettled = { statuses: { a: 'down' as const }, group: { highestEpoch: 2n, highestOwner: 'b' } };
      expect(paused(unsettled).create.map(({ kind }) => kind)).toEqual(['failover']);
    });

    it('captures and replicates all the same, and begins no scrub', () => {
      const stale = { newest: generation({ recoveryPointMs: NOW_MS - RPO_MS }) };
      const scrubs = ['a', 'b', 'c'].map((site) => ({
        group: 'payments',
        site,
        startedMs: NOW_MS - SCRUB_MS,
        errorCode: '',
        failures: 0,
      }));
      expect(paused({}, { ...stale, scrubs }).create.map(({ kind }) => kind)).toEqual(['capture']);
      expect(plan(situation({}, { ...stale, scrubs })).create.map(({ kind }) => kind)).toContain('scrub');
    });
  });

  it('is due again within the hour where a person has resumed the automation since', () => {
    const recent = [ended({ reason: 'automatic', ageMs: 5_000 })];
    const found = situation(lost, { recent });
    const resumed = (resumedMs: number) =>
      plan({ ...found, group: { ...found.group, resumedMs } }).create.map(({ kind }) => kind);
    expect([resumed(NOW_MS - 1_000), resumed(NOW_MS - 9_000)]).toEqual([['failover'], []]);
  });

  it.each([
    ['a witness', ['w'], ['failover']],
    ['a witness at the site of a member, which votes once', ['b'], []],
  ])('is due for two members and %s', (_what, witnesses, kinds) => {
    const two = situation({ ...lost, roles: ['active', 'standby'] });
    const group = { ...two.group, spec: { ...two.group.spec, witnesses } };
    expect(plan({ ...two, group }).create.map(({ kind }) => kind)).toEqual(kinds);
  });

  it.each([
    ['automatic', TIMINGS.automaticFailoverGapMs - 1, false],
    ['automatic', TIMINGS.automaticFailoverGapMs, true],
    // Ahead of now: a wrong stamp, which must not hold up a failover until its time has come.
    ['automatic', -1, true],
    ['operator', 1, true],
  ])('after one that was %s %i ms ago: due %s', (reason, ageMs, isDue) => {
    const other = ended({ reason: 'operator', ageMs: 0 });
    const recent = [other, ended({ reason, ageMs }), other];
    expect(due(lost, { recent })).toEqual(isDue ? ['failover'] : []);
  });

  it('waits for no stamp that lies ahead', () => {
    const ahead = { updatedMs: NOW_MS + 3_600_000 };
    const failed = [intent('failover', { status: 'failed', errorCode: 'FAILOVER_REFUSED', ...ahead })];
    expect(due(lost, { failed })).toEqual(['failover']);
    const open = [intent('drill', { id: 'waits', status: 'parked', ...ahead })];
    expect(plan(situation({}, { open })).reopen).toEqual(['waits']);
  });

  it.each([
    ['whatever the policy', { policy: 'manual' }, {}],
    ['although only two sites vote', { roles: ['active', 'standby'] }, {}],
    ['although the active site is up', { statuses: { a: 'up' } }, {}],
    ['although one was automatic just now', {}, { recent: [ended({ reason: 'automatic', ageMs: 1 })] }],
  ] satisfies [string, Case, Partial<Situation>][])('settles an epoch that is not in force, %s', (_why, one, rest) => {
    const group = { highestEpoch: 2n, highestOwner: 'b' };
    expect(due({ statuses: { a: 'down' }, ...one, group }, rest)).toEqual(['failover']);
  });

  it.each([
    ['one is under way', { open: [intent('failover')] }],
    ['one was refused a moment ago', { failed: [intent('failover', { errorCode: 'FAILOVER_REFUSED' })] }],
  ] satisfies [string, Partial<Situation>][])('does not settle it while %s', (_while, rest) => {
    expect(due({ group: { highestEpoch: 2n } }, rest)).toEqual([]);
  });
});

describe('an active member whose HSM is gone', () => {
  const lostSince = (site: string, sinceMs: number | undefined, policy: 'automatic' | 'manual' = 'automatic') => {
    const base = situation({ policy });
    const view = (name: string) => {
      const before = base.view(name)!;
      const partitions = [{ serial: `serial-${'abc'.indexOf(name)}`, errorCode: '' }];
      return {
        ...before,
        state: { ...before.state!, partitions } as never,
        hsmLostMs: new Map(name === site && sinceMs !== undefined ? [[partitions[0]!.serial, sinceMs]] : []),
      };
    };
    return { ...base, view };
  };
  const failovers = (given: ReturnType<typeof lostSince>): string[] =>
    kinds(plan(given)).filter((kind) => kind === 'failover');

  it('is left by itself after a while, where the policy is automatic and a standby can be used', () => {
    expect(failovers(lostSince('a', NOW_MS - TIMINGS.hsmLostMs))).toEqual(['failover']);
    expect(failovers(lostSince('a', NOW_MS - TIMINGS.hsmLostMs + 1))).toEqual([]);
    expect(failovers(lostSince('a', undefined))).toEqual([]);
    expect(failovers(lostSince('a', NOW_MS - TIMINGS.hsmLostMs, 'manual'))).toEqual([]);
    expect(failovers(lostSince('b', NOW_MS - TIMINGS.hsmLostMs))).toEqual([]);
  });

  it('stays where no standby can be used: a failover would fence it for nothing', () => {
    const given = lostSince('a', NOW_MS - TIMINGS.hsmLostMs);
    const view = (name: string) => {
      const before = given.view(name);
      const partitions = [{ serial: `serial-${'abc'.indexOf(name)}`, errorCode: 'HSM_UNAVAILABLE' }];
      return { ...before!, state: { ...(before as { state: object }).state, partitions } as never };
    };
    expect(failovers({ ...given, view })).toEqual([]);
  });
});
