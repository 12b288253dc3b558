/** A coordinator adopts what a majority of the voting sites reports, and nothing of what a liar adds to it. */
import {
  DescribeResponseSchema,
  GenerationRefSchema,
  MemberRole,
  MemberStateSchema,
  ToldGroupSchema,
} from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { type Adoption, planRebuild } from './rebuild-plan.ts';
import { type Heard, highestBelievable } from './told-groups.ts';

const G = 'payments';
type Seat = MessageInitShape<typeof MemberStateSchema>;
type Account = MessageInitShape<typeof DescribeResponseSchema>;
type Told = { vouchers?: string[]; stopsOnLeaseLapse?: boolean; trusted?: never[] };
const TRUSTED = ['a', 'b', 'c'];

function site(
  name: string,
  seat: Seat = {},
  { trusts = TRUSTED, knows = true, filter = true, account = {} as Account, told = {} as Told } = {},
): Heard {
  return {
    site: name,
    account: create(DescribeResponseSchema, {
      site: name,
      members: [
        create(MemberStateSchema, {
          group: G,
          serial: `serial-${name}`,
          epoch: 4n,
          epochOwner: 'a',
          role: name === 'a' ? MemberRole.ACTIVE : MemberRole.STANDBY,
          domainKeyVersion: 2,
          applied: create(GenerationRefSchema, { epoch: 4n, generation: 30n }),
          ...seat,
        }),
      ],
      ...account,
    }),
    ...(knows
      ? {
          groups: [
            create(ToldGroupSchema, {
              group: seat.group ?? G,
              vouchers: name === 'a' ? ['b', 'c'] : [],
              trusted: [
                ...trusts
                  .filter((one) => one !== name)
                  .map((one) => ({ site: one, serial: `serial-${one}`, role: 'member' })),
                { site: 'c', serial: 'scratch-c', role: 'scratch' },
              ],
              ...(filter ? { filter: { excludeIds: ['0a'] } } : {}),
              ...told,
            }),
          ],
        }
      : {}),
  };
}
const silent = (name: string): Heard => ({ site: name, error: new AntipodeError('SITE_UNREACHABLE', 'no answer') });
const witness = (name: string, epoch: bigint, owner: string): Heard => ({
  site: name,
  account: create(DescribeResponseSchema, { site: name, witnessed: [{ group: G, epoch, owner }] }),
  groups: [],
});
const none: string[] = [];
const planned = (
  all: readonly Heard[],
  { without = none, unfiltered = none, allNamed = none, witnesses = none, lost = none } = {},
) => planRebuild(all, { without, unfiltered, allNamed, witnesses, lost }).find(({ group }) => group === G)!;
function adopted(...args: Parameters<typeof planned>): Adoption {
  const plan = planned(...args);
  if (plan.verdict !== 'adopt') throw new Error(plan.reason);
  return plan;
}
const seats = ({ members }: Adoption) => members.map(({ site: name, role }) => `${name} ${role}`);

describe('a group', () => {
  it('is adopted as its sites report it', () => {
    const plan = adopted([site('a'), site('b'), site('c')]);
    expect(seats(plan)).toEqual(['a active', 'b standby', 'c standby']);
    expect(plan).toMatchObject({
      epoch: 4n,
      owner: 'a',
      isOwnerHeard: true,
      vouchers: ['b', 'c'],
      onLeaseLapse: undefined,
      scratch: [{ site: 'c', serial: 'scratch-c' }],
      filter: { excludeIds: ['0a'] },
      highestNumber: 30n,
      highestVersion: 2,
      domainKeyVersion: 2,
      leftOut: [],
    });
  });

  it('keeps the seat of a site that is silent, as fenced, and leaves room for its captures', () => {
    const plan = adopted([site('a'), site('b'), silent('c')]);
    expect(seats(plan)).toEqual(['a active', 'b standby', 'c fenced']);
    expect(plan.highestNumber).toBeGreaterThan(1_000n);
    // Nobody has to name it: the others trust it.
    expect(seats(adopted([site('a'), site('b')]))).toEqual(seats(plan));
  });

  it('leaves a silent active site active, and makes nobody else so', () => {
    const plan = adopted([silent('a'), site('b'), site('c')], { unfiltered: [G], allNamed: [G] });
    expect(seats(plan)).toEqual(['b standby', 'c standby', 'a active']);
    expect(plan.isOwnerHeard).toBe(false);
  });

  it('is not adopted while a failover is under way', () => {
    const plan = planned([site('a', { role: MemberRole.FENCED }), site('b'), site('c')]);
    expect(plan).toMatchObject({ verdict: 'undecided', reason: expect.stringContaining('not active') });
  });

  describe('without a majority', () => {
    const pair = { trusts: ['a', 'b'], told: { vouchers: [] } };
    const four = { trusts: ['a', 'b', 'c', 'd'] };
    const lostB = { lost: ['b'], allNamed: [G] };

    it('is adopted of two, where the operator says that the other one is lost', () => {
      const all = [site('a', {}, pair), silent('b')];
      expect(planned(all)).toMatchObject({ verdict: 'undecided', reason: expect.stringContaining('2 of 2') });
      const plan = adopted(all, lostB);
      expect([seats(plan), plan.epoch, plan.lost]).toEqual([['a active', 'b fenced'], 4n, ['b']]);
      // Not named with --site: the pins tell of it.
      expect(adopted([site('a', {}, pair)], lostB).lost).toEqual(['b']);
    });

    it('is adopted of four by the two that are left, if they say the same', () => {
      const lost = { lost: ['c', 'd'], allNamed: [G] };
      const all = [site('a', {}, four), site('b', {}, four), silent('c'), silent('d')];
      expect(seats(adopted(all, lost))).toEqual(['a active', 'b standby', 'c fenced', 'd fenced']);
      expect(planned(all, { ...lost, lost: ['c'] }).verdict).toBe('undecided');
      const [a, , c, d] = all as [Heard, Heard, Heard, Heard];
      for (const other of [{ epoch: 5n, epochOwner: 'b' }, { epoch: 3n }])
        expect(planned([a, site('b', other, four), c, d], lost)).toMatchObject({
          verdict: 'undecided',
          reason: expect.stringContaining('3 of 4'),
        });
    });

    it('is not adopted where the lost ones could be a majority without those that are left', () => {
      const all = [site('a'), silent('b'), silent('c')];
      expect(planned(all, { lost: ['b', 'c'], allNamed: [G] })).toMatchObject({
        verdict: 'undecided',
        reason: expect.stringContaining('2 of 3'),
      });
    });

    it('is not adopted where the active site is lost, or says that it is not active', () => {
      const standby = site('b', {}, pair);
      expect(planned([silent('a'), standby], { lost: ['a'], allNamed: [G], unfiltered: [G] })).toMatchObject({
        verdict: 'undecided',
        reason: expect.stringContaining('came into force'),
      });
      expect(planned([site('a', { role: MemberRole.FENCED }, pair), silent('b')], lostB)).toMatchObject({
        verdict: 'undecided',
        reason: expect.stringContaining('a failover had begun'),
      });
    });

    it('is not adopted beside a voter that answers, and whose word does not count', () => {
      const account = { journal: { quarantined: [{ group: G, reason: 'its journal is an older copy' }] } };
      const all = [site('a', {}, pair), site('b', {}, { ...pair, account })];
      expect(planned(all, lostB).verdict).toBe('undecided');
      expect(planned([site('a', {}, pair), silent('b')], { ...lostB, without: ['b'] }).verdict).toBe('undecided');
    });

    it('is not adopted where a witness may vote that nobody has named', () => {
      expect(planned([site('a', {}, pair), silent('b')], { lost: ['b'] })).toMatchObject({
        verdict: 'undecided',
        reason: expect.stringContaining('witness'),
      });
    });
  });

  it('is adopted beside a silent member only where every voting site is known', () => {
    const restarted = site('a', {}, { told: { vouchers: [] } });
    expect(planned([restarted, site('b'), silent('c')])).toMatchObject({
      verdict: 'undecided',
      reason: expect.stringContaining('witness'),
    });
    expect(seats(adopted([restarted, site('b'), silent('c')], { allNamed: [G] }))).toContain('a active');
    // All members answer, so that no other one can be active.
    expect(seats(adopted([restarted, site('b'), site('c')]))).toContain('a active');
    // The active member tells of a witness that nobody has named.
    const all = [site('a', {}, { told: { vouchers: ['b', 'c', 'w'] } }), site('b'), silent('c')];
    expect(planned(all)).toMatchObject({ verdict: 'undecided', reason: expect.stringContaining('3 of 4') });
    expect(seats(adopted(all, { without: ['w'] }))).toContain('a active');
  });

  it('is not adopted by the word of a journal that may be an older copy', () => {
    const older = { journal: { quarantined: [{ group: G, reason: 'its journal is an older copy' }] } };
    const all = [site('a'), site('b', {}, { account: older }), silent('c')];
    expect(planned(all)).toMatchObject({ verdict: 'undecided', reason: expect.stringContaining('2 of 3') });
    expect(seats(adopted([site('a'), site('b', {}, { account: older }), site('c')]))).toContain('b standby');
  });

  it('is not adopted where the operator leaves out so many members that no majority is left', () => {
    expect(planned([site('a')], { without: ['b', 'c'], allNamed: [G] })).toMatchObject({
      verdict: 'undecided',
      reason: expect.stringContaining('b, c is left out'),
    });
  });

  it('counts a site once that is named twice', () => {
    expect(planned([site('a'), site('a'), silent('b'), silent('c')]).verdict).toBe('undecided');
  });

  it('stops with its lease again where it did, by the word of its active member', () => {
    const stops = { told: { stopsOnLeaseLapse: true } };
    expect(adopted([site('a', {}, stops), site('b'), site('c')]).onLeaseLapse).toBe('stop-serving');
    expect(
      adopted([site('a', {}, { told: { stopsOnLeaseLapse: false } }), site('b', {}, stops), site('c')]),
    ).toMatchObject({
      onLeaseLapse: undefined,
    });
  });

  it('names its vaults, and declares no archive', () => {
    const backup = { name: 'one', group: G, complete: true };
    const vaults = [
      { serial: '53', name: 'safe', partitionSerial: 'serial-b', backups: [backup, { ...backup, complete: false }] },
      { serial: '54', name: 'other', partitionSerial: 'another', backups: [{ ...backup, group: 'another' }] },
    ];
    const plan = adopted([site('a'), site('b', {}, { account: { vaults } }), site('c')]);
    expect(plan.vaults).toEqual([{ site: 'b', serial: '53', name: 'safe', backups: 1 }]);
  });

  it('of one member is adopted by its word', () => {
    expect(seats(adopted([site('a', {}, { trusts: [], told: { vouchers: [] } })]))).toEqual(['a active']);
  });

  it.each<[string, Heard[], string]>([
    ['one site answers, of three', [site('a'), silent('b'), silent('c')], '1 of 3'],
    // c, which is silent, can be active in epoch 5: then b would have persisted it, or a.
    [
      'the two that answer report different epochs',
      [site('a'), site('b', { epoch: 5n, epochOwner: 'c' }), silent('c')],
      '2 of 3',
    ],
    ['an epoch has two owners', [site('a'), site('b', { epochOwner: 'b' }), silent('c')], '2 of 3'],
    [
      'sites that may be witnesses do not answer',
      [site('a'), site('b'), silent('c'), silent('w'), silent('x')],
      '3 of 5',
    ],
    [
      'witnesses have persisted a later epoch',
      [site('a'), site('b'), silent('c'), witness('w', 5n, 'c'), witness('x', 5n, 'c')],
      '3 of 5',
    ],
  ])('is not adopted where %s', (_what, all, votes) => {
    const plan = planned(all);
    expect(plan.verdict === 'undecided' && plan.reason).toContain(
      `by ${votes.split(' ')[0] === '1' ? '2 of 3' : votes}`,
    );
  });

  it('is not adopted without its filter, unless an operator says that there are no rules', () => {
    const all = TRUSTED.map((one) => site(one, {}, { filter: false }));
    expect(planned(all)).toMatchObject({ verdict: 'undecided', reason: expect.stringContaining('filter') });
    expect(adopted(all, { unfiltered: [G] }).filter.excludeIds).toEqual([]);
    // The rules of a former active member may be older than those of one that is silent.
    expect(planned([silent('a'), site('b'), site('c')])).toMatchObject({ verdict: 'undecided' });
    // An active member that was just promoted has the rules that all others have.
    expect(adopted([site('a', {}, { filter: false }), site('b'), site('c')]).filter.excludeIds).toEqual(['0a']);
  });

  it('is not adopted where an agent is of a release that does not tell', () => {
    const plan = planned([site('a'), site('b', {}, { knows: false }), site('c')]);
    expect(plan).toMatchObject({ verdict: 'undecided', reason: expect.stringContaining('site b') });
  });
});

describe('a site that lies', () => {
  it('does not count as a witness by its own word alone', () => {
    const two = { trusts: ['a', 'b'] };
    // b, which is silent, can be active in a later epoch.
    const all = [site('a', {}, { ...two, told: { vouchers: [] } }), silent('b'), witness('d', 4n, 'a')];
    expect(planned(all, { allNamed: [G] }).verdict).toBe('undecided');
    expect(seats(adopted(all, { allNamed: [G], witnesses: ['d'] }))).toEqual(['a active', 'b fenced']);
    const confirmed = [site('a', {}, { ...two, told: { vouchers: ['b', 'd'] } }), ...all.slice(1)];
    expect(seats(adopted(confirmed))).toEqual(['a active', 'b fenced']);
  });

  it.each([5n, 2n ** 53n, 2n ** 64n - 1n])('gets nothing by epoch %s, of its own', (epoch) => {
    const plan = adopted([site('a'), site('b'), site('c', { epoch, epochOwner: 'c', role: MemberRole.ACTIVE })]);
    expect([plan.epoch, plan.owner]).toEqual([4n, 'a']);
    expect(plan.members.filter(({ role }) => role === 'active')).toHaveLength(1);
    expect(plan.leftOut.map(({ site: name }) => name)).toEqual(epoch > 1_004n ? ['c'] : []);
  });

  it('prevents an adoption where another site is silent, and can be left out by name', () => {
    const all = [site('a'), silent('b'), site('c', { epoch: 2n ** 53n, epochOwner: 'c', role: MemberRole.ACTIVE })];
    expect(planned(all).verdict).toBe('undecided');
    expect(planned(all, { without: ['c'] }).verdict).toBe('undecided');
    const twice = [site('a'), site('b'), all[2]!];
    expect(seats(adopted(twice, { without: ['c'] }))).toEqual(['a active', 'b standby']);
  });

  it('gets no seat in a group whose members do not trust it', () => {
    const liar = site('d', { role: MemberRole.ACTIVE, epochOwner: 'd', epoch: 9n }, { trusts: ['a', 'b', 'c', 'd'] });
    const plan = adopted([site('a'), site('b'), site('c'), liar]);
    expect(seats(plan)).toEqual(['a active', 'b standby', 'c standby']);
    expect(plan.leftOut).toMatchObject([{ site: 'd' }]);
    // Nor with one of them silent, nor beside a single one.
    expect(seats(adopted([site('a'), site('b'), silent('c'), liar]))).toEqual(['a active', 'b standby', 'c fenced']);
    expect(planned([site('a'), silent('b'), silent('c'), liar]).verdict).toBe('undecided');
  });

  it('brings no phantom into a group by its own trust alone', () => {
    const liar = site('c', {}, { trusts: [...TRUSTED, 'x', 'y', 'z'] });
    expect(seats(adopted([site('a'), site('b'), liar]))).toEqual(['a active', 'b standby', 'c standby']);
  });

  it('moves no number and no version far away', () => {
    const far = create(GenerationRefSchema, { epoch: 4n, generation: 2n ** 63n });
    const plan = adopted([site('a'), site('b'), site('c', { applied: far, captured: far, domainKeyVersion: 2 ** 31 })]);
    expect([plan.highestNumber, plan.highestVersion, plan.domainKeyVersion]).toEqual([30n, 2, 2]);
    expect(plan.refs.every(({ generation }) => generation === 30n)).toBe(true);
    expect(highestBelievable([], 1n)).toBe(0n);
    expect(highestBelievable([7n], 1n)).toBe(7n);
  });

  it('makes a group of its own, and takes no partition of another one with it', () => {
    const own = site('d', { group: 'mine' });
    const options = { without: [], unfiltered: [], allNamed: [], witnesses: [], lost: [] };
    const plans = planRebuild([site('a'), site('b'), site('c'), own], options);
    expect(plans.map(({ group, verdict }) => [group, verdict])).toEqual([
      ['mine', 'undecided'],
      [G, 'adopt'],
    ]);
  });

  it('gets no seat of another site, and no second group for a partition', () => {
    const options = { without: [], unfiltered: [], allNamed: [], witnesses: [], lost: [] };
    const alone = { trusts: ['d'], told: { trusted: [] } };
    const thief = site('d', { group: 'alone', serial: 'serial-a', role: MemberRole.ACTIVE, epochOwner: 'd' }, alone);
    const plans = planRebuild([site('a'), site('b'), site('c'), thief], options);
    expect(plans.map(({ group, verdict }) => [group, verdict])).toEqual([
      ['alone', 'undecided'],
      [G, 'adopt'],
    ]);
    const torn = [site('b', { epoch: 5n, epochOwner: 'b' }), site('c', { epoch: 6n, epochOwner: 'c' })];
    expect(planRebuild([site('a'), ...torn, thief], options).map(({ verdict }) => verdict)).toEqual([
      'undecided',
      'undecided',
    ]);
    const [seat, told] = [site('c'), site('c', { group: 'alone' }, { told: { trusted: [] } })];
    const twice: Heard = {
      site: 'c',
      account: create(DescribeResponseSchema, {
        site: 'c',
        members: [{ ...told.account!.members[0]!, role: MemberRole.ACTIVE, epochOwner: 'c' }, ...seat.account!.members],
      }),
      groups: [...told.groups!, ...seat.groups!],
    };
    const both = planRebuild([site('a'), site('b'), twice], options);
    expect(both.map(({ group, verdict }) => [group, verdict])).toEqual([
      ['alone', 'undecided'],
      [G, 'adopt'],
    ]);
  });

  it('takes no group of two over by not knowing the other one', () => {
    const honest = site('a', {}, { trusts: ['b'] });
    const taken = { epoch: 2n ** 53n, epochOwner: 'b', role: MemberRole.ACTIVE };
    const liar = site('b', taken, { trusts: [] });
    expect(planned([honest, liar])).toMatchObject({ verdict: 'undecided' });
    expect(planned([liar, honest], { without: ['b'] })).toMatchObject({ verdict: 'undecided' });
  });
});
