import { DescribeResponseSchema } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import { FakeClock, thrown } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { beforeEach, expect, it } from 'vitest';
import type { Group, GroupSpec } from '../../model.ts';
import { Detector } from '../../sites/detector.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { intent } from '../../testing/situation.ts';
import { PROFILES } from '../../timings.ts';
import type { ChangeFacts } from './facts.ts';
import { planWitnessAddition, planWitnessRemoval } from './witnesses.ts';

const TIMINGS = PROFILES.default;
const clock = new FakeClock();
let detector: Detector;
beforeEach(() => {
  detector = new Detector({
    clock,
    log: silentLog,
    timings: TIMINGS,
    loopDelayMs: () => 0,
    probe: async () => undefined,
  });
  for (const site of ['a', 'b', 'w']) hear(site);
});
const hear = (site: string): void =>
  detector.heard(create(DescribeResponseSchema, { site, instance: site }), { address: `${site}:1` });

const TWO: GroupSpec = { ...SPEC, members: SPEC.members.slice(0, 2), failoverPolicy: 'manual' };
const facts = (
  spec: Partial<GroupSpec> = {},
  group: Partial<Group> = {},
  rest: Partial<ChangeFacts> = {},
): ChangeFacts => ({
  group: { ...groupOf({ ...TWO, ...spec }), domainKeyVersion: 1, ...group },
  others: [],
  former: [],
  open: [],
  newest: undefined,
  acknowledged: [],
  detector,
  ...rest,
});

it('is added to the declaration, and the plan gives both majorities', () => {
  const { spec, changes, consequences, obstacle } = planWitnessAddition(facts(), 'w');
  expect([spec.witnesses, changes, obstacle]).toEqual([['w'], ['witnesses: w is added'], undefined]);
  expect(consequences.join()).toContain('2 sites vote, and a majority is 2. Afterwards 3 vote, and a majority is 2.');
});

it('is there already: nothing changes', () => {
  expect(planWitnessAddition(facts({ witnesses: ['w'] }), 'w').changes).toEqual([]);
});

it.each<[string, string, Partial<Group>, Partial<ChangeFacts>, string]>([
  ['at a site with a member, which votes already', 'b', {}, {}, 'GROUP_CHANGE_REFUSED'],
  ['at a site that was never heard', 'v', {}, {}, 'NOT_FOUND'],
  ['while a failover is under way', 'w', {}, { open: [intent('failover')] }, 'GROUP_BUSY'],
  ['while an epoch is not in force', 'w', { highestEpoch: 2n }, {}, 'GROUP_BUSY'],
  ['while a member joins', 'w', { joining: [{ site: 'd', serial: 'serial-d' }] }, {}, 'GROUP_BUSY'],
])('is refused %s', (_when, site, group, rest, code) => {
  expect(planWitnessAddition(facts({}, group, rest), site).obstacle?.code).toBe(code);
});

it('is refused while its site is not up: its vote could not be had', async () => {
  await clock.advance(TIMINGS.suspectMs + 1);
  for (const site of ['a', 'b']) hear(site);
  await detector.pass();
  expect(planWitnessAddition(facts(), 'w').obstacle?.code).toBe('SITE_UNREACHABLE');
});

it('is removed, also from a site that is away', () => {
  const { spec, changes, obstacle } = planWitnessRemoval(facts({ witnesses: ['v', 'w'] }), 'v');
  expect([spec.witnesses, changes, obstacle]).toEqual([['w'], ['witnesses: v is removed'], undefined]);
  expect(planWitnessRemoval(facts({ witnesses: ['v'] }), 'v').spec).not.toHaveProperty('witnesses');
});

it('stays where automatic failover needs its vote', () => {
  const automatic = facts({ witnesses: ['w'], failoverPolicy: 'automatic' });
  expect(planWitnessRemoval(automatic, 'w').obstacle?.code).toBe('GROUP_CHANGE_REFUSED');
  expect(
    planWitnessRemoval(facts({ witnesses: ['v', 'w'], failoverPolicy: 'automatic' }), 'w').obstacle,
  ).toBeUndefined();
});

it('cannot be removed where it is none', () => {
  expect(thrown(() => planWitnessRemoval(facts(), 'w')).code).toBe('NOT_FOUND');
});
