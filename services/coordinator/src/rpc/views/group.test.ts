import { FailoverPolicy, MemberRole } from '@antipode/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { specMessage } from '../../groups/group-spec.ts';
import type { Generation, Group, GroupSpec } from '../../model.ts';
import type { SiteStatus, SiteView } from '../../sites/detector.ts';
import { type Said, siteView } from '../../testing/site-views.ts';
import { type GroupFacts, groupState, pausedUntilMs } from './group.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const RPO_MS = 300_000;
const SPEC: GroupSpec = {
  name: 'payments',
  members: ['a', 'b', 'c'].map((site) => ({ site, serial: `serial-${site}` })),
  scratch: [{ site: 'c', serial: 'scratch-c' }],
  filter: { excludeIds: ['0a'], excludeLabels: ['tmp-*'], excludeClasses: ['data'], ignoreCase: true },
  rpoMs: RPO_MS,
  drillCron: '0 3 * * 0',
  scrubMs: 604_800_000,
  failoverPolicy: 'automatic',
};
const GROUP: Group = {
  spec: SPEC,
  members: SPEC.members.map((seat, at) => ({
    ...seat,
    role: at === 0 ? 'active' : 'standby',
    divergent: at,
    unaccounted: at * 2,
  })),
  epoch: 3n,
  owner: 'a',
  highestEpoch: 3n,
  highestOwner: 'a',
  domainKeyVersion: 2,
  highestVersion: 2,
  rotateAbove: 0,
  firstEpoch: 1n,
  joining: [],
  recoveryTimeMs: 900,
  createdMs: 0,
  revision: 1,
};
const CONCERN = { kind: 'capture', site: 'a', errorCode: 'HSM_FULL', message: 'no room', ageMs: 4_321.5 } as const;
const UNCAPTURED = { objectId: '0b', kind: 'private-key/rsa', reason: 'unextractable' };
const generation = (ageMs: number, rest: Partial<Generation> = {}): Generation => ({
  epoch: 3n,
  number: 8n,
  manifestDigest: 'aa',
  contentDigest: 'bb',
  objectCount: 5,
  domainKeyVersion: 2,
  uncaptured: [],
  recoveryPointMs: NOW_MS - ageMs,
  trace: {},
  ...rest,
});
/** A site that is up, and whose partition can be used. */
const serving = (
  site: string,
  {
    status = 'up',
    serial = `serial-${site}`,
    errorCode = '',
    members = [],
  }: { status?: SiteStatus; serial?: string; errorCode?: string; members?: NonNullable<Said['members']> } = {},
): SiteView => siteView(site, { partitions: [{ serial, errorCode }], members }, { status });
const asIs = (atMs: number): number => atMs;
const facts = (rest: Partial<GroupFacts> = {}): GroupFacts => ({
  group: GROUP,
  newest: generation(1_000),
  acknowledged: [
    { ...generation(1_000), site: 'b' },
    { ...generation(60_000, { number: 7n }), site: 'c' },
  ],
  contradiction: undefined,
  open: [],
  refused: [],
  lastPassedMs: NOW_MS - 5,
  scrubs: [],
  leaseRemainingMs: 12_345.6,
  view: (site) => (site === 'c' ? undefined : serving(site)),
  nowMs: NOW_MS,
  toWallMs: asIs,
  ...rest,
});

describe('the state of a group', () => {
  it('has no age for a recovery point that lies ahead: it is not as new as can be, but unknown', () => {
    const ahead = { ...generation(-6 * 3_600_000), site: 'b' };
    const lone = groupState(facts({ acknowledged: [ahead] }));
    expect([lone.protection, lone.recoveryPointAgeMs]).toEqual(['unprotected', undefined]);
    const both = groupState(facts({ acknowledged: [ahead, { ...generation(5), site: 'c' }] }));
    expect([both.protection, both.recoveryPointAgeMs]).toEqual(['lagging', undefined]);
  });

  it('names what each standby has acknowledged by epoch, number and digest', () => {
    const names = groupState(facts()).members!.map(
      ({ site, acknowledgedEpoch, acknowledgedGeneration, acknowledgedDigest }) => [
        site,
        acknowledgedEpoch,
        acknowledgedGeneration,
        acknowledgedDigest,
      ],
    );
    const digest = Uint8Array.of(0xaa);
    expect(names).toEqual([
      ['a', 0n, 0n, new Uint8Array()],
      ['b', 3n, 8n, digest],
      ['c', 3n, 7n, digest],
    ]);
  });

  it('does not count what a standby has acknowledged whose partition is known to be unusable', () => {
    for (const errorCode of ['HSM_WORKER_LOST', 'IDENTITY_MISSING', 'DOMAIN_KEY_MISSING']) {
      const state = groupState(facts({ view: (site) => serving(site, site === 'c' ? { errorCode } : {}) }));
      expect([state.protection, state.recoveryPointAgeMs]).toEqual(['lagging', undefined]);
      expect(state.members).toMatchObject([
        { partitionErrorCode: '' },
        { partitionErrorCode: '', acknowledgedGeneration: 8n },
        { partitionErrorCode: errorCode, acknowledgedGeneration: 0n, acknowledgedEpoch: 0n },
      ]);
      expect(state.members?.[2]?.recoveryPointAgeMs).toBeUndefined();
      const none = groupState(facts({ view: (site) => serving(site, site === 'a' ? {} : { errorCode }) }));
      expect(none.protection).toBe('unprotected');
    }
  });

  it('is unprotected where there are keys and none of them is captured, whatever else is', () => {
    const { objectId, reason } = UNCAPTURED;
    const lacking = (kinds: readonly string[], keyCount?: number) => {
      const uncaptured = kinds.map((kind) => ({ objectId, reason, kind }));
      const { protection, protectedKeys, unprotectedKeys } = groupState(
        facts({ newest: generation(1_000, { uncaptured, keyCount }) }),
      );
      return [protection, protectedKeys, unprotectedKeys];
    };
    expect(lacking(['private-key/rsa', 'secret-key/aes', 'certificate'], 0)).toEqual(['unprotected', 0, 2]);
    expect(lacking(['private-key/rsa', 'secret-key/aes', 'certificate'], 1)).toEqual(['partially-protected', 1, 2]);
    expect(lacking(['certificate', 'public-key/rsa'], 0)).toEqual(['partially-protected', 0, 0]);
    expect(lacking([], 0)).toEqual(['protected', 0, 0]);
    // A key that is reported, and of which the generation has an earlier form, is one key.
    const kept = ['private-key/rsa', 'secret-key/aes', 'certificate'].map((kind) => ({
      ...UNCAPTURED,
      kind,
      isKept: true,
    }));
    const { protection, protectedKeys, unprotectedKeys } = groupState(
      facts({ newest: generation(1_000, { uncaptured: [...kept, UNCAPTURED], keyCount: 5 }) }),
    );
    expect([protection, protectedKeys, unprotectedKeys]).toEqual(['partially-protected', 3, 3]);
    // Of a generation that an earlier version has recorded.
    expect(lacking(['private-key/rsa'])).toEqual(['partially-protected', undefined, undefined]);
  });

  it('is contradicted where database and agents do not agree, whatever is protected, and says how', () => {
    const contradiction = { kind: 'database-behind', message: 'site b is in epoch 4' } as const;
    const state = groupState(facts({ contradiction }));
    expect([state.protection, state.contradiction]).toEqual(['contradicted', 'site b is in epoch 4']);
    expect(groupState(facts()).contradiction).toBe('');
  });

  it('is held where the last capture of the active member would have lost too much, and not for a standby', () => {
    const heldAt = (name: string) => {
      const members = [{ group: 'payments', heldObjects: 6 }];
      const view = (site: string): SiteView => serving(site, site === name ? { members } : {});
      const state = groupState(facts({ view }));
      return [state.protection, state.members?.map(({ heldObjects }) => heldObjects)];
    };
    expect(heldAt('a')).toEqual(['held', [6, 0, 0]]);
    expect(heldAt('b')).toEqual(['protected', [0, 6, 0]]);
  });

  it.each([
    ['partially-protected', { sharedIdObjects: 2 }],
    ['partially-protected', { sharedLabelObjects: 2 }],
    // A search finds the same at every site.
    ['protected', { strayHalfObjects: 1 }],
  ])('is %s where names are shared: %o', (word, counts) => {
    const members = [{ group: 'payments', ...counts }];
    const view = (site: string): SiteView => serving(site, site === 'a' ? { members } : {});
    const concern = { ...CONCERN, kind: 'names' as const };
    const state = groupState(facts({ view, concerns: [concern] }));
    expect(state.protection).toBe(word);
    expect(state.members?.find(({ site }) => site === 'a')).toMatchObject(counts);
    expect(state.concerns).toHaveLength(1);
  });

  it('is partially protected where a member could not restore an object, which is named with its reason', () => {
    const refused = [{ objectId: 'a1', kind: 'private-key/ec', code: 'HSM_REFUSED', returnValue: 'CKR_CURVE' }];
    const without = [{ group: 'payments', refused, refusedObjects: 1 }];
    const view = (site: string): SiteView => serving(site, site === 'b' ? { members: without } : {});
    const { protection, members } = groupState(facts({ view }));
    expect(protection).toBe('partially-protected');
    expect(members?.map(({ site, refusedObjects }) => [site, refusedObjects])).toContainEqual(['b', 1]);
    expect(members?.find(({ site }) => site === 'b')?.refused).toMatchObject(refused);
  });

  it('that a site which is not heard could not restore are shown as it said last, and when', () => {
    const refused = [{ objectId: 'a1', kind: 'private-key/ec', code: 'HSM_REFUSED', returnValue: 'CKR_CURVE' }];
    const last = { site: 'b', refused, objects: 1, atMs: NOW_MS - 5_000 };
    const unheard = facts({
      acknowledged: ['b', 'c'].map((site) => ({ ...generation(1_000), site })),
      view: (site) => (site === 'b' ? undefined : serving(site)),
      refused: [last],
    });
    const { protection, members } = groupState(unheard);
    expect(protection).toBe('partially-protected');
    const b = members?.find(({ site }) => site === 'b');
    expect(b).toMatchObject({ refused, refusedObjects: 1, refusedAgeMs: 5_000n });
    // Its present word counts more than an earlier one.
    const heard = groupState({ ...unheard, view: (site) => serving(site, { members: [{ group: 'payments' }] }) });
    expect(heard.members?.find(({ site }) => site === 'b')).toMatchObject({ refusedObjects: 0 });
  });

  it('names what objects of the active member have and no replica gets, of no other member', () => {
    const notCarried = [{ objectId: 'a1', kind: 'secret-key/aes', attributes: ['CKA_TRUSTED'] }];
    const states = [{ group: 'payments', notCarried, notCarriedObjects: 2, notCarriedWeighty: 1 }];
    const { members } = groupState(facts({ view: (site) => serving(site, { members: states }) }));
    expect(members?.map(({ site, notCarriedObjects: objects }) => [site, objects ?? 0])).toContainEqual(['a', 2]);
    expect(members?.filter((member) => member.notCarried !== undefined)).toMatchObject([
      { site: 'a', notCarried, notCarriedWeighty: 1 },
    ]);
  });

  it('has what speaks against it, with the hint of the place that raised it or of the catalogue', () => {
    const { concerns } = groupState(facts({ concerns: [CONCERN, { ...CONCERN, hint: 'do this' }] }));
    expect(concerns).toMatchObject([
      { kind: 'capture', site: 'a', errorCode: 'HSM_FULL', message: 'no room', ageMs: 4_322n },
      { hint: 'do this' },
    ]);
    expect(concerns?.[0]?.hint).toContain('Enlarge the partition');
  });

  it('says how old the last word of a member and of a witness is, and nothing of one that was not heard', () => {
    const witnessed = { ...GROUP, spec: { ...SPEC, witnesses: ['w'] } };
    const view = (site: string): SiteView | undefined =>
      site === 'c' ? undefined : { ...serving(site, { status: 'down' }), lastWallMs: NOW_MS - 90_000 };
    const { members, witnesses } = groupState(facts({ group: witnessed, view }));
    expect([...members!, ...witnesses!].map(({ reportAgeMs }) => reportAgeMs)).toEqual([
      90_000n,
      90_000n,
      undefined,
      90_000n,
    ]);
  });

  it('shows times by the clock on the wall', () => {
    const shown = groupState(
      facts({
        toWallMs: (atMs) => atMs + 7,
        scrubs: [{ group: 'payments', site: 'b', startedMs: 10, errorCode: '', failures: 0 }],
      }),
    );
    expect(shown.lastProvenMs).toBe(BigInt(NOW_MS + 2));
    expect(shown.members?.find(({ site }) => site === 'b')?.lastScrubMs).toBe(17n);
    expect(shown.newest?.captureStartedMs).toBe(BigInt(NOW_MS - 1_000 + 7));
  });

  it('has the age of its most backward standby, and each member its own', () => {
    const { recoveryPointAgeMs, members, protection, activeSite } = groupState(facts());
    expect({ recoveryPointAgeMs, protection, activeSite }).toEqual({
      recoveryPointAgeMs: 60_000n,
      protection: 'protected',
      activeSite: 'a',
    });
    expect(members).toMatchObject([
      { site: 'a', role: MemberRole.ACTIVE, siteState: 'up', leaseRemainingMs: 12_346n, divergentObjects: 0 },
      {
        site: 'b',
        role: MemberRole.STANDBY,
        acknowledgedGeneration: 8n,
        recoveryPointAgeMs: 1_000n,
        divergentObjects: 1,
        unaccountedObjects: 2,
      },
      {
        site: 'c',
        siteState: 'unknown',
        acknowledgedGeneration: 7n,
        recoveryPointAgeMs: 60_000n,
        leaseRemainingMs: 0n,
      },
    ]);
    expect(members?.[0]).not.toHaveProperty('recoveryPointAgeMs');
  });

  const one = { ...generation(1_000), site: 'b' };
  it.each([
    ['unprotected', { newest: undefined, acknowledged: [] }],
    ['unprotected', { acknowledged: [] }],
    ['unprotected', { acknowledged: [{ ...one, site: 'a' }] }],
    ['lagging', { acknowledged: [one] }],
    ['lagging', { acknowledged: [one, { ...generation(RPO_MS + 1), site: 'c' }] }],
    ['protected', { acknowledged: [one, { ...generation(RPO_MS), site: 'c' }] }],
    ['partially-protected', { newest: generation(0, { uncaptured: [UNCAPTURED] }) }],
    ['failing', { concerns: [CONCERN] }],
    ['failing', { concerns: [CONCERN], newest: generation(0, { uncaptured: [UNCAPTURED] }) }],
    ['lagging', { concerns: [CONCERN], acknowledged: [one] }],
    ['lagging', { newest: generation(0, { uncaptured: [UNCAPTURED] }), acknowledged: [one] }],
    ['unprotected', { group: { ...GROUP, members: GROUP.members.slice(0, 1) } }],
    ['unprotected', { group: { ...GROUP, domainKeyVersion: 0 }, acknowledged: [], view: () => undefined }],
    ['unserved', { group: { ...GROUP, highestEpoch: 4n, highestOwner: 'b' } }],
    ['unserved', { group: { ...GROUP, members: GROUP.members.slice(1) } }],
    ['unserved', { view: () => undefined }],
    ['unserved', { view: (site) => serving(site, { status: 'down' }) }],
    ['unserved', { view: (site) => serving(site, { status: 'suspect' }) }],
    ['unserved', { view: (site) => serving(site, { errorCode: 'PIN_REFUSED' }) }],
    ['unserved', { view: (site) => serving(site, { serial: 'another' }) }],
    ['unserved', { view: (site) => serving(site, { status: 'down' }), acknowledged: [] }],
  ] satisfies [string, Partial<GroupFacts>][])('is called %s by the worst that is true of it: %o', (word, rest) => {
    expect(groupState(facts(rest)).protection).toBe(word);
  });

  it('says nothing that it does not know', () => {
    const state = groupState(
      facts({
        group: { ...GROUP, recoveryTimeMs: undefined },
        newest: undefined,
        acknowledged: [],
        lastPassedMs: undefined,
      }),
    );
    for (const field of ['newest', 'recoveryPointAgeMs', 'lastProvenMs', 'lastRecoveryTimeMs'])
      expect(state).not.toHaveProperty(field);
  });

  it('is never better than what its worst standby holds', () => {
    const ageMs = fc.option(fc.constantFrom(-5, 0, 1, RPO_MS, RPO_MS + 1, RPO_MS * 10), { nil: undefined });
    const role = fc.constantFrom('standby' as const, 'fenced' as const);
    fc.assert(
      fc.property(fc.array(fc.record({ ageMs, role }), { maxLength: 3 }), fc.boolean(), (standbys, isPartial) => {
        const seats = standbys.map(({ role }, at) => ({
          site: `s${at}`,
          serial: `serial-s${at}`,
          role,
          divergent: 0,
          unaccounted: 0,
        }));
        const { protection, recoveryPointAgeMs } = groupState(
          facts({
            group: { ...GROUP, members: [GROUP.members[0]!, ...seats] },
            newest: generation(0, { uncaptured: isPartial ? [UNCAPTURED] : [] }),
            acknowledged: standbys.flatMap(({ ageMs }, at) =>
              ageMs === undefined ? [] : [{ ...generation(ageMs), site: `s${at}` }],
            ),
          }),
        );
        const ages = standbys.map((one) => one.ageMs ?? Number.POSITIVE_INFINITY);
        const worst = ages.length === 0 ? Number.POSITIVE_INFINITY : Math.max(0, ...ages);
        expect(Number(recoveryPointAgeMs ?? Number.POSITIVE_INFINITY)).toBe(worst);
        if (worst > RPO_MS) expect(['lagging', 'unprotected']).toContain(protection);
        expect(protection === 'protected').toBe(worst <= RPO_MS && !isPartial);
      }),
      { numRuns: 500 },
    );
  });

  it('has the last scrub of each member, and is damaged when the active one failed its own', () => {
    const scrub = (site: string, errorCode: string) => ({
      group: 'payments',
      site,
      startedMs: NOW_MS - 7,
      errorCode,
      failures: 0,
    });
    const of = (...scrubs: ReturnType<typeof scrub>[]) => groupState(facts({ scrubs }));
    expect(of(scrub('b', ''), scrub('c', 'DIGEST_MISMATCH')).members).toMatchObject([
      { site: 'a', scrubErrorCode: '' },
      { site: 'b', scrubErrorCode: '', lastScrubMs: BigInt(NOW_MS - 7) },
      { site: 'c', scrubErrorCode: 'DIGEST_MISMATCH', lastScrubMs: BigInt(NOW_MS - 7) },
    ]);
    expect(groupState(facts()).members![0]).not.toHaveProperty('lastScrubMs');
    expect(of(scrub('a', 'OBJECT_UNPROVEN')).protection).toBe('damaged');
    // A replica's damage shows in what it has acknowledged; and who could not be looked at is not damaged.
    expect(of(scrub('b', 'OBJECT_UNPROVEN')).protection).toBe('protected');
    expect(of(scrub('a', 'PIN_REFUSED')).protection).toBe('protected');
  });

  it('shows the declaration as it was made', () => {
    expect(specMessage(SPEC)).toEqual({
      name: 'payments',
      members: SPEC.members,
      scratch: SPEC.scratch,
      filter: SPEC.filter,
      rpoSeconds: 300,
      drillCron: '0 3 * * 0',
      scrubSeconds: 604_800,
      failoverPolicy: FailoverPolicy.AUTOMATIC,
    });
    expect(specMessage({ ...SPEC, failoverPolicy: 'manual' }).failoverPolicy).toBe(FailoverPolicy.MANUAL);
  });
});

it('an automatic failover pauses the next one, and only an automatic one does', () => {
  const move = (reason: string, createdMs: number) => ({ state: { phase: 'complete', reason }, createdMs }) as never;
  const timings = { automaticFailoverGapMs: 3_600_000 };
  expect(pausedUntilMs([move('automatic', 5_000), move('operator', 9_000)], timings)).toBe(3_605_000);
  expect(pausedUntilMs([move('operator', 9_000)], timings)).toBeUndefined();
  // By the clock that people look at.
  const told = groupState(facts({ pausedUntilMs: NOW_MS + 0.4, toWallMs: (atMs) => atMs + 60_000 }));
  expect(told.automaticFailoverPausedUntilMs).toBe(BigInt(NOW_MS + 60_000));
  expect(groupState(facts()).automaticFailoverPausedUntilMs).toBeUndefined();
});

it('shows who has paused the automation, why and for how long; a resumption ends the wait of earlier moves', () => {
  const pause = { sinceMs: NOW_MS - 4_000, operator: 'alice', reason: 'new firmware' };
  const shown = groupState(facts({ group: { ...facts().group, pause } }));
  expect(shown.automationPause).toEqual({ ageMs: 4_000n, operator: 'alice', reason: 'new firmware' });
  expect(groupState(facts())).not.toHaveProperty('automationPause');
  const moves = [{ state: { phase: 'complete', reason: 'automatic' } as { phase: string }, createdMs: 5_000 }];
  const timings = { automaticFailoverGapMs: 3_600_000 };
  expect(
    [undefined, 4_000, 6_000].map((at) => pausedUntilMs(moves, timings, at === undefined ? {} : { resumedMs: at })),
  ).toEqual([3_605_000, 3_605_000, undefined]);
});

it('shows when the next automatic failover is tried, which is ever later, and nothing while somebody serves', () => {
  const timings = { parkedRetryMs: 30_000 };
  const failedMove = { updatedMs: NOW_MS - 10_000, errorCode: 'HSM_REFUSED' };
  const after = (highestEpoch: bigint, spec: Partial<GroupSpec> = {}) =>
    groupState(facts({ group: { ...GROUP, spec: { ...SPEC, ...spec }, highestEpoch }, timings, failedMove }));
  expect(after(4n).failoverRetry).toEqual({ inMs: 20_000n, unservedEpochs: 1n });
  // Three members: four rounds of epochs in vain.
  expect(after(15n).failoverRetry).toEqual({ inMs: 110_000n, unservedEpochs: 12n });
  expect(after(3n).failoverRetry).toBeUndefined();
  expect(after(15n, { failoverPolicy: 'manual' }).failoverRetry).toBeUndefined();
});
