import { GetStatusResponseSchema } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import {
  approvalLines,
  automaticMoves,
  awaitedOfficers,
  certificateWarnings,
  isDegraded,
  notableOf,
  statusText,
} from './status.ts';

const status = (init: MessageInitShape<typeof GetStatusResponseSchema>) =>
  create(GetStatusResponseSchema, { coordinator: 'main', version: '1', isLeader: true, isQueueUp: true, ...init });
const site = (state: string, errorCode = '') => ({
  site: 'a',
  state,
  partitions: [
    { name: 'main', errorCode: '', identitySha256: 'ab' },
    { name: 'scratch', errorCode, identitySha256: 'cd' },
  ],
});

it('a mute site is shown with the way in which it is, and what to do, and degrades the whole', () => {
  const partitions = [
    { name: 'main', serial: 's1', identitySha256: 'ab' },
    { name: 'other', serial: 's2', identitySha256: 'cd' },
    { name: 'new' },
  ];
  const rest = { kind: 'turn', partition: 'main', serial: 's1', ageMs: 61_000n, hint: 'Look in the log.' };
  const mutenesses = [{ ...rest, errorCode: 'PARTITION_STALLED', message: 'work stands still' }];
  const mute = status({ sites: [{ site: 'a', state: 'mute', partitions, mutenesses }] });
  const text = statusText(mute);
  expect(text).toMatch(/a +mute +.*main PARTITION_STALLED, other ok, new not initialised +PARTITION_STALLED/);
  expect(text).toContain(
    'Site a is heard and does not do its work (PARTITION_STALLED, for 61.0 s): work stands still.\n  Look in the log.',
  );
  expect(isDegraded(mute)).toBe(true);
});

it('a queue that delivers nothing is shown as another fault than one that is away', () => {
  const head = (isQueueMute: boolean) => statusText(status({ isQueueUp: false, isQueueMute })).split('\n')[0];
  expect([head(true), head(false)]).toEqual([
    'coordinator main 1 (the queue takes wake-ups and delivers none: slower, nothing lost)',
    'coordinator main 1 (queue unavailable: slower, nothing lost)',
  ]);
});

it('a partition that cannot be used is shown with its error, and degrades the whole', () => {
  const refused = status({ sites: [site('up', 'PIN_REFUSED')] });
  expect(statusText(refused)).toMatch(/a +up +.*main ok, scratch PIN_REFUSED/);
  expect([isDegraded(refused), isDegraded(status({ sites: [site('up')] }))]).toEqual([true, false]);
});

it.each(['suspect', 'down', 'unknown'])('the last word of a site that is %s is not shown as true now', (state) => {
  const identitySha256 = 'ab';
  const partitions = [
    { name: 'main', identitySha256, serial: 's1', awaitingOfficer: [{ group: 'payments', version: 2 }] },
  ];
  const lost = [{ serial: 's1', ageMs: 90_000n }];
  const of = (now: string) => {
    const approvalRules = [{ group: '', required: 1, operators: ['alice', 'bob'] }];
    const certificate = { certificateEndsMs: 1n };
    const silent = { site: 'a', state: now, silenceMs: 12_000n, partitions, lostPartitions: lost };
    const all = { ...silent, approvalRules, certificate };
    const answer = status({ sites: [all], groups: [{ members: [{ site: 'a' }] }] });
    return [statusText(answer), ...certificateWarnings(answer, 0)].join('\n');
  };
  const [before, after] = [of('up'), of(state)];
  expect(before).toMatch(/main ok(?! \()/);
  for (const text of ['although its agent answers', 'site a need approvals', 'site a must trust', 'site a: '])
    expect([before.includes(text), after.includes(text)]).toEqual([true, false]);
  expect(after).toContain('main ok (12.0 s ago)');
  expect(after).toContain('was gone when site a was last heard, 12.0 s ago');
  for (const text of ['need approvals', 'must trust', ': '])
    expect(after).toContain(`site a (${state}) ${text}`.replace(' : ', ': '));
});

it('a site that was never heard is not said to guard nothing', () => {
  const lines = approvalLines(
    status({ sites: [{ site: 'a', state: 'unknown' }], groups: [{ members: [{ site: 'a' }] }] }),
  );
  expect(lines).toEqual(['Site a has not said yet whether it guards anything by approvals.']);
});

it('an automatic failover is shown with why it chose its target, while it holds up the next one', () => {
  const outcome = (reason: string) =>
    ({ case: 'failover', value: { fromSite: 'a', toSite: 'b', reason, chosenFor: 'newest' } }) as const;
  const moved = (reason: string, of = 'done') =>
    status({
      groups: [{ spec: { name: 'payments' }, automaticFailoverPausedUntilMs: 5n }, { spec: { name: 'cards' } }],
      operations: ['payments', 'cards'].map((group) => ({
        kind: 'failover',
        group,
        status: of,
        outcome: outcome(reason),
      })),
    });
  const chosen = 'site b, because it has the newest generation.';
  expect(automaticMoves(moved('automatic'))).toEqual([
    `Group payments: the automatic failover from site a chose ${chosen}`,
  ]);
  expect(automaticMoves(moved('operator'))).toEqual([]);
  expect(automaticMoves(moved('automatic', 'open'))).toHaveLength(2);
  expect(statusText(moved('automatic'))).toContain(chosen);
});

it('a site that is not up is shown with what the others see of it, and since when', () => {
  const observations = [
    { observer: 'b', reached: false, ageMs: 1_000n, sinceMs: 9_000n },
    { observer: 'c', reached: true, ageMs: 1_000n, sinceMs: 60_000n },
  ];
  const text = (state: string) => statusText(status({ sites: [{ ...site(state), observations, stateAgeMs: 4_000n }] }));
  expect(text('suspect')).toMatch(/a +suspect +4\.0 s/);
  expect(text('suspect')).toContain(
    'Site a is suspect, as others see it: b does not reach it (for 9.0 s, last tried 1.0 s ago); c reaches it',
  );
  expect(text('up')).toContain('Site a is up, as others see it: b does not reach it');
  expect(text('up')).not.toContain('c reaches it');
});

it('an HSM that is gone while its agent lives is shown with since when', () => {
  const partitions = [{ name: 'main', serial: 's1', errorCode: 'HSM_UNAVAILABLE' }];
  const lostPartitions = [{ serial: 's1', ageMs: 12_000n }];
  expect(statusText(status({ sites: [{ ...site('up'), partitions, lostPartitions }] }))).toContain(
    'The HSM of partition main at site a has been gone for 12.0 s, although its agent answers.',
  );
});

it('a partition whose token does not keep what it promises is shown as weak, with what it does not keep', () => {
  const partitions = [{ name: 'main', identitySha256: 'ab', unenforced: ['extractable', 'copyable'] }];
  const text = statusText(status({ sites: [{ site: 'a', state: 'up', partitions }] }));
  expect(text).toMatch(/main weak \(extractable copyable\)/);
});

it('sites that guard their actions are named with their operators, and members that guard nothing too', () => {
  const approvalRules = [
    { group: '', required: 2, operators: ['alice', 'bob', 'carol'] },
    { group: 'payments', required: 3, operators: ['alice', 'bob', 'carol', 'dave'] },
  ];
  const sites = [{ site: 'a', approvalRules }, { site: 'b', approvalRules }, { site: 'c' }, { site: 'w' }];
  const groups = [{ members: ['a', 'b', 'c'].map((site) => ({ site })) }];
  expect(approvalLines(status({ sites, groups }))).toEqual([
    'Guarded actions at site a, b need approvals: 2 of alice, bob, carol, without the requester.',
    'Guarded actions at site a, b need approvals: group payments: 3 of alice, bob, carol, dave, without the requester.',
    expect.stringMatching(/^Site c guards nothing by approvals: /),
  ]);
  expect(isDegraded(status({ sites: [{ site: 'c', state: 'up' }] }))).toBe(false);
});

it('says what comes next while no site has joined, and while there is no group', () => {
  expect(statusText(status({}))).toMatch(/^No site has joined\. .*antipode site token/m);
  expect(statusText(status({}))).not.toContain('SILENT FOR');
  const joined = statusText(status({ sites: [{ site: 'a', state: 'up' }] }));
  expect(joined).toMatch(/^There is no group\. .*antipode group create/m);
  expect(joined).not.toContain('No site has joined');
  const grouped = statusText(status({ sites: [{ site: 'a' }], groups: [{}] }));
  expect(grouped).not.toContain('There is no group');
});

it('says it of several sites in the plural', () => {
  const sites = [{ site: 'a' }, { site: 'b' }];
  const groups = [{ members: sites }];
  expect(approvalLines(status({ sites, groups })).map((line) => line.split(' by approvals')[0])).toEqual([
    'Sites a, b guard nothing',
  ]);
});

it('a security officer who has to act is named with the site, the version and the command', () => {
  const partitions = [{ name: 'main', awaitingOfficer: [{ group: 'payments', version: 2 }] }, { name: 'other' }];
  const lines = awaitedOfficers(status({ sites: [{ site: 'b', partitions }] }).sites);
  expect(lines).toHaveLength(1);
  for (const part of ['site b', 'version 2 of group payments', 'partition trust-domain-key main'])
    expect(lines[0]).toContain(part);
  expect(statusText(status({ sites: [{ site: 'b', partitions }] }))).toContain(lines[0]);
});

it.each(['suspect', 'down', 'unknown'])('a site that is %s degrades the whole', (state) => {
  expect(isDegraded(status({ sites: [site(state)] }))).toBe(true);
});

it.each(['partially-protected', 'failing', 'lagging', 'damaged', 'unprotected', 'unreadable'])(
  'a group that is %s degrades the whole',
  (protection) => {
    expect(isDegraded(status({ groups: [{ protection }] }))).toBe(true);
    expect(isDegraded(status({ groups: [{ protection: 'protected' }] }))).toBe(false);
  },
);

it('a coordinator that does not lead says so, and degrades the whole', () => {
  const follower = status({ isLeader: false });
  expect([isDegraded(follower), isDegraded(status({}))]).toEqual([true, false]);
  expect(statusText(follower)).toContain('does not lead');
});

it('a coordinator that cannot plan says since when and why, and degrades the whole', () => {
  const planningTroubles = [
    {
      group: '',
      errorCode: 'DATABASE_UNAVAILABLE',
      message: '[DATABASE_UNAVAILABLE] disk full',
      ageMs: 20_000n,
      hint: 'h',
    },
    { group: 'payments', message: 'cannot be read' },
  ];
  const stuck = status({ planningTroubles });
  expect([isDegraded(stuck), isDegraded(status({}))]).toEqual([true, false]);
  expect(statusText(stuck)).toContain('Nothing has been planned for any group for 20.0 s');
  expect(statusText(stuck)).toContain('[DATABASE_UNAVAILABLE] disk full\n  h');
  expect(statusText(stuck)).toContain('Nothing has been planned for group payments');
});

it('shows a clock that was set, by how much and when', () => {
  const text = statusText(status({ clockStep: { byMs: -21_600_000n, ageMs: 180_000n } }));
  expect(text).toContain('set back by 6 h, 3 min ago');
  expect(statusText(status({ clockStep: { byMs: 5_000n, ageMs: 1n } }))).toContain('set ahead by 5.0 s');
});

it('a group that is not whole is shown with the command that says what to do', () => {
  const group = (uncaptured: { reason: string }[]) => ({ spec: { name: 'payments' }, newest: { uncaptured } });
  const hints = (uncaptured: { reason: string }[]): string[] =>
    statusText(status({ groups: [group(uncaptured)] }))
      .split('\n')
      .filter((line) => line.includes('`antipode group show payments`'));
  expect([[], [{ reason: 'unextractable' }]].map((uncaptured) => hints(uncaptured).length)).toEqual([0, 1]);
});

it('a group says how many of its keys are not protected, where that is known', () => {
  const group = {
    spec: { name: 'payments' },
    newest: { uncaptured: [{ reason: 'unextractable' }, { reason: 'unextractable' }] },
    protectedKeys: 9,
    unprotectedKeys: 1,
  };
  const text = statusText(status({ groups: [group] }));
  expect(text).toContain('1 of 10 keys of group payments not protected; 2 objects of group payments not captured');
  expect(text.split('\n').find((line) => line.startsWith('payments'))).toContain('1 of 10');
  const { protectedKeys, unprotectedKeys, ...older } = group;
  expect(statusText(status({ groups: [older] }))).not.toContain('keys of group');
});

it('what is parked is shown with what a person must do', () => {
  const parked = status({
    operations: [
      { id: '0123456789', kind: 'drill', status: 'parked', errorCode: 'X', errorMessage: 'why', hint: 'do it' },
    ],
  });
  expect(statusText(parked)).toContain('why\n  do it');
  expect(statusText(status({ operations: [{ kind: 'drill', status: 'done' }] }))).not.toContain('drill');
});

it('says whose certificate ends within 30 days, whose authority, and whose new files are not used', () => {
  const nowMs = Date.UTC(2026, 0, 1);
  const inDays = (days: number): bigint => BigInt(nowMs + days * 86_400_000 + 1);
  const warnings = certificateWarnings(
    status({
      certificate: { certificateEndsMs: inDays(200), authorityEndsMs: inDays(29) },
      sites: [
        { site: 'a', certificate: { certificateEndsMs: inDays(30), authorityEndsMs: inDays(400) } },
        {
          site: 'b',
          certificate: {
            certificateEndsMs: inDays(1),
            authorityEndsMs: inDays(400),
            problem: 'k: is not the key of c',
          },
        },
        { site: 'c', certificate: { certificateEndsMs: inDays(-2), authorityEndsMs: inDays(400) } },
        { site: 'old' },
      ],
    }),
    nowMs,
  );
  expect(warnings).toEqual([
    'coordinator main: the authority of its certificate ends in 29 days, on 2026-01-30',
    'site b: new certificate files are not used: k: is not the key of c',
    'site b: its certificate ends in 1 day, on 2026-01-02',
    'site c: its certificate ended on 2025-12-30',
  ]);
});

it('shows each doubt about a group: what failed, where, since when, why, and the hint', () => {
  const concerns = [
    { kind: 'replication', site: 'b', errorCode: 'HSM_FULL', message: 'no room', ageMs: 90_000n, hint: 'make room' },
    { kind: 'site', site: 'c', message: 'site c is down: silent', ageMs: 6_000n },
  ];
  const text = statusText(status({ groups: [{ spec: { name: 'payments' }, protection: 'failing', concerns }] }));
  expect(text).toContain(
    'Group payments: the last replication failed at site b, since 90.0 s: [HSM_FULL] no room.\n  make room',
  );
  expect(text).toContain('Group payments: site c is down: silent, since 6.0 s.');
});

it('shows a waiting automatic failover, its reason, the loss and the one command', () => {
  const ref = (generation: bigint) => ({ epoch: 1n, generation });
  const failoverWait = {
    toSite: 'c',
    generations: [ref(5n)],
    losses: [ref(5n), ref(6n)],
    holders: [
      { site: 'b', trouble: 'HSM_UNAVAILABLE' },
      { site: 'd', trouble: 'down' },
    ],
    ageMs: 41_000n,
  };
  const text = statusText(status({ groups: [{ spec: { name: 'payments' }, failoverWait }] }));
  expect(text).toContain('has been waiting for 41.0 s. No member that can serve has the acknowledged generations 5');
  expect(text).toContain('They are at: b (HSM_UNAVAILABLE), d (down)');
  expect(text).toContain(
    '`antipode failover payments --to c --accept-loss` moves the group now and loses generations 5, 6',
  );
});

it('a contradiction, a quarantine and a pause of automatic failover are named, with the way on', () => {
  const group = (rest: object) =>
    status({ groups: [{ spec: { name: 'payments' }, protection: 'protected', ...rest }] });
  expect(statusText(group({ contradiction: 'site b is in epoch 2' }))).toMatch(
    /site b is in epoch 2\.\n.*antipode group reseat payments --dry-run/,
  );
  const quarantined = group({ members: [{ site: 'b', quarantine: 'its journal is an older copy' }] });
  expect(statusText(quarantined)).toMatch(
    /site b is in quarantine: its journal is an older copy\.\n.*`antipode group reseat payments`/,
  );
  expect([isDegraded(quarantined), isDegraded(group({}))]).toEqual([true, false]);
  const paused = group({ automaticFailoverPausedUntilMs: BigInt(Date.UTC(2026, 0, 2)) });
  expect(statusText(paused)).toMatch(
    /no automatic failover before 2026-01-02T00:00:00\.000Z[\s\S]*`antipode failover payments`/,
  );
});

it('a failure is one line until an operation of its kind has ended well at the same place, and what is under way always is', () => {
  const of = (id: string, kind: string, site: string, state: string) => ({
    id,
    kind,
    site,
    group: 'payments',
    status: state,
  });
  const shown = (...operations: ReturnType<typeof of>[]): string[] =>
    notableOf(status({ operations }).operations).map(({ id }) => id);
  const failed = [of('3', 'replication', 'c', 'failed'), of('2', 'replication', 'c', 'failed')];
  expect(shown(of('5', 'replication', 'c', 'open'), of('4', 'replication', 'b', 'done'), ...failed)).toEqual([
    '5',
    '3',
  ]);
  expect(shown(of('4', 'replication', 'c', 'done'), ...failed)).toEqual([]);
  expect(shown(of('4', 'replication', 'c', 'dismissed'), ...failed)).toEqual(['3']);
  expect(shown(of('4', 'capture', 'b', 'done'), of('1', 'capture', 'a', 'failed'))).toEqual([]);
  expect(shown(of('4', 'capture', 'b', 'done'), of('1', 'capture', 'a', 'parked'))).toEqual(['1']);
});

it('the coordinators are shown where there are several, and one that no site reaches degrades the whole', () => {
  const main = {
    coordinator: 'main',
    address: 'm:1',
    state: 'leads',
    stateAgeMs: 60_000n,
    silenceMs: 0n,
    reachedBy: ['a'],
  };
  const south = { coordinator: 'south', address: 's:1', stateAgeMs: 9_000n, silenceMs: 300n };
  const text = (other: object) => statusText(status({ coordinators: [main, { ...south, ...other }] }));
  expect(statusText(status({ coordinators: [main] }))).not.toContain('COORDINATOR');
  expect(text({ state: 'stands-by', reachedBy: ['a', 'b'] })).toMatch(
    /main +leads +60\.0 s +- +m:1\nsouth +stands-by +9\.0 s +300 ms +s:1/,
  );
  expect(text({ state: 'stands-by', reachedBy: ['a'], missedBy: ['b', 'c'] })).toContain(
    'Coordinator south is not reached from site b, c, but it is from site a.',
  );
  expect(text({ state: 'silent', missedBy: ['a'] })).toContain('No site reaches coordinator south');
  const states = ['stands-by', 'silent'].map((state) =>
    isDegraded(status({ coordinators: [main, { ...south, state }] })),
  );
  expect(states).toEqual([false, true]);
});

it('an agent of a retired site that calls is shown, and degrades the whole; one that is quiet is not', () => {
  const forgotten = { site: 'z', operator: 'alice', forgottenMs: 0n };
  const calling = { address: 'z:1', peer: '192.0.2.1:9', sinceMs: 61_000n, lastMs: 900n, heartbeats: 60 };
  const of = (one: object) => status({ forgottenSites: [{ ...forgotten, ...one }] });
  expect([isDegraded(of({ calling })), isDegraded(of({}))]).toEqual([true, false]);
  expect(statusText(of({ calling }))).toContain('The agent of site z, which alice has retired on 1970-01-01, calls');
  expect(statusText(of({}))).not.toContain('retired');
});
