import { describe, expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { type Account, missedBy, planReseat, type WitnessAccount } from './plan.ts';

const GROUP: Group = groupOf(SPEC);
const held = (epoch: bigint, number: bigint) => ({ epoch, number, manifestDigest: `${epoch}.${number}` });
const account = (site: string, rest: Partial<Account> = {}): Account => ({
  site,
  serial: `serial-${site}`,
  role: 'standby',
  epoch: 1n,
  epochOwner: 'a',
  newest: held(1n, 4n),
  domainKeyVersion: 1,
  quarantine: undefined,
  hasPartition: true,
  ...rest,
});
const plan = (accounts: Account[], { wanted = '', isContradicted = true, group = GROUP } = {}) =>
  planReseat(group, accounts, { wanted, isContradicted });

/** The database was put back to epoch 1 of a; b has been active in epoch 2 since. */
const ROLLED_BACK = [
  account('a', { epoch: 2n, epochOwner: 'b' }),
  account('b', { epoch: 2n, epochOwner: 'b', role: 'active' }),
  account('c', { epoch: 2n, epochOwner: 'b' }),
];

describe('a group is reseated', () => {
  it('with the site that is active by its own journal, above every epoch', () => {
    expect(plan(ROLLED_BACK)).toMatchObject({ kind: 'tenure', active: 'b', owner: 'b', epoch: 3n });
    expect(plan(ROLLED_BACK.slice(1))).toMatchObject({ active: 'b', epoch: 3n });
    expect(plan(ROLLED_BACK, { wanted: 'b' })).toMatchObject({ active: 'b' });
  });

  it('with the latest of several that say they are active', () => {
    const both = [account('a', { role: 'active' }), ...ROLLED_BACK.slice(1)];
    expect(plan(both)).toMatchObject({ active: 'b', epoch: 3n });
    expect(plan(both.map((one) => (one.site === 'b' ? { ...one, epochOwner: 'c' } : one)))).toMatchObject({
      active: 'a',
    });
  });

  it('with the active site of the database where its journal cannot be believed and no other claims to be active', () => {
    const group: Group = { ...GROUP, epoch: 2n, owner: 'a', highestEpoch: 2n, highestOwner: 'a' };
    const accounts = [
      account('a', { quarantine: 'older copy' }),
      account('b', { epoch: 2n }),
      account('c', { epoch: 2n }),
    ];
    expect(plan(accounts, { group })).toMatchObject({ kind: 'tenure', active: 'a', epoch: 3n });
  });

  it('by taking up a failover, where nobody is active by any journal', () => {
    const nobody = ROLLED_BACK.map((one) => ({ ...one, role: 'standby' as const }));
    expect(plan(nobody)).toMatchObject({ kind: 'failover', active: '', epoch: 2n, owner: 'b', seats: [] });
  });

  it('under the epoch of a failover that waits for the vote of a member in quarantine', () => {
    const group: Group = { ...GROUP, highestEpoch: 2n, highestOwner: 'b' };
    const accounts = [account('b', { epoch: 2n }), account('c', { epoch: 2n, quarantine: 'older copy' })];
    const seats = [accounts[1]];
    expect(plan(accounts, { group, isContradicted: false })).toMatchObject({
      kind: 'members',
      epoch: 2n,
      owner: 'b',
      seats,
    });
  });

  it('with the vote of a witness, above what that has persisted', () => {
    const group: Group = { ...GROUP, spec: { ...GROUP.spec, witnesses: ['w'] } };
    const of = (witnesses: WitnessAccount[]) =>
      planReseat(group, ROLLED_BACK.slice(0, 2), { wanted: '', isContradicted: true, witnesses });
    expect(of([]).obstacle).toMatch(/only 2 of 4 voting sites/);
    expect(of([{ site: 'w', epoch: 4n, epochOwner: 'c', quarantine: undefined }])).toMatchObject({
      active: 'b',
      epoch: 5n,
    });
    const alone = { wanted: '', isContradicted: false };
    const quarantined = [{ site: 'w', epoch: 1n, epochOwner: 'a', quarantine: 'older copy' }];
    expect(planReseat(group, [account('a')], { ...alone, witnesses: quarantined })).toMatchObject({
      kind: 'members',
      seats: [],
    });
  });

  it('for the members in quarantine only, where database and journals agree', () => {
    const accounts = [account('a', { role: 'active' }), account('b', { quarantine: 'older copy' }), account('c')];
    expect(plan(accounts, { isContradicted: false })).toMatchObject({
      kind: 'members',
      active: 'a',
      epoch: 1n,
      seats: [{ site: 'b' }],
    });
  });
});

describe('a site that says it is active in an epoch that the database does not know', () => {
  const claims = account('c', { epoch: 5n, epochOwner: 'c', role: 'active' });
  const active = account('a', { role: 'active' });

  it('is believed where another site has persisted that epoch', () => {
    const accounts = [account('a'), account('b', { epoch: 5n, epochOwner: 'c' }), claims];
    const found = plan(accounts);
    expect(found).toMatchObject({ kind: 'tenure', active: 'c' });
    expect(found).not.toHaveProperty('doubts');
  });

  it('is refused where more sites have not persisted it than an epoch can lack', () => {
    expect(plan([active, account('b'), claims]).obstacle).toMatch(
      /Site c says that it is active in epoch 5\. Sites a, b have not persisted that epoch.*--active/,
    );
    // The same number under another owner denies it too.
    const other = account('b', { epoch: 5n, epochOwner: 'b' });
    expect(plan([active, other, claims]).obstacle).toMatch(/Sites a, b have not persisted/);
  });

  it('is passed over, or believed all the same, by a person who names the active site', () => {
    const accounts = [active, account('b'), claims];
    expect(plan(accounts, { wanted: 'a' })).toMatchObject({ kind: 'tenure', active: 'a', epoch: 6n });
    expect(plan(accounts, { wanted: 'c' })).toMatchObject({
      active: 'c',
      doubts: [expect.stringContaining('Sites a, b have not')],
    });
    expect(plan(accounts, { wanted: 'b' }).obstacle).toMatch(/was active neither/);
  });

  it('is shown with a doubt where nobody who answers confirms it', () => {
    const doubts = [expect.stringContaining('nobody confirms it')];
    expect(plan([account('b'), claims])).toMatchObject({ active: 'c', doubts });
    const quarantined = [active, account('b')].map((one) => ({ ...one, quarantine: 'older copy' }));
    expect(plan([...quarantined, claims])).toMatchObject({ active: 'c', doubts });
  });

  it('needs no other site where the database knows the epoch', () => {
    const group: Group = { ...GROUP, epoch: 5n, owner: 'c', highestEpoch: 5n, highestOwner: 'c' };
    const found = plan([account('a'), account('b'), claims], { group });
    expect(found).toMatchObject({ kind: 'tenure', active: 'c' });
    expect(found).not.toHaveProperty('doubts');
  });
});

describe('a group whose reseat has issued an epoch already', () => {
  const group: Group = { ...GROUP, highestEpoch: 3n, highestOwner: 'b' };
  const heard = ROLLED_BACK.map((one) => ({ ...one, epoch: 3n, epochOwner: 'b', role: 'fenced' as const }));
  const resumed = (accounts: Account[], isContradicted = false) =>
    planReseat(group, accounts, { wanted: '', isContradicted, isIssued: true });

  it('is reseated under that epoch with its owner, although nobody is active by any journal any more', () => {
    expect(resumed(heard)).toMatchObject({ kind: 'tenure', active: 'b', owner: 'b', epoch: 3n });
  });

  it('gets a further epoch where a journal contradicts the database even then', () => {
    const later = heard.map((one) => (one.site === 'b' ? one : { ...one, epoch: 4n, epochOwner: 'c' }));
    const own = later.map((one) => (one.site === 'c' ? { ...one, role: 'active' as const } : one));
    expect(resumed(own, true)).toMatchObject({ kind: 'tenure', active: 'c', epoch: 5n });
  });

  it('is not reseated where the owner does not answer', () => {
    expect(resumed(heard.filter(({ site }) => site !== 'b')).obstacle).toMatch(/site b/);
  });
});

describe('it is refused', () => {
  it.each<[string, ReturnType<typeof plan>, RegExp]>([
    ['without a majority', plan(ROLLED_BACK.slice(1, 2)), /only 1 of 3/],
    ['for a site that was not active', plan(ROLLED_BACK, { wanted: 'c' }), /was active neither/],
    ['for a site that does not answer', plan(ROLLED_BACK.slice(1), { wanted: 'a' }), /does not answer/],
    [
      'for a site that has lost its partition',
      plan([account('a', { role: 'active', hasPartition: false }), account('b')]),
      /failover/,
    ],
    ['where an epoch is beyond belief', plan([account('a', { epoch: 5_000n }), account('b')]), /no sound journal/],
    [
      'where a version of the domain key is beyond belief',
      plan([account('a', { domainKeyVersion: 4_000_000 }), account('b')]),
      /no sound partition/,
    ],
    ['where nothing is wrong', plan([account('a'), account('b')], { isContradicted: false }), /agree/],
  ])('%s', (_when, { obstacle }, expected) => {
    expect(obstacle).toMatch(expected);
  });
});

describe('what a member is known to have held', () => {
  it('is named where its own journal does not know it', () => {
    const recorded = [
      { site: 'a', ...held(1n, 6n) },
      { site: 'a', ...held(1n, 7n) },
      { site: 'b', ...held(1n, 9n) },
    ];
    expect(missedBy(account('a'), recorded)).toEqual([held(1n, 7n), held(1n, 6n)]);
    expect(missedBy(account('a', { newest: held(1n, 6n) }), recorded)).toEqual([held(1n, 7n)]);
    expect(missedBy(account('a', { newest: held(1n, 7n) }), recorded)).toEqual([]);
    expect(missedBy(account('a', { newest: held(2n, 1n) }), recorded)).toEqual([]);
    expect(missedBy(account('c'), recorded)).toEqual([]);
  });
});
