import { FailoverPolicy, GroupSettingsSchema, LeaseLapse, Movement } from '@antipode/protocol';
import { thrown } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { groupOf, SPEC } from '../../testing/group.ts';
import { type FilterEffect, hasOtherFilter, planSettings } from './settings.ts';

const DELETIONS = { retentionMs: 10 * 86_400_000, lossObjects: 5, lossPercent: 10 };
const GROUP = groupOf({ ...SPEC, filter: { ...SPEC.filter, excludeLabels: ['tmp-*'] }, deletions: DELETIONS });
const planned = (settings: MessageInitShape<typeof GroupSettingsSchema>, effect?: FilterEffect) =>
  planSettings(GROUP, create(GroupSettingsSchema, settings), effect);

it('changes what is named, and nothing else', () => {
  const { spec, changes, revision } = planned({ rpoSeconds: 60, drillCron: '0 3 * * 0' });
  expect(spec).toEqual({ ...GROUP.spec, rpoMs: 60_000, drillCron: '0 3 * * 0' });
  expect([changes, revision]).toEqual([['rpo_seconds: 300 -> 60', 'drill_cron: none -> 0 3 * * 0'], 1]);
});

it('has nothing to change where the group is declared like this', () => {
  const same = { rpoSeconds: 300, drillCron: '', failoverPolicy: FailoverPolicy.AUTOMATIC };
  const { spec, changes, needsConfirmation } = planned({ ...same, filter: { excludeLabels: ['tmp-*'] } });
  expect({ spec, changes, needsConfirmation }).toEqual({ spec: GROUP.spec, changes: [], needsConfirmation: false });
});

it.each([
  [false, 'a shorter objective', { rpoSeconds: 60 }],
  [true, 'a longer objective', { rpoSeconds: 600 }],
  [false, 'drills', { drillCron: '0 3 * * 0' }],
  [false, 'a preferred site', { prefer: { sites: ['b'] } }],
  [false, 'a failover by a person', { failoverPolicy: FailoverPolicy.MANUAL }],
  [true, 'another retention', { deletions: { ...DELETIONS, retentionMs: 86_400_000n } }],
  [true, 'other rules', { filter: { excludeLabels: ['tmp-*', 'local-*'] } }],
])('asks a person (%s) about %s', (needsConfirmation, _what, settings) => {
  expect(planned(settings)).toMatchObject({
    needsConfirmation,
    consequences: [expect.any(String), ...planned(settings).consequences.slice(1)],
  });
});

it('asks before the last schedule of drills is taken away', () => {
  const group = groupOf({ ...SPEC, drillCron: '0 3 * * 0' });
  expect(planSettings(group, create(GroupSettingsSchema, { drillCron: '' })).needsConfirmation).toBe(true);
});

it.each([
  ['scrub_seconds', { scrubSeconds: 1 }],
  ['prefer', { prefer: { sites: ['z'] } }],
  ['drill_cron', { drillCron: 'every night' }],
  ['filter.exclude_ids', { filter: { excludeIds: ['0x0a'] } }],
  ['deletions.loss_percent', { deletions: { lossPercent: 101 } }],
])('refuses a value that no declaration may have: %s', (field, settings) => {
  expect(thrown(() => planned(settings))).toMatchObject({ code: 'REQUEST_INVALID', details: { field } });
});

it('refuses automatic failover in a group of two', () => {
  const group = groupOf({ ...SPEC, members: SPEC.members.slice(0, 2), failoverPolicy: 'manual' });
  const settings = create(GroupSettingsSchema, { failoverPolicy: FailoverPolicy.AUTOMATIC });
  expect(thrown(() => planSettings(group, settings))).toMatchObject({
    code: 'REQUEST_INVALID',
    details: { field: 'failover_policy' },
  });
});

describe('other rules', () => {
  const rules = { filter: { excludeLabels: ['tmp-*', 'secret-project-*'] } };
  const effect = (excluded: string[], included: string[]): FilterEffect => ({
    $typeName: 'antipode.v1.FilterChange',
    excluded: { $typeName: 'antipode.v1.MatchedObjects', objects: excluded.length, ckaIds: excluded },
    included: { $typeName: 'antipode.v1.MatchedObjects', objects: included.length, ckaIds: included },
  });
  const text = (...given: Parameters<typeof planned>): string => {
    const { changes, consequences } = planned(...given);
    return [...changes, ...consequences].join('\n');
  };

  it('are counted and never repeated, since they may hold labels of keys', () => {
    expect(text(rules, effect(['0a'], []))).toContain('filter: 1 rule -> 2 rules');
    expect(text(rules, effect(['0a'], []))).not.toContain('secret-project');
  });

  it('say which objects leave the group, that their copies stay, and where', () => {
    const told = text(rules, effect(['0a', '0b'], []));
    for (const part of ['2 objects (CKA_ID 0a, 0b)', 'not deleted anywhere', 'site b, c', 'no longer reach the copies'])
      expect(told).toContain(part);
  });

  it('say which objects leave their site', () => {
    expect(text(rules, effect([], ['0c']))).toContain('1 object (CKA_ID 0c) leave site a');
  });

  it('say that nothing is different, and that nobody knows', () => {
    expect(text(rules, effect([], []))).toContain('No object that is in the active partition now');
    expect(text(rules, { unknown: 'SITE_UNREACHABLE' })).toContain('could not be asked (SITE_UNREACHABLE)');
  });

  it('are the same rules in another order', () => {
    const other = { ...SPEC, filter: { ...SPEC.filter, excludeIds: ['0a', '0b'] } };
    const turned = { ...SPEC, filter: { ...SPEC.filter, excludeIds: ['0b', '0a'] } };
    expect([hasOtherFilter(other, turned), hasOtherFilter(SPEC, other)]).toEqual([false, true]);
  });
});

describe('how keys move', () => {
  const moved = (
    domains: Record<string, string | undefined>,
    movement: Movement = Movement.NATIVE,
    spec: typeof SPEC = SPEC,
  ) => planSettings(groupOf(spec), create(GroupSettingsSchema, { movement }), undefined, ({ site }) => domains[site]);
  const everywhere = Object.fromEntries([...SPEC.members, ...SPEC.scratch].map(({ site }) => [site, 'aa'] as const));

  it('is changed without a question if every partition is in one cloning domain', () => {
    expect(moved(everywhere)).toMatchObject({
      changes: ['movement: sealed -> native'],
      spec: { movement: 'native' },
      needsConfirmation: false,
    });
    expect(planned({ rpoSeconds: 60 }).spec.movement).toBeUndefined();
  });

  it.each([
    ['clones nothing', ''],
    ['is in another cloning domain', 'bb'],
    ['Nobody knows', undefined],
  ])('asks a person about a site that does not take such keys: %s', (text, domain) => {
    const plan = moved({ ...everywhere, b: domain });
    expect(plan.needsConfirmation).toBe(true);
    expect(plan.consequences[0]).toContain(text);
    expect(plan.consequences[0]).toContain('site b');
  });

  it('says that nothing moves natively if the active site clones nothing', () => {
    const { consequences } = moved({ ...everywhere, a: '' });
    expect(consequences[0]).toContain('site a, which is active, clones nothing');
  });

  it('says what becomes of such keys when the group is sealed again', () => {
    const plan = moved(everywhere, Movement.SEALED, { ...SPEC, movement: 'native' });
    expect([plan.spec.movement, plan.needsConfirmation]).toEqual([undefined, true]);
  });

  it('that prefers clones gives a site that clones nothing the sealed form', () => {
    const plan = moved({ ...everywhere, b: '' }, Movement.PREFER_NATIVE);
    expect([plan.changes, plan.spec.movement]).toEqual([['movement: sealed -> prefer-native'], 'prefer-native']);
    expect(plan.consequences[0]).toContain('All others it gets in their sealed form.');
    expect(moved({ ...everywhere, a: '' }, Movement.PREFER_NATIVE).consequences[0]).toContain('sealed form alone');
    const back = moved(everywhere, Movement.NATIVE, { ...SPEC, movement: 'prefer-native' });
    expect(back.consequences[0]).toContain('no clones of keys that can be wrapped');
  });

  it('is refused if it is none that is known', () => {
    expect(thrown(() => planned({ movement: 9 as Movement })).message).toContain('movement');
    expect(thrown(() => planned({ movement: Movement.UNSPECIFIED })).code).toBe('REQUEST_INVALID');
  });
});

it('says what stops with a lease, and what does not, and goes back without a question', () => {
  const stop = planned({ onLeaseLapse: LeaseLapse.STOP_SERVING });
  expect(stop).toMatchObject({
    changes: ['on_lease_lapse: keep-serving -> stop-serving'],
    needsConfirmation: true,
    spec: { onLeaseLapse: 'stop-serving' },
  });
  expect(stop.consequences.join(' ')).toContain('are not touched: they talk to their HSM directly');
  const back = planSettings(
    groupOf({ ...SPEC, onLeaseLapse: 'stop-serving' }),
    create(GroupSettingsSchema, { onLeaseLapse: LeaseLapse.KEEP_SERVING }),
  );
  expect([back.spec.onLeaseLapse, back.needsConfirmation]).toEqual([undefined, false]);
  expect(planned({ rpoSeconds: 60 }).spec.onLeaseLapse).toBeUndefined();
});
