import type { MemberState } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import type { IntentKind } from '../model.ts';
import type { SiteView } from '../sites/detector.ts';
import type { Intent } from '../store/tables/intents.ts';
import { intent, NOW_MS, situation } from '../testing/situation.ts';
import { type Concern, concernsOf, type Own, type Recent } from './concerns.ts';

const { group, view: allUp } = situation();
const NOTHING: Recent = { failing: [], open: [], scrubs: [], drill: undefined };
const OWN: Own = { isLeader: true, troubles: [], hooks: [], monotonicMs: 50_000 };
const of = (recent: Partial<Recent> = {}, own: Partial<Own> = {}, view = allUp): Concern[] =>
  concernsOf({
    group,
    recent: { ...NOTHING, ...recent },
    own: { ...OWN, ...own },
    view,
    nowMs: NOW_MS,
    hangMs: 60_000,
  });
const words = (concerns: Concern[]): string[] =>
  concerns.map(({ kind, site, errorCode }) => [kind, site, errorCode].filter(Boolean).join(' '));
const full = (rest: Partial<Intent> = {}): Intent =>
  intent('replication', {
    site: 'b',
    status: 'failed',
    errorCode: 'HSM_FULL',
    errorMessage: '[HSM_FULL] no room',
    failure: {
      code: 'HSM_FULL',
      message: 'no room',
      site: 'b',
      returnValue: '',
      atMs: 0,
      requestId: '',
      hint: 'make room',
    },
    ...rest,
  });

describe('what speaks against a group that is protected by its numbers', () => {
  it('is nothing where all went well the last time and everybody is heard', () => {
    expect(of()).toEqual([]);
    expect(of({ drill: { site: 'c', passed: true, errorCode: '', startedMs: NOW_MS } })).toEqual([]);
  });

  it('is what failed the last time, with its reason, since the first failure of the streak', () => {
    expect(of({ failing: [{ intent: full(), sinceMs: NOW_MS - 90_000 }] })).toEqual([
      { kind: 'replication', site: 'b', errorCode: 'HSM_FULL', message: 'no room', ageMs: 90_000, hint: 'make room' },
    ]);
  });

  it.each([
    ['no attempt has failed', { attempts: 0, errorCode: '' }, []],
    ['one attempt has failed, and the next may do', { attempts: 1 }, []],
    ['the second attempt has failed as well', { attempts: 2 }, ['replication b HSM_FULL']],
    ['it waits for another operation', { attempts: 5, errorCode: 'GROUP_BUSY' }, []],
    ['something newer came first', { attempts: 5, errorCode: 'GENERATION_NOT_NEWER' }, []],
    ['it waits for a person', { attempts: 0, status: 'parked' as const }, ['replication b HSM_FULL']],
    ['it is a move, which has changed nothing', { kind: 'failover' as const, attempts: 9 }, []],
    [
      'it is a move that this coordinator cannot continue',
      { kind: 'failover' as const, site: '', status: 'parked' as const, errorCode: 'OPERATION_STUCK' },
      ['failover OPERATION_STUCK'],
    ],
    [
      'it is of a kind that only another release knows',
      { kind: 'escrow' as IntentKind, status: 'parked' as const, errorCode: 'OPERATION_STUCK' },
      ['escrow b OPERATION_STUCK'],
    ],
  ] satisfies [string, Partial<Intent>, string[]][])(
    'is, of what is under way, where %s: %#',
    (_where, rest, expected) => {
      expect(words(of({ open: [full({ status: 'open', ...rest })] }))).toEqual(expected);
    },
  );

  it('does not include a rotation that waits for officers or a distributor: all stays protected', () => {
    const waiting = (phase: string, errorCode: string) =>
      full({ kind: 'domain-key', site: '', status: 'parked', errorCode, state: { phase } as Intent['state'] });
    const seen = (group_: typeof group, one: Intent, view = allUp): string[] =>
      words(
        concernsOf({
          group: group_,
          recent: { ...NOTHING, open: [one] },
          own: OWN,
          view,
          nowMs: NOW_MS,
          hangMs: 60_000,
        }),
      );
    const officers = waiting('awaiting-officers', 'DOMAIN_KEY_UNTRUSTED');
    expect(seen(group, officers)).toEqual([]);
    expect(seen({ ...group, domainKeyVersion: 0 }, officers)).toEqual(['domain-key DOMAIN_KEY_UNTRUSTED']);
    const away = waiting('incomplete', 'SITE_UNREACHABLE');
    const withDistributor = { ...group, spec: { ...group.spec, distributor: { site: 'd', serial: 'serial-d' } } };
    expect(seen(withDistributor, away, (site) => (site === 'd' ? undefined : allUp(site)))).toEqual([]);
    expect(seen(withDistributor, away)).toEqual(['domain-key SITE_UNREACHABLE']);
    expect(seen(group, away)).toEqual(['domain-key SITE_UNREACHABLE']);
  });

  it('is one concern where the same goes on failing', () => {
    const failing = [{ intent: full(), sinceMs: NOW_MS - 90_000 }];
    expect(of({ failing, open: [full({ status: 'open', attempts: 7 })] })).toMatchObject([{ ageMs: 90_000 }]);
  });

  it('is the last drill, if it did not pass', () => {
    const drill = { site: 'c', passed: false, errorCode: 'SCRATCH_REFUSED', startedMs: NOW_MS - 7 };
    expect(of({ drill })).toMatchObject([{ kind: 'drill', site: 'c', errorCode: 'SCRATCH_REFUSED', ageMs: 7 }]);
  });

  it('is a scrub that could not read the partition; its findings are shown elsewhere', () => {
    const scrub = (site: string, errorCode: string) => ({
      group: 'payments',
      site,
      startedMs: NOW_MS - 3,
      errorCode,
      failures: 0,
    });
    expect(words(of({ scrubs: [scrub('a', 'PIN_REFUSED'), scrub('b', 'OBJECT_UNPROVEN'), scrub('c', '')] }))).toEqual([
      'scrub a PIN_REFUSED',
    ]);
    expect(of({ scrubs: [scrub('gone', 'PIN_REFUSED')] })).toEqual([]);
    // A move has overtaken it: it is tried again.
    expect(of({ scrubs: [scrub('a', 'EPOCH_STALE')] })).toEqual([]);
  });

  it.each(['suspect', 'down', 'unknown'] as const)(
    'is a member that is %s, and for how long it is silent',
    (status) => {
      const heard = (site: string): SiteView | undefined =>
        site === 'b' ? { ...allUp('b')!, status, reason: 'silent', lastMs: 44_000 } : allUp(site);
      expect(of({}, {}, heard)).toEqual([
        { kind: 'site', site: 'b', errorCode: '', message: `site b is ${status}: silent`, ageMs: 6_000 },
      ]);
      expect(words(of({}, {}, (site) => (site === 'c' ? undefined : allUp(site))))).toEqual(['site c']);
    },
  );

  it('is an HSM that answers no call for long, though orders that wait for it have not failed', () => {
    const silentFor = (unansweredMs: number, status: SiteView['status'] = 'up') =>
      of({}, {}, (site) => {
        const seen = allUp(site)!;
        const partitions = seen.state!.partitions.map((one) => ({ ...one, unansweredMs }));
        return site === 'a' ? { ...seen, status, state: { ...seen.state!, partitions } } : seen;
      });
    expect(silentFor(60_000)).toEqual([]);
    const [concern, ...others] = silentFor(61_000);
    expect(concern).toMatchObject({ kind: 'partition', site: 'a', errorCode: 'HSM_WORKER_LOST', ageMs: 61_000 });
    expect(others).toEqual([]);
    // A site that is down is one concern. Its last report of its partition does not add another one.
    expect(words(silentFor(61_000, 'down'))).toEqual(['site a']);
  });

  it('is a site that is heard and mute, or the partition of the member; not that of another group', () => {
    const mute = (serial: string) =>
      ({ kind: 'turn', partition: 'p', serial, errorCode: 'PARTITION_STALLED' }) as const;
    const rest = { message: 'it stands still', sinceMs: OWN.monotonicMs - 7_000, hint: 'Look.' };
    const told = (...serials: string[]) =>
      of({}, {}, (site) => {
        const mutenesses = serials.map((serial) => ({ ...mute(serial), ...rest }));
        return site === 'a' ? { ...allUp(site)!, mutenesses } : allUp(site);
      });
    const concern = {
      site: 'a',
      errorCode: 'PARTITION_STALLED',
      message: 'it stands still',
      ageMs: 7_000,
      hint: 'Look.',
    };
    expect(told('')).toEqual([{ kind: 'site', ...concern }]);
    expect(told(group.members[0]!.serial)).toEqual([{ kind: 'partition', ...concern }]);
    expect(told('serial-of-another-group')).toEqual([]);
  });

  it.each([
    [{ low: 0.4, high: 0.6 }, 'so it gets no lease'],
    [{ low: 1.4, high: 1.6 }, '1.40 to 1.60'],
    [{ low: 0.4, high: 1.6 }, undefined],
  ])('is a clock of another speed than this coordinator has: %o', (clockRate, expected) => {
    const found = of({}, {}, (site) => ({ ...allUp(site)!, ...(site === 'b' ? { clockRate } : {}) }));
    expect(found).toEqual(
      expected === undefined
        ? []
        : [
            expect.objectContaining({
              kind: 'clock',
              site: 'b',
              errorCode: 'CLOCK_RATE_DIFFERS',
              message: expect.stringContaining(expected),
            }),
          ],
    );
  });

  it('is a name that two objects have, by the active member, and by the token of a standby', () => {
    const telling = (name: string, rest: Partial<MemberState>) =>
      of({}, {}, (site) => {
        const seen = allUp(site)!;
        const members = seen.state!.members.map((one) => (site === name ? { ...one, ...rest } : one));
        return { ...seen, state: { ...seen.state!, members } };
      });
    const counts = { sharedIdObjects: 2, sharedLabelObjects: 3, strayHalfObjects: 1 };
    const [concern, ...others] = telling('a', { ...counts, namesakeObjects: 5 });
    expect(concern).toMatchObject({ kind: 'names', site: '', errorCode: 'NAMES_SHARED' });
    for (const told of ['2 share a CKA_ID', '3 share a label', '1 are public keys'])
      expect(concern!.message).toContain(told);
    expect(others).toEqual([]);
    // Every member has the same objects, and the active member says so.
    expect(words(telling('b', counts))).toEqual([]);
    expect(words(telling('b', { namesakeObjects: 1 }))).toEqual(['names b NAMES_SHARED']);
  });

  it('is a planner that cannot look at this group, or at any', () => {
    const trouble = (name: string) => ({
      group: name,
      error: new AntipodeError('DATABASE_UNAVAILABLE', 'disk full'),
      sinceMs: 45_000,
    });
    const both = of({}, { troubles: [trouble(''), trouble('payments'), trouble('cards')] });
    expect(both).toMatchObject([
      { kind: 'planning', errorCode: 'DATABASE_UNAVAILABLE', message: 'disk full', ageMs: 5_000 },
      { kind: 'planning', errorCode: 'DATABASE_UNAVAILABLE' },
    ]);
  });

  it('is a hook that was not told where this group is served', () => {
    const hook = { hook: 'dns', epoch: 2n, message: '[HOOK_FAILED] hook dns gave no answer: away', sinceMs: 20_000 };
    const hooks = [
      { ...hook, group: 'payments' },
      { ...hook, group: 'cards' },
    ];
    const message = 'hook dns gave no answer: away';
    expect(of({}, { hooks })).toEqual([{ kind: 'hook', site: '', errorCode: 'HOOK_FAILED', message, ageMs: 30_000 }]);
  });

  it('is a coordinator that does not lead, and hears nobody', () => {
    expect(words(of({}, { isLeader: false }))).toEqual(['leader']);
  });

  it('has no endless age for a stamp that lies ahead', () => {
    const [concern] = of({ failing: [{ intent: full(), sinceMs: NOW_MS + 5 }] });
    expect(Number.isSafeInteger(concern?.ageMs)).toBe(true);
  });
});
