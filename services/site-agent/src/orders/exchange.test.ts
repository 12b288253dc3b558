/** Domain keys between agents: made once, for pinned members only, remembered. */
import { ecKey, publicHalfOf } from '@antipode/hsm-core/testing';
import { MemberRole } from '@antipode/protocol';
import { AntipodeError, seededPrng } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, TwoSites } from '../testing/two-sites.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
});

afterEach(() => sites.close());

describe('a domain key', () => {
  const distribute = (version: number, by = fence()) =>
    a.call('distributeDomainKey', { fence: by, version, members: [{ site: address('b'), serial: 'b-1' }] });

  it('is not made twice: a repeated order gets the recorded outcome', async () => {
    const first = await distribute(2);
    const objects = b.member.hsm.objects.length;
    expect(await distribute(2)).toEqual(first);
    expect(b.member.hsm.objects).toHaveLength(objects);
  });

  it('is named as failed for a partition that its first order did not name, and the next version reaches it', async () => {
    const everybody = (version: number) =>
      a.call('distributeDomainKey', {
        fence: fence(),
        version,
        members: ['a', 'b'].map((site) => ({ site: address(site), serial: `${site}-1` })),
      });
    expect((await distribute(2)).confirmedSerials).toEqual(['b-1']);
    expect(await everybody(2)).toMatchObject({
      confirmedSerials: ['b-1'],
      failures: [{ serial: 'a-1', code: 'EXCHANGE_REFUSED' }],
    });
    expect(await everybody(3)).toMatchObject({ confirmedSerials: ['a-1', 'b-1'], failures: [] });
  });

  it('that nobody waits for any more before its turn is not made, and its version is not lost', async () => {
    const gate = Promise.withResolvers<void>();
    const busy = a.site.partitions.all[0]!.use(() => gate.promise);
    await Promise.resolve();
    const giveUp = new AbortController();
    const order = a.call(
      'distributeDomainKey',
      { fence: fence(), version: 2, members: [{ site: address('b'), serial: 'b-1' }] },
      { signal: giveUp.signal },
    );
    giveUp.abort();
    expect((await rejection(order)).code).toBe('TIMED_OUT');
    gate.resolve();
    await busy;
    expect((await distribute(2)).confirmedSerials).toEqual(['b-1']);
  });

  it('is not made under a tenure that ends before its turn', async () => {
    const gate = Promise.withResolvers<void>();
    const busy = a.site.partitions.all[0]!.use(() => gate.promise);
    const order = rejection(distribute(2));
    a.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    gate.resolve();
    await busy;
    expect([(await order).code, a.site.journal.drills.distribution(GROUP, 2)]).toEqual(['EPOCH_STALE', undefined]);
  });

  it('is not installed at home under a tenure that ends while members answer', async () => {
    const generate = a.member.provider.generateDomainKey.bind(a.member.provider);
    a.member.provider.generateDomainKey = () => {
      a.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
      return generate();
    };
    const before = a.member.hsm.objects.length;
    const members = [{ site: address('a'), serial: 'a-1' }];
    expect(await a.call('distributeDomainKey', { fence: fence(), version: 2, members })).toMatchObject({
      confirmedSerials: [],
      failures: [{ serial: 'a-1', code: 'EPOCH_STALE' }],
    });
    expect(a.member.hsm.objects).toHaveLength(before);
  });

  it('is neither made nor received by a site in quarantine', async () => {
    b.site.journal.tenure.setQuarantine(GROUP, 'an older copy');
    expect((await distribute(2)).failures).toMatchObject([{ serial: 'b-1', code: 'SITE_QUARANTINED' }]);
    a.site.journal.tenure.setQuarantine(GROUP, 'an older copy');
    expect((await rejection(distribute(3))).code).toBe('SITE_QUARANTINED');
  });

  it('is named as failed when its distribution was cut short, and never made again under that version', async () => {
    const generate = a.member.provider.generateDomainKey;
    a.member.provider.generateDomainKey = async () => {
      throw new AntipodeError('HSM_WORKER_LOST', 'the worker ended');
    };
    expect((await rejection(distribute(2))).code).toBe('HSM_WORKER_LOST');
    a.member.provider.generateDomainKey = generate;
    expect(await distribute(2)).toMatchObject({
      confirmedSerials: [],
      failures: [{ serial: 'b-1', code: 'EXCHANGE_REFUSED' }],
    });
  });

  it('is made at the active member only', async () => {
    const order = b.call('distributeDomainKey', { fence: fence(), version: 2, members: [] });
    expect((await rejection(order)).code).toBe('ROLE_REFUSED');
  });

  it('reaches nobody who is not pinned, on either side', async () => {
    const c = await sites.network.add('c');
    const toC = (version: number) =>
      a.call('distributeDomainKey', { fence: fence(), version, members: [{ site: address('c'), serial: 'c-1' }] });
    a.pin(GROUP, c);
    expect((await toC(2)).failures).toMatchObject([{ serial: 'c-1', code: 'PEER_NOT_PINNED' }]);
    c.pin(GROUP, a);
    expect((await toC(3)).confirmedSerials).toEqual(['c-1']);
    const d = await sites.network.add('d');
    d.pin(GROUP, a);
    const toD = { fence: fence(), version: 4, members: [{ site: address('d'), serial: 'd-1' }] };
    expect((await a.call('distributeDomainKey', toD)).failures).toMatchObject([{ code: 'PEER_NOT_PINNED' }]);
  });

  it('is recorded before it is confirmed, and found again after a restart', async () => {
    await distribute(2);
    b.stop();
    await b.start();
    expect(b.site.journal.domainKeys.of('b-1').map(({ version }) => version)).toEqual([1, 2]);
  });
});

describe('a distributor', () => {
  let d: SimulatedSite;
  const by = { ...fence(), requestId: 'd' };
  const distribute = (version: number, serials = ['a-1', 'a-2', 'b-1', 'b-2'], distributorSerial = 'd-1') =>
    d.call('distributeDomainKey', {
      fence: by,
      version,
      distributorSerial,
      members: serials.map((serial) => ({ site: address(serial[0]!), serial })),
    });
  const versionsAt = (site: SimulatedSite): number[] =>
    site.site.journal.domainKeys.of(`${site.name}-1`).map(({ version }) => version);

  beforeEach(async () => {
    d = await sites.network.add('d', { role: 'distributor' });
    for (const site of [a, b, d]) site.pin(GROUP, d);
    for (const site of [a, b]) d.pin(GROUP, site);
  });

  it('brings a domain key to every member, and keeps none', async () => {
    const before = d.member.hsm.objects.length;
    expect(await distribute(2)).toMatchObject({ confirmedSerials: ['a-1', 'a-2', 'b-1', 'b-2'], failures: [] });
    expect([versionsAt(a), versionsAt(b), versionsAt(d)]).toEqual([[1, 2], [1, 2], []]);
    expect([d.member.hsm.objects.length, d.member.provider.sessionObjectCount]).toEqual([before, 0]);
    const captured = await a.call('capture', { fence: fence(), domainKeyVersion: 2 });
    await sites.apply(b, captured.generation as never);
    expect((await sites.verify(b, captured.generation as never)).proof).toMatchObject({ failed: 0 });
    expect(await distribute(2)).toMatchObject({ confirmedSerials: ['a-1', 'a-2', 'b-1', 'b-2'] });
  });

  it('is the only one: where one is pinned, no member makes domain keys or has them taken', async () => {
    const order = (site: SimulatedSite) =>
      a.call('distributeDomainKey', {
        fence: fence(),
        version: 2,
        members: [{ site: address(site.name), serial: 'b-1' }],
      });
    expect((await rejection(order(b))).code).toBe('ROLE_REFUSED');
    // One whose own site was talked out of it finds nobody who takes its keys.
    a.site.trust.distributors = () => [];
    expect((await order(b)).failures).toMatchObject([{ serial: 'b-1', code: 'PEER_REFUSED' }]);
    expect(versionsAt(b)).toEqual([1]);
  });

  it('counts from its own site and in its own role only', async () => {
    const offer = { serial: 'd-1', identity: d.member.keyring.identity.publicHalf, nonce: new Uint8Array(32) };
    const point = publicHalfOf(ecKey(seededPrng('point'))).slice(-65);
    const begin = (site: string, change: object = {}) =>
      b.call(
        'beginExchange',
        {
          ...{ exchangeId: `x${site}`, group: GROUP, version: 2, responderSerial: 'b-1' },
          ...{ fence: fence(), offer: { ...offer, point, ...change } },
        },
        { site },
      );
    expect((await rejection(begin('a'))).code).toBe('PEER_REFUSED');
    const asMember = { serial: 'a-1', identity: a.member.keyring.identity.publicHalf };
    expect((await rejection(begin('d', asMember))).code).toBe('PEER_REFUSED');
    expect((await rejection(begin('d', { serial: 'd-2' }))).code).toBe('PEER_REFUSED');
    expect((await begin('d')).offer?.serial).toBe('b-1');
  });

  it('is one by its own configuration and its own pins, and by no order', async () => {
    expect((await rejection(distribute(2, ['b-1'], 'd-2'))).code).toBe('ROLE_REFUSED');
    const asDistributor = { fence: fence(), version: 2, distributorSerial: 'a-1', members: [] };
    expect((await rejection(a.call('distributeDomainKey', asDistributor))).code).toBe('ROLE_REFUSED');
    a.pins.add(GROUP, [{ site: 'a', serial: 'a-1', identity: 'aa'.repeat(32), role: 'distributor' }]);
    expect((await rejection(a.call('distributeDomainKey', asDistributor))).code).toBe('ROLE_REFUSED');
    const other = { ...by, group: 'other' };
    const unpinned = { fence: other, version: 1, distributorSerial: 'd-1', members: [] };
    expect((await rejection(d.call('distributeDomainKey', unpinned))).code).toBe('ROLE_REFUSED');
  });

  it('gets no domain key, no seat and no sealed data', async () => {
    expect((await distribute(2, ['b-1', 'd-1'])).failures).toMatchObject([{ serial: 'd-1', code: 'PEER_NOT_PINNED' }]);
    const seat = { fence: fence(), serial: 'd-1', role: MemberRole.STANDBY };
    expect((await rejection(d.call('setRole', seat))).code).toBe('ROLE_REFUSED');
    const only = await sites.network.add('e', { role: 'distributor' });
    b.pins.add(GROUP, [
      { site: 'e', serial: 'e-1', identity: only.member.keyring.identity.sha256, role: 'distributor' },
    ]);
    expect([b.site.trust.knowsSite(GROUP, 'e'), b.site.trust.knowsSite(GROUP, 'a')]).toEqual([false, true]);
  });

  it('acts under a tenure that is in force only', async () => {
    b.site.fences.admit({ group: GROUP, epoch: 5n, owner: 'b' });
    expect((await distribute(2, ['b-1'])).failures).toMatchObject([{ serial: 'b-1', code: 'EPOCH_STALE' }]);
  });
});

describe('an exchange', () => {
  const begin = (
    by = fence(),
    {
      exchangeId = 'x',
      group = GROUP,
      site = by.owner,
      from = a.member,
      serial = from.serial,
      version = 2,
    }: {
      exchangeId?: string;
      group?: string;
      site?: string;
      from?: SimulatedSite['member'];
      serial?: string;
      version?: number;
    } = {},
  ) => {
    const offer = { serial, identity: from.keyring.identity.publicHalf, nonce: new Uint8Array(32) };
    const point = publicHalfOf(ecKey(seededPrng('point'))).slice(-65);
    const ids = { exchangeId, group, version, responderSerial: 'b-1' };
    return b.call('beginExchange', { ...ids, fence: by, offer: { ...offer, point } }, { site });
  };
  const complete = (by = fence(), { exchangeId = 'x', site = by.owner }: { exchangeId?: string; site?: string } = {}) =>
    b.call(
      'completeExchange',
      { exchangeId, fence: by, wrappedKey: new Uint8Array(40), signature: new Uint8Array(64) },
      { site },
    );

  it('does not begin under a lower epoch, under one of another owner, or under the fence of another group', async () => {
    b.site.fences.admit({ group: GROUP, epoch: 5n, owner: 'a' });
    expect((await rejection(begin(fence(4n)))).code).toBe('EPOCH_STALE');
    expect((await rejection(begin(fence(5n, 'c')))).code).toBe('EPOCH_CONFLICT');
    expect((await rejection(begin({ ...fence(5n), group: 'other' }))).code).toBe('REQUEST_INVALID');
    expect((await begin(fence(5n))).offer?.serial).toBe('b-1');
  });

  it('begins at the word of the site that owns the tenure only', async () => {
    expect(await rejection(begin(fence(), { site: 'c' }))).toMatchObject({
      code: 'PEER_REFUSED',
      details: { owner: 'a' },
    });
    const asCoordinator = b.call('beginExchange', { group: GROUP, fence: fence(), offer: {} });
    expect((await rejection(asCoordinator)).code).toBe('PEER_REFUSED');
  });

  it('begins with the identity of a member of that site, as that partition, and with no other', async () => {
    const c = await sites.network.add('c');
    b.pin(GROUP, c);
    for (const other of [
      { site: 'c', by: fence(2n, 'c') },
      { from: a.scratch },
      { serial: 'a-2' },
      { from: c.member, serial: 'a-1' },
    ]) {
      const { by = fence(), ...rest } = other as { by?: ReturnType<typeof fence> };
      expect((await rejection(begin(by, rest))).code).toBe('PEER_REFUSED');
    }
    expect((await begin(fence(2n, 'c'), { from: c.member })).offer?.serial).toBe('b-1');
  });

  it('raises no epoch: only the orders of a coordinator do', async () => {
    await begin(fence(9n));
    expect(b.site.journal.tenure.fence(GROUP)?.epoch).toBe(1n);
  });

  it.each<[string, string, () => ReturnType<typeof fence>]>([
    ['of a tenure that is over', 'EPOCH_STALE', () => fence()],
    ['of another owner', 'EPOCH_CONFLICT', () => fence(2n)],
    ['of another group', 'REQUEST_INVALID', () => ({ ...fence(2n), group: 'other' })],
  ])('is not completed under a fence %s', async (_what, code, by) => {
    await begin();
    b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    const objects = b.member.hsm.objects.length;
    expect((await rejection(complete(by(), { site: 'a' }))).code).toBe(code);
    expect(b.member.hsm.objects).toHaveLength(objects);
  });

  it('installs nothing when the tenure ends while it waits for its turn', async () => {
    await begin();
    const [member] = b.site.partitions.all;
    const gate = Promise.withResolvers<void>();
    const busy = member!.use(() => gate.promise);
    let hasInstalled = false;
    b.member.provider.deriveExchangeKey = async () => {
      hasInstalled = true;
      throw new AntipodeError('HSM_REFUSED', 'not in this test');
    };
    const waiting = rejection(complete());
    b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    gate.resolve();
    await busy;
    expect([(await waiting).code, hasInstalled]).toEqual(['EPOCH_STALE', false]);
  });

  it('is completed by nobody but the site that began it, and stays open for that one', async () => {
    await begin();
    for (const by of [fence(), fence(2n, 'c')]) {
      expect(await rejection(complete(by, { site: 'c' }))).toMatchObject({
        code: 'EXCHANGE_REFUSED',
        details: { exchangeId: 'x' },
      });
    }
    expect((await rejection(complete())).message).toContain('not signed');
    expect((await rejection(complete())).details).toEqual({ exchangeId: 'x' });
  });

  it('takes few places for each site, so that none can take those of the others', async () => {
    const ids = ['1', '2', '3', '4'];
    for (const exchangeId of ids) await begin(fence(), { exchangeId });
    expect(await rejection(begin(fence(), { exchangeId: '5' }))).toMatchObject({
      code: 'EXCHANGE_REFUSED',
      details: { site: 'a', open: 4 },
    });
    const c = await sites.network.add('c');
    b.pin(GROUP, c);
    const fromC = (exchangeId: string) => begin(fence(2n, 'c'), { exchangeId, from: c.member });
    expect((await fromC('5')).offer?.serial).toBe('b-1');
    expect((await rejection(fromC('1'))).code).toBe('EXCHANGE_REFUSED');
  });

  it('of a later version takes the places of those for earlier ones, which cannot be completed any more', async () => {
    for (let version = 2; version < 9; version += 1) await begin(fence(), { exchangeId: `v${version}`, version });
    expect(await rejection(complete(fence(), { exchangeId: 'v7' }))).toMatchObject({ details: { exchangeId: 'v7' } });
    const c = await sites.network.add('c');
    b.pin(GROUP, c);
    await begin(fence(2n, 'c'), { exchangeId: 'of c', from: c.member, version: 99 });
    // An exchange of another site stays open.
    expect((await rejection(complete(fence(), { exchangeId: 'v8' }))).message).toContain('not signed by its identity');
  });

  it('is forgotten after a minute on both halves, which frees its place', async () => {
    for (const exchangeId of ['1', '2', '3', '4']) await begin(fence(), { exchangeId });
    await sites.network.clock.advance(60_001);
    expect(await rejection(complete(fence(), { exchangeId: '1' }))).toMatchObject({ details: { exchangeId: '1' } });
    for (const exchangeId of ['5', '6', '7', '8']) await begin(fence(), { exchangeId });
  });

  it('that lost its session frees its place', async () => {
    for (const exchangeId of ['1', '2', '3', '4']) await begin(fence(), { exchangeId });
    await b.member.reopen();
    await begin(fence(), { exchangeId: '5' });
  });
});
