import { DescribeResponseSchema } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import { FakeClock, thrown } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group, IntentKind, IntentStatus, Seat } from '../../model.ts';
import { Detector } from '../../sites/detector.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { generation, intent } from '../../testing/situation.ts';
import { PROFILES } from '../../timings.ts';
import type { ChangeFacts } from './facts.ts';
import { planAddition, planRemoval } from './members.ts';
import { planScratch } from './scratch.ts';

const clock = new FakeClock();
let detector: Detector;
beforeEach(() => {
  detector = new Detector({
    clock,
    log: silentLog,
    timings: PROFILES.default,
    loopDelayMs: () => 0,
    probe: async () => undefined,
  });
  for (const site of ['a', 'b', 'c', 'd', 'e']) hear(site);
});

function hear(site: string, errorCode = ''): void {
  const partitions = [
    { serial: `serial-${site}`, name: 'main', errorCode },
    { serial: `scratch-${site}`, name: 'scratch', isScratch: true },
  ];
  detector.heard(create(DescribeResponseSchema, { site, instance: site, partitions }), { address: `${site}:1` });
}

const [b, c, d, e] = ['b', 'c', 'd', 'e'].map((site) => ({ site, serial: `serial-${site}` })) as [
  Seat,
  Seat,
  Seat,
  Seat,
];
const KEYED: Partial<Group> = { domainKeyVersion: 2, highestVersion: 3 };
const facts = (group: Partial<Group> = {}, rest: Partial<ChangeFacts> = {}): ChangeFacts => ({
  group: { ...groupOf({ ...SPEC, failoverPolicy: 'manual' }), ...KEYED, ...group },
  others: [],
  former: [],
  open: [],
  newest: generation(),
  acknowledged: ['b', 'c'].map((site) => ({ ...generation(), site })),
  detector,
  ...rest,
});
const obstacleOf = ({ obstacle }: { obstacle?: { code: string; message: string } }) => obstacle?.code;

describe('a member that is added', () => {
  it('votes only once it has caught up; the plan gives both majorities', () => {
    const { changes, consequences, needsConfirmation, obstacle } = planAddition(facts(), d);
    expect([changes, needsConfirmation, obstacle]).toEqual([['members: d=serial-d is added'], true, undefined]);
    expect(consequences.join('\n')).toContain(
      '3 members vote, and a majority is 2. Afterwards 4 vote, and a majority is 3.',
    );
  });

  it('waits until its agent has given up a former seat, and for no seat that nobody takes from it', () => {
    const seated = (epoch: bigint): void =>
      detector.heard(
        create(DescribeResponseSchema, {
          site: 'd',
          instance: 'd',
          partitions: [{ serial: 'serial-d', name: 'main' }],
          members: [{ group: SPEC.name, serial: 'serial-d', epoch }],
        }),
        { address: 'd:1' },
      );
    const former = [{ ...d, group: SPEC.name, epoch: 4n, owner: 'a', deleted: true }];
    seated(4n);
    expect(obstacleOf(planAddition(facts({}, { former }), d))).toBe('GROUP_BUSY');
    expect(obstacleOf(planAddition(facts(), d))).toBeUndefined();
    seated(5n);
    expect(obstacleOf(planAddition(facts({}, { former }), d))).toBeUndefined();
    hear('d');
    expect(obstacleOf(planAddition(facts({}, { former }), d))).toBeUndefined();
  });

  it.each([
    ['is a member already', {}, b],
    ['is joining already', { joining: [d] }, d],
  ])('changes nothing where the partition %s', (_what, group, seat) => {
    expect(planAddition(facts(group), seat)).toMatchObject({ changes: [] });
  });

  it.each([
    ['GROUP_CHANGE_REFUSED', 'the partition of another site', { site: 'd', serial: 'serial-b' }, {}],
    ['GROUP_CHANGE_REFUSED', 'a second partition of a site', { site: 'b', serial: 'serial-x' }, {}],
    ['GROUP_CHANGE_REFUSED', 'a scratch partition of the group', { site: 'd', serial: 'scratch-c' }, {}],
    ['SCRATCH_REFUSED', 'a scratch partition of its site', { site: 'd', serial: 'scratch-d' }, {}],
    ['NOT_FOUND', 'a site that nobody has heard', { site: 'z', serial: 'serial-z' }, {}],
    ['NOT_FOUND', 'a partition that its site does not have', { site: 'd', serial: 'serial-x' }, {}],
    ['GROUP_BUSY', 'a second site while one joins', d, { joining: [e] }],
    ['GROUP_BUSY', 'a site before the first domain key', d, { domainKeyVersion: 0 }],
    ['GROUP_BUSY', 'a site while an epoch is not in force', d, { highestEpoch: 2n }],
  ])('is refused with %s: %s', (code, _what, seat, group) => {
    expect(obstacleOf(planAddition(facts(group), seat))).toBe(code);
  });

  it.each(['failover', 'reseat', 'rejoin', 'domain-key'] satisfies IntentKind[])('waits while a %s is open', (kind) => {
    expect(obstacleOf(planAddition(facts({}, { open: [intent(kind)] }), d))).toBe('GROUP_BUSY');
  });

  it('is refused where it is a member of another group, and where it cannot be used', () => {
    const other = groupOf({ ...SPEC, name: 'cards', members: [d] });
    expect(obstacleOf(planAddition(facts({}, { others: [other] }), d))).toBe('ALREADY_EXISTS');
    expect(
      obstacleOf(
        planAddition(facts({}, { others: [{ ...other, spec: { ...other.spec, members: [] }, joining: [d] }] }), d),
      ),
    ).toBe('ALREADY_EXISTS');
    hear('d', 'PIN_REFUSED');
    expect(obstacleOf(planAddition(facts(), d))).toBe('GROUP_CHANGE_REFUSED');
  });

  it('is an invalid request without a serial number', () => {
    expect(thrown(() => planAddition(facts(), { site: 'd', serial: '' })).code).toBe('REQUEST_INVALID');
  });
});

describe('a member that is removed', () => {
  const remove = (site: string, ...given: Parameters<typeof facts>) =>
    planRemoval(facts(...given), { site, serial: '' });

  it('leaves its keys and older versions there, and says who votes then and who has the newest generation', () => {
    const { changes, consequences, obstacle } = remove('c');
    const told = consequences.join('\n');
    expect([changes, obstacle]).toEqual([['members: c=serial-c is removed'], undefined]);
    for (const part of [
      'stay there, with the versions of the domain key up to 3',
      'Afterwards 2 vote',
      'acknowledged at site b',
    ])
      expect(told).toContain(part);
  });

  it('says that only the active member has the newest generation, and that keys have no copy', () => {
    const behind = { acknowledged: [{ ...generation(), site: 'c' }] };
    expect(remove('c', {}, behind).consequences.join('\n')).toContain('only the active member has it then');
    const two = { members: facts().group.members.slice(0, 2) };
    expect(remove('b', two).consequences.join('\n')).toContain('its keys have no copy');
  });

  it('changes nothing for a site that was removed, and fails for one that never was there', () => {
    const former = [{ group: 'payments', ...d, epoch: 1n, owner: 'a', deleted: false }];
    expect(remove('d', {}, { former }).changes).toEqual([]);
    expect(thrown(() => remove('d')).code).toBe('NOT_FOUND');
    expect(thrown(() => remove('d', {}, { former: [{ ...former[0]!, group: 'cards' }] })).code).toBe('NOT_FOUND');
  });

  it.each([
    ['GROUP_CHANGE_REFUSED', 'the active member', 'a', {}],
    ['GROUP_BUSY', 'a member while another joins', 'c', { joining: [d] }],
    ['GROUP_BUSY', 'a member while an epoch is not in force', 'c', { highestEpoch: 2n }],
    ['GROUP_CHANGE_REFUSED', 'the third member under automatic failover', 'c', { spec: SPEC }],
    [undefined, 'a site that joins, whatever is under way', 'd', { joining: [d], highestEpoch: 2n }],
  ])('is refused with %s: %s', (code, _what, site, group) => {
    expect(obstacleOf(remove(site, group))).toBe(code);
  });

  it.each<[string | undefined, string, string, number]>([
    ['GROUP_BUSY', 'open', 'distributing', 0],
    ['GROUP_BUSY', 'open', 'taking-up', 3],
    [undefined, 'open', 'distributing', 1],
    [undefined, 'open', 'seating', 1],
    [undefined, 'parked', 'incomplete', 0],
  ])('and a domain key: %s where it is %s, %s, with %i failed attempts', (code, status, phase, attempts) => {
    const key = intent('domain-key', { status: status as IntentStatus, state: { phase }, attempts });
    expect(obstacleOf(remove('c', {}, { open: [key] }))).toBe(code);
  });

  it('is refused under another serial number than its own', () => {
    expect(obstacleOf(planRemoval(facts(), { ...c, serial: 'serial-x' }))).toBe('GROUP_CHANGE_REFUSED');
  });
});

describe('other scratch partitions', () => {
  const scratch = (...sites: string[]) => sites.map((site) => ({ site, serial: `scratch-${site}` }));

  it('replace those of before, and get a new domain key', () => {
    const { changes, spec, consequences } = planScratch(facts(), scratch('d'));
    expect(changes).toEqual(['scratch: d=scratch-d is added', 'scratch: c=scratch-c is removed']);
    expect(spec.scratch).toEqual(scratch('d'));
    expect(consequences.join('\n')).toContain('Partition scratch-c keeps the versions of the domain key up to 3');
  });

  it('change nothing where they are the same; without any, no drill can run', () => {
    expect(planScratch(facts(), scratch('c'))).toMatchObject({ changes: [], needsConfirmation: false });
    expect(planScratch(facts(), []).consequences[0]).toContain('no drill can run');
  });

  it.each([
    ['SCRATCH_REFUSED', [{ site: 'd', serial: 'serial-d' }], []],
    ['GROUP_CHANGE_REFUSED', [{ site: 'b', serial: 'serial-b' }], []],
    ['NOT_FOUND', [{ site: 'd', serial: 'nowhere' }], []],
    ['GROUP_BUSY', scratch('d'), [intent('drill', { state: { phase: 'restoring', serial: 'scratch-c' } as never })]],
    ['GROUP_BUSY', scratch('d'), [intent('failover')]],
  ])('are refused with %s: %o', (code, wanted, open) => {
    expect(obstacleOf(planScratch(facts({}, { open }), wanted))).toBe(code);
  });

  it('are an invalid request where one repeats', () => {
    expect(thrown(() => planScratch(facts(), [...scratch('d'), ...scratch('d')])).code).toBe('REQUEST_INVALID');
  });
});
