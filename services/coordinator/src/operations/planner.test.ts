import { RefusedObjectSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import type { SiteView } from '../sites/detector.ts';
import type { Intent } from '../store/tables/intents.ts';
import { groupOf, SPEC } from '../testing/group.ts';
import { siteView } from '../testing/site-views.ts';
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
import { isStillDue, plan, type Situation } from './planner.ts';

const due = (one: Case, rest: Partial<Situation> = {}): string[] => kinds(plan(situation(one, rest)));

describe('what is due', () => {
  it('is nothing where everything is as it should be', () => {
    expect(plan(situation())).toEqual({ create: [], reopen: [] });
  });

  it('is the first domain key, and nothing else, before there is one', () => {
    expect(due({ group: { domainKeyVersion: 0 }, statuses: { a: 'down' } }, { newest: undefined })).toEqual([
      'domain-key',
    ]);
  });

  it.each([
    ['there is none', undefined, true],
    ['its recovery point lies in the future', generation({ recoveryPointMs: NOW_MS + 1 }), true],
    ['it was made this very moment', generation({ recoveryPointMs: NOW_MS }), false],
    ['half the objective has passed', generation({ recoveryPointMs: NOW_MS - RPO_MS / 2 }), true],
    ['less has passed', generation({ recoveryPointMs: NOW_MS - RPO_MS / 2 + 1 }), false],
    ['it is of an earlier epoch', generation({ epoch: 0n }), true],
    ['it is sealed under an earlier domain key', generation({ domainKeyVersion: 0 }), true],
  ])('is a capture when %s', (_when, newest, isDue) => {
    const plans = due({}, { newest }).filter((one) => one.startsWith('capture'));
    expect(plans).toEqual(isDue ? ['capture a'] : []);
  });

  it.each([
    ['failed after the last one that went well', {}, true],
    ['failed a moment ago', { updatedMs: NOW_MS - TIMINGS.parkedRetryMs + 1 }, false],
    ['failed before the last one that went well', { createdMs: NOW_MS - 60_001 }, false],
    ['failed at another site', { site: 'b' }, false],
    ['only came too late', { errorCode: 'EPOCH_STALE' }, false],
  ] satisfies [string, Partial<Intent>, boolean][])(
    'is a capture again where the last one %s',
    (_when, rest, isDue) => {
      const last = { site: 'a', status: 'failed' as const, errorCode: 'HSM_FULL' };
      const times = { createdMs: NOW_MS - 40_000, updatedMs: NOW_MS - TIMINGS.parkedRetryMs };
      const newest = generation({ recoveryPointMs: NOW_MS - 60_000 });
      const plans = due({}, { newest, failed: [intent('capture', { ...last, ...times, ...rest })] });
      expect(plans.filter((one) => one.startsWith('capture'))).toEqual(isDue ? ['capture a'] : []);
    },
  );

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

  it('is a generation again where its number was acknowledged in an earlier epoch', () => {
    const group = { epoch: 2n, highestEpoch: 2n };
    const acknowledged = [generation({ epoch: 2n }), generation()].map((one, at) => ({ ...one, site: 'bc'[at]! }));
    expect(due({ group }, { newest: generation({ epoch: 2n }), acknowledged })).toEqual(['replication c']);
  });

  it('is a rejoin for a fenced member that is up, unless an epoch is being issued to it', () => {
    const roles = ['fenced', 'active', 'standby'] as const;
    const group = { epoch: 2n, owner: 'b', highestEpoch: 2n, highestOwner: 'b' };
    const rest = { newest: generation({ epoch: 2n }), acknowledged: [{ ...generation({ epoch: 2n }), site: 'c' }] };
    expect(due({ roles, group }, rest)).toEqual(['rejoin a']);
    expect(due({ roles, group, statuses: { a: 'down' } }, rest)).toEqual([]);
    const unsettled = { ...group, highestEpoch: 3n, highestOwner: 'a' };
    expect(due({ roles, group: unsettled }, rest)).toEqual(['failover']);
    expect(due({ roles, group: { ...group, domainKeyVersion: 0 } }, rest)).toEqual(['domain-key']);
  });

  it('orders no failover while a reseat is about to put its epoch in force', () => {
    const unsettled = { group: { highestEpoch: 2n } };
    expect(due(unsettled, { open: [intent('reseat')] })).toEqual([]);
    expect(due(unsettled, { open: [intent('reseat', { status: 'parked' })] })).toEqual(['failover']);
  });

  it.each([
    ['has none', 'none', true],
    ['is fenced', 'fenced', true],
    ['takes itself for the active member', 'active', true],
    ['knows it', 'standby', false],
    ['has not said anything yet', undefined, false],
  ] as const)('is a rejoin for a standby whose agent %s', (_says, seat, isDue) => {
    expect(due({ seats: { b: seat } })).toEqual(isDue ? ['rejoin b'] : []);
    expect(due({ seats: { b: seat }, statuses: { b: 'suspect' } })).toEqual([]);
  });

  it('is a rejoin for a standby whose agent has given the seat to another partition', () => {
    expect(due({ said: { b: { serial: 'another' } } })).toEqual(['rejoin b']);
  });

  it('never includes a rejoin for the active member, whatever its agent says', () => {
    expect(due({ seats: { a: 'none' } })).toEqual([]);
  });

  it('never includes a replication of an earlier epoch, possibly lost with its site', () => {
    const group = { epoch: 2n, highestEpoch: 2n };
    expect(due({ group }, { newest: generation({ epoch: 1n }), acknowledged: [] })).toEqual(['capture a']);
  });

  it('includes neither replication nor capture while an epoch is not in force', () => {
    const newest = generation({ recoveryPointMs: NOW_MS - RPO_MS });
    expect(due({ group: { highestEpoch: 2n } }, { newest, acknowledged: [] })).toEqual(['failover']);
  });

  const scrubbed = (ages: Readonly<Record<string, number>>, errorCode = '', failures = 1): Partial<Situation> => ({
    scrubs: Object.entries(ages).map(([site, ageMs]) => ({
      group: 'payments',
      site,
      startedMs: NOW_MS - ageMs,
      errorCode: site === 'b' ? errorCode : '',
      failures: site === 'b' && errorCode !== '' ? failures : 0,
    })),
  });
  it.each<[string, Case, Partial<Situation>, string[]]>([
    ['the interval has passed', {}, scrubbed({ a: 1, b: SCRUB_MS, c: 1 }), ['scrub b']],
    ['less has passed', {}, scrubbed({ a: 1, b: SCRUB_MS - 1, c: 1 }), []],
    [
      'several have waited: who has longest',
      {},
      scrubbed({ a: SCRUB_MS + 1, b: SCRUB_MS + 2, c: SCRUB_MS }),
      ['scrub b'],
    ],
    ['there was none since the group was made', { group: { createdMs: NOW_MS - SCRUB_MS } }, {}, ['scrub a']],
    ['the last lies in the future', {}, scrubbed({ a: 1, b: -1, c: 1 }), ['scrub b']],
    ['it is not up', { statuses: { b: 'suspect' } }, scrubbed({ a: 1, b: SCRUB_MS, c: 1 }), []],
    ['the last found damage', {}, scrubbed({ a: 1, b: 3_600_000, c: 1 }, 'OBJECT_UNPROVEN'), []],
    ['the last could not look', {}, scrubbed({ a: 1, b: 30_000, c: 1 }, 'FILE_UNWRITABLE'), ['scrub b']],
    ['the last could not look, just now', {}, scrubbed({ a: 1, b: 29_999, c: 1 }, 'FILE_UNWRITABLE'), []],
    ['the last three could not look', {}, scrubbed({ a: 1, b: 120_000, c: 1 }, 'OPERATION_TIMEOUT', 3), ['scrub b']],
    ['the last three could not look, just now', {}, scrubbed({ a: 1, b: 119_999, c: 1 }, 'INTERNAL', 3), []],
    ['the last thousand could not look', {}, scrubbed({ a: 1, b: 3_600_000, c: 1 }, 'INTERNAL', 1_000), ['scrub b']],
    ['a coordinator that does not count recorded it', {}, scrubbed({ a: 1, b: 29_999, c: 1 }, 'FILE_BUSY', 0), []],
    [
      'its PIN is refused still',
      { said: { b: { errorCode: 'PIN_REFUSED' } } },
      scrubbed({ a: 1, b: 3_599_999, c: 1 }, 'PIN_REFUSED'),
      [],
    ],
    [
      'its PIN is refused still, for an hour',
      { said: { b: { errorCode: 'PIN_REFUSED' } } },
      scrubbed({ a: 1, b: 3_600_000, c: 1 }, 'PIN_REFUSED'),
      ['scrub b'],
    ],
    [
      'the partition was away, and is back',
      {},
      scrubbed({ a: 1, b: 30_000, c: 1 }, 'PARTITION_NOT_FOUND'),
      ['scrub b'],
    ],
    ['the partition was away, just now', {}, scrubbed({ a: 1, b: 29_999, c: 1 }, 'PARTITION_NOT_FOUND'), []],
    ['its site was in quarantine', {}, scrubbed({ a: 1, b: 30_000, c: 1 }, 'SITE_QUARANTINED'), ['scrub b']],
    ['its certificate had ended', {}, scrubbed({ a: 1, b: 30_000, c: 1 }, 'CERTIFICATE_INVALID'), ['scrub b']],
    ['its certificate had ended, just now', {}, scrubbed({ a: 1, b: 29_999, c: 1 }, 'CERTIFICATE_INVALID'), []],
    ['another site answered in its place', {}, scrubbed({ a: 1, b: 30_000, c: 1 }, 'PEER_REFUSED'), ['scrub b']],
    ['its site was away', {}, scrubbed({ a: 1, b: 30_000, c: 1 }, 'SITE_UNREACHABLE'), ['scrub b']],
    ['the database stood still', {}, scrubbed({ a: 1, b: 30_000, c: 1 }, 'DATABASE_UNAVAILABLE'), ['scrub b']],
    ['the last ended the worker', {}, scrubbed({ a: 1, b: 30_000, c: 1 }, 'HSM_WORKER_LOST'), []],
    ['another is looked at', {}, { ...scrubbed({ a: SCRUB_MS }), open: [intent('scrub', { site: 'c' })] }, []],
    ['a failover is open', {}, { ...scrubbed({ a: SCRUB_MS }), open: [intent('failover')] }, []],
    ['there is no generation', {}, { ...scrubbed({ a: SCRUB_MS }), newest: undefined }, []],
  ])('is a scrub of a member where %s: %#', (_where, one, rest, expected) => {
    expect(due(one, rest).filter((plan) => plan.startsWith('scrub'))).toEqual(expected);
  });

  const SCRATCH = [
    { site: 'b', serial: 'serial-1' },
    { site: 'c', serial: 'serial-2' },
  ];
  /** Drills in a row, newest first: the code of each, empty for one that passed. The newest has this age. */
  const drilled = (codes: readonly string[], ageMs = 30_000): Partial<Situation> => ({
    drills: codes.map((errorCode, index) => ({
      site: 'b',
      passed: errorCode === '',
      errorCode,
      startedMs: NOW_MS - ageMs - index * 60_000,
    })),
  });
  const { spec } = situation().group;
  const drilling = (one: Case = {}): Case => ({
    ...one,
    group: { createdMs: 0, spec: { ...spec, scratch: SCRATCH }, ...one.group },
  });
  const holding = (site: string, serial: string, version: number) =>
    siteView(site, { partitions: [{ serial, errorCode: '', domainKeys: [{ group: 'payments', version }] }] });
  const withKeys =
    (versions: Readonly<Record<string, number>>) =>
    (site: string): SiteView | undefined =>
      site in versions ? holding(site, site === 'b' ? 'serial-1' : 'serial-2', versions[site]!) : undefined;

  it.each<[string, Case, Partial<Situation>, string[]]>([
    ['met an expired certificate', {}, drilled(['CERTIFICATE_INVALID']), ['drill b']],
    ['found the HSM busy', {}, drilled(['HSM_UNAVAILABLE']), ['drill b']],
    ['found its site away', {}, drilled(['SITE_UNREACHABLE']), ['drill b']],
    ['passed', {}, drilled(['']), []],
    ['found a key that does not work', {}, drilled(['OBJECT_UNPROVEN']), []],
    ['could not clean up', {}, drilled(['DRILL_UNCLEAN']), []],
    ['could not look, just now', {}, drilled(['CERTIFICATE_INVALID'], 29_999), []],
    ['could not look for the second time', {}, drilled(['CERTIFICATE_INVALID', 'TIMED_OUT']), []],
    [
      'could not look for the second time, longer ago',
      {},
      drilled(['CERTIFICATE_INVALID', 'TIMED_OUT', '', 'TIMED_OUT'], 60_000),
      ['drill b'],
    ],
    ['could not look all day', {}, drilled(Array(8).fill('CERTIFICATE_INVALID'), 3_599_999), []],
    ['could not look all day, an hour ago', {}, drilled(Array(8).fill('CERTIFICATE_INVALID'), 3_600_000), ['drill b']],
    ['was in a former group of that name', { group: { createdMs: NOW_MS - 1 } }, drilled(['TIMED_OUT']), []],
    ['was at a site that is down now', { statuses: { b: 'down' } }, drilled(['TIMED_OUT']), ['drill c']],
    ['is under way already', {}, { ...drilled(['TIMED_OUT']), open: [intent('drill', { site: 'c' })] }, []],
    ['is overtaken by a move', {}, { ...drilled(['TIMED_OUT']), open: [intent('failover')] }, []],
    [
      'could not look in a group whose automation is paused',
      { group: { pause: { sinceMs: 0, operator: 'anna', reason: '' } } },
      drilled(['TIMED_OUT']),
      [],
    ],
  ])('is a drill again where the last one %s: %#', (_where, one, rest, expected) => {
    const { group } = drilling(one);
    const keys = withKeys({ b: 1, c: 1 });
    const view = (site: string): SiteView | undefined => {
      const seen = keys(site);
      return seen && { ...seen, status: one.statuses?.[site] ?? 'up' };
    };
    const found = due({ ...one, group: group! }, { view, ...rest });
    expect(found.filter((plan) => plan.startsWith('drill'))).toEqual(expected);
  });

  it('is a drill again in a scratch partition that can open the newest acknowledged generation', () => {
    const rest = { ...drilled(['TIMED_OUT']), view: withKeys({ b: 2, c: 1 }) };
    const { create } = plan(situation(drilling(), rest));
    expect(create.find(({ kind }) => kind === 'drill')).toMatchObject({
      site: 'c',
      state: { phase: 'planned', epoch: 1n, number: 4n, serial: 'serial-2' },
    });
    expect(due(drilling(), { ...rest, view: withKeys({ b: 2, c: 2 }) })).not.toContain('drill c');
  });

  it('includes no scrub of a fenced member, and none while an epoch is not in force', () => {
    const rest = { newest: generation({ epoch: 2n }), ...scrubbed({ a: SCRUB_MS, b: 1, c: 1 }) };
    const group = { epoch: 2n, owner: 'b', highestEpoch: 2n, highestOwner: 'b' };
    expect(due({ roles: ['fenced', 'active', 'standby'], group }, rest)).not.toContain('scrub a');
    expect(due({ group: { highestEpoch: 2n } }, scrubbed({ a: SCRUB_MS }))).toEqual(['failover']);
  });

  const lackingKey = (rest: Partial<Intent> = {}): Intent =>
    intent('replication', {
      site: 'b',
      status: 'failed',
      errorCode: 'DOMAIN_KEY_MISSING',
      state: { phase: 'abandoned', epoch: 1n, number: 4n } as { phase: string },
      updatedMs: NOW_MS - TIMINGS.parkedRetryMs,
      ...rest,
    });
  const older = { phase: 'abandoned', epoch: 1n, number: 3n } as { phase: string };
  const earlier = { phase: 'abandoned', epoch: 0n, number: 4n } as { phase: string };
  it.each([
    ['could not open the newest generation', {}, {}, {}, true],
    ['could not open an older generation', { state: older }, {}, {}, false],
    ['could not open one of an earlier epoch', { state: earlier }, {}, {}, false],
    ['failed for another reason', { errorCode: 'HSM_FULL' }, {}, {}, false],
    ['failed in something else', { kind: 'drill' }, {}, {}, false],
    ['is not up', {}, { statuses: { b: 'suspect' } }, {}, false],
    ['lacks a key that has been replaced since', {}, { group: { domainKeyVersion: 2 } }, {}, false],
    ['fails while an epoch is not in force', {}, { group: { highestEpoch: 2n } }, {}, false],
    [
      'fails while a domain key is being brought',
      {},
      {},
      { open: [intent('domain-key', { status: 'parked' })] },
      false,
    ],
  ] satisfies [string, Partial<Intent>, Case, Partial<Situation>, boolean][])(
    'is a further domain key where a standby %s: %#',
    (_where, failed, one, rest, isDue) => {
      const plans = due(one, { failed: [lackingKey(failed)], ...rest });
      expect(plans.includes('domain-key')).toBe(isDue);
    },
  );

  it('is a replication again where a standby may take objects that it left out', () => {
    const plansOf = (
      trusted: { group: string; version: number }[],
      refused: { objectId: string; code: string }[],
      refusedRetryDue = false,
    ): string[] => {
      const here = situation();
      const view: Situation['view'] = (site) => {
        const seen = here.view(site)!;
        if (site !== 'b') return seen;
        const [other, member] = seen.state!.members;
        const objects = refused.map((one) => create(RefusedObjectSchema, one));
        const lacking = { ...member!, refused: objects, refusedRetryDue };
        return siteView(site, { members: [other!, lacking], partitions: [{ serial: 'serial-1', trusted }] });
      };
      return plan({ ...here, view }).create.flatMap(({ kind, site }) => (kind === 'replication' ? [site] : []));
    };
    const trusted = [{ group: 'payments', version: 1 }];
    const untrusted = [{ objectId: 'x', code: 'DOMAIN_KEY_UNTRUSTED' }];
    expect(plansOf(trusted, untrusted)).toEqual(['b']);
    expect(plansOf([], untrusted)).toEqual([]);
    expect(plansOf(trusted, [{ objectId: 'x', code: 'HSM_REFUSED' }])).toEqual([]);
    expect(plansOf([{ group: 'payments', version: 2 }], untrusted)).toEqual([]);
    expect(plansOf([], [{ objectId: 'x', code: 'HSM_REFUSED' }], true)).toEqual(['b']);
  });

  describe('is a further domain key where a standby lacks one, although one was brought a while ago', () => {
    const ended = (
      sites: readonly string[] | undefined,
      { ageMs = TIMINGS.suspectMs * 2, version = 2 }: { ageMs?: number; version?: number | undefined } = {},
    ): Intent =>
      intent('domain-key', {
        status: 'done',
        updatedMs: NOW_MS - ageMs,
        state: { phase: 'complete', version, sites } as { phase: string },
      });
    const inUse = { group: { domainKeyVersion: 2, highestVersion: 2 } };
    const newest = generation({ domainKeyVersion: 2 });
    it.each([
      ['that did not reach it', [ended(['a', 'c'])], true],
      ['but not where it was reached', [ended(['a', 'b', 'c'])], false],
      [
        'also where an earlier version has reached it within the hour',
        [ended(['a', 'c']), ended(['a', 'b'], { version: 1 })],
        true,
      ],
      ['but not where one of two has reached it', [ended(['a', 'c']), ended(['a', 'b'])], false],
      ['but not where no record says whom it reached', [ended(undefined)], false],
      ['but not right after it', [ended(['a', 'c'], { ageMs: TIMINGS.suspectMs })], false],
    ] satisfies [string, Intent[], boolean][])('%s', (_where, recent, isDue) => {
      expect(due(inUse, { newest, failed: [lackingKey()], recent }).includes('domain-key')).toBe(isDue);
    });
  });

  describe('is a further domain key where the active member has missed the one in use', () => {
    const group = { domainKeyVersion: 2, highestVersion: 2 };
    const missed: Case = { group, versions: { a: 1 } };
    const endedAgo = (ageMs: number): Partial<Situation> => ({
      recent: [intent('domain-key', { status: 'done', updatedMs: NOW_MS - ageMs })],
    });
    it.each([
      ['by its own journal', missed, {}, true],
      ['whatever version the newest generation is of', missed, { newest: generation({ domainKeyVersion: 2 }) }, true],
      ['but not where it holds it', { group, versions: { a: 2 } }, {}, false],
      ['but not where only a standby has missed it', { group, versions: { b: 1 } }, {}, false],
      ['but not while its site is not up', { ...missed, statuses: { a: 'suspect' } }, {}, false],
      ['but not while it is not active by its own account', { ...missed, seats: { a: 'standby' } }, {}, false],
      ['but not while an epoch is not in force', { ...missed, group: { ...group, highestEpoch: 2n } }, {}, false],
      ['but not on the word of a heartbeat from before the last one', missed, endedAgo(TIMINGS.suspectMs), false],
      ['also within the hour of the last one', missed, endedAgo(TIMINGS.suspectMs * 2), true],
    ] satisfies [string, Case, Partial<Situation>, boolean][])('%s', (_where, one, rest, isDue) => {
      expect(due(one, rest).includes('domain-key')).toBe(isDue);
    });
  });

  it('is another look at what waits for a person, after a while', () => {
    const parked = (id: string, ageMs: number) =>
      intent('domain-key', { id, status: 'parked', updatedMs: NOW_MS - ageMs });
    const waiting = [parked('old', TIMINGS.parkedRetryMs), parked('new', TIMINGS.parkedRetryMs - 1)];
    const running = intent('drill', { id: 'running', updatedMs: 0 });
    expect(plan(situation({}, { open: [...waiting, running] })).reopen).toEqual(['old']);
  });
});

describe('while the active role is about to move', () => {
  it.each(['open', 'parked'] as const)('nothing is captured or replicated (%s)', (status) => {
    const moving = { open: [intent('failover', { status })] };
    expect(due({}, { newest: undefined, ...moving })).toEqual([]);
    expect(due({}, { acknowledged: [], ...moving })).toEqual([]);
    expect(due({}, { acknowledged: [] })).toEqual(['replication b', 'replication c']);
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

  it.each([
    ['operator', ['failover']],
    ['automatic', []],
  ])('as a failover of this reason (%s) leaves due: %j', (reason, expected) => {
    const state = { phase: 'aborted', reason } as { phase: string };
    const failed = [intent('failover', { status: 'failed', errorCode: 'FAILOVER_REFUSED', state, updatedMs: NOW_MS })];
    const plans = due({ statuses: { a: 'down' } }, { failed });
    expect(plans.filter((kind) => kind === 'failover')).toEqual(expected);
  });

  it('at one site does not hold up another', () => {
    const failed = [intent('replication', { site: 'b', status: 'failed', errorCode: 'DIGEST_MISMATCH' })];
    expect(due({}, { acknowledged: [], failed })).toEqual(['replication c']);
  });
});

it('plans nothing where database and journals contradict each other, and nothing for a member in quarantine', () => {
  const due = { acknowledged: [], newest: generation({ recoveryPointMs: 0 }) };
  expect(kinds(plan(situation({}, due))).length).toBeGreaterThan(1);
  const contradiction = { kind: 'database-behind', message: 'why' } as const;
  expect(plan(situation({}, { ...due, contradiction }))).toEqual({ create: [], reopen: [] });
  const base = situation({}, due);
  const view = (name: string) => {
    const before = base.view(name)!;
    const quarantined = name === 'b' ? [{ group: 'payments', reason: 'older copy' }] : [];
    return { ...before, state: { ...before.state!, journal: { quarantined } } as never };
  };
  expect(kinds(plan({ ...base, view })).some((kind) => kind.endsWith(' b'))).toBe(false);
  expect(kinds(plan({ ...base, view }))).toContain('replication c');
});

describe('an operation that was due when its facts were read', () => {
  const before = groupOf(SPEC);
  const pause = { sinceMs: 1, operator: 'olga', reason: '' };
  const isIssued = { highestEpoch: before.epoch + 1n, highestOwner: 'b' };
  const isDue = (kind: Parameters<typeof isStillDue>[0]['kind'], now: Partial<typeof before>): boolean =>
    isStillDue({ kind }, { before: { ...before, ...now, pause: undefined } as never, now: { ...before, ...now } });

  it.each(['scrub', 'drill', 'key-retirement', 'failover'] as const)(
    '%s waits where a person has paused the group since',
    (kind) => {
      expect([isDue(kind, {}), isDue(kind, { pause })]).toEqual([true, false]);
    },
  );

  it.each(['capture', 'replication', 'rejoin', 'domain-key', 'archive'] as const)(
    '%s protects keys, and begins in a pause',
    (kind) => {
      expect(isDue(kind, { pause })).toBe(true);
    },
  );

  it('is a failover that goes on in a pause, once its epoch was issued', () => {
    expect(isDue('failover', { ...isIssued, pause })).toBe(true);
  });

  it('is dropped where it is a failover and an epoch was issued since', () => {
    expect(isStillDue({ kind: 'failover' }, { before, now: { ...before, ...isIssued } })).toBe(false);
  });
});
