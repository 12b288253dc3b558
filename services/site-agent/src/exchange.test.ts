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
    expect((await toC(2)).failures).toMatchObject([{ serial: 'c-1', code: 'PEER_NOT_PINNED' }]);
    c.pin(GROUP, a);
    expect((await toC(3)).failures).toMatchObject([{ serial: 'c-1', code: 'PEER_NOT_PINNED' }]);
    a.pin(GROUP, c);
    expect((await toC(4)).confirmedSerials).toEqual(['c-1']);
  });

  it('is recorded before it is confirmed, and found again after a restart', async () => {
    await distribute(2);
    b.stop();
    await b.start();
    expect(b.site.journal.domainKeys('b-1').map(({ version }) => version)).toEqual([1, 2]);
  });
});

describe('the first half of an exchange', () => {
  const begin = (by: ReturnType<typeof fence>, group = GROUP) => {
    const offer = { serial: 'a-1', identity: a.member.keyring.identity.publicHalf, nonce: new Uint8Array(32) };
    const point = publicHalfOf(ecKey(seededPrng('point'))).slice(-65);
    const ids = { exchangeId: 'x', group, version: 2, responderSerial: 'b-1' };
    return b.call('beginExchange', { ...ids, fence: by, offer: { ...offer, point } });
  };

  it('is refused under a lower epoch, and under the fence of another group', async () => {
    b.site.fences.admit({ group: GROUP, epoch: 5n, owner: 'a' });
    expect((await rejection(begin(fence(4n)))).code).toBe('EPOCH_STALE');
    expect((await rejection(begin({ ...fence(5n), group: 'other' }))).code).toBe('REQUEST_INVALID');
    expect((await begin(fence(5n))).offer?.serial).toBe('b-1');
  });

  it('raises no epoch: only the orders of a coordinator do', async () => {
    await begin(fence(9n));
    expect(b.site.journal.fence(GROUP)?.epoch).toBe(1n);
  });
});
