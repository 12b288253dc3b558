/** Domain keys between agents: made once, for pinned members only, remembered. */
import { ecKey, publicHalfOf } from '@antipode/hsm-core/testing';
import { AntipodeError, seededPrng } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from './testing/simulated-site.ts';
import { address, fence, GROUP, TwoSites } from './testing/two-sites.ts';

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
    expect([(await order).code, a.site.journal.distribution(GROUP, 2)]).toEqual(['EPOCH_STALE', undefined]);
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
    expect(b.site.journal.domainKeys('b-1').map(({ version }) => version)).toEqual([1, 2]);
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
    }: { exchangeId?: string; group?: string; site?: string; from?: SimulatedSite['member']; serial?: string } = {},
  ) => {
    const offer = { serial, identity: from.keyring.identity.publicHalf, nonce: new Uint8Array(32) };
    const point = publicHalfOf(ecKey(seededPrng('point'))).slice(-65);
    const ids = { exchangeId, group, version: 2, responderSerial: 'b-1' };
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
    expect(b.site.journal.fence(GROUP)?.epoch).toBe(1n);
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
