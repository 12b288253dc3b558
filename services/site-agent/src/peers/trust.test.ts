/** A trusted identity counts only from its own site, as its own partition and in its own role. */
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

it('is found with its partition, its site and its role, our own by the journal', () => {
  const find = (site: SimulatedSite, member: SimulatedSite['member']) =>
    site.site.trust.find(GROUP, member.keyring.identity.sha256);
  expect(find(b, a.member)).toMatchObject({ site: 'a', serial: 'a-1', role: 'member' });
  expect(find(b, a.scratch)).toMatchObject({ site: 'a', serial: 'a-2', role: 'scratch' });
  expect(find(b, b.member)).toEqual({ site: 'b', serial: 'b-1', role: 'member' });
  expect(b.site.trust.find('other', a.member.keyring.identity.sha256)).toBeUndefined();
  expect(['a', 'b', 'c'].map((site) => b.site.trust.knowsSite(GROUP, site))).toEqual([true, true, false]);
});

describe('a generation', () => {
  /** Why b refuses a generation after `prepare` has made its pins, or its journal, say something untrue about it. */
  const refusalAt = async (prepare: () => void): Promise<string> => {
    const ref = await sites.captured();
    prepare();
    return (await rejection(sites.apply(b, ref, fence(b.site.journal.tenure.fence(GROUP)!.epoch, 'a')))).message;
  };
  const pinned = (change: { site?: string; serial?: string; role?: 'scratch' }): void => {
    const [pin] = b.pins.of(GROUP).filter(({ serial }) => serial === 'a-1');
    b.site.trust.find = () => ({ ...pin!, ...change });
  };

  it('is taken from the member that owns its epoch', async () => {
    await sites.apply(b, await sites.captured());
  });

  it.each<[string, () => void, RegExp]>([
    ['a scratch partition has signed it', () => pinned({ role: 'scratch' }), /PEER_REFUSED.*scratch/],
    [
      'it names another partition than its signer',
      () => pinned({ serial: 'a-9' }),
      /PEER_REFUSED.*names partition a-1/,
    ],
    ['the epoch is not that of its site', () => pinned({ site: 'c' }), /PEER_REFUSED.*belongs to site a/],
  ])('is refused where %s', async (_where, prepare, message) => {
    expect(await refusalAt(prepare)).toMatch(message);
    expect(b.member.hsm.contents()).toEqual([]);
  });

  it('of an earlier epoch is taken from any member, and of one that is not known here from nobody', async () => {
    const ref = await sites.captured();
    const sealed = await a.site.store.open(ref.digest);
    pinned({ site: 'c' });
    const at = (epoch: bigint): void =>
      b.site.trust.checkSource({ ...sealed, generation: { ...sealed.generation, epoch } });
    b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    expect(() => at(1n)).not.toThrow();
    expect(() => at(2n)).toThrow(/belongs to site b/);
    expect(() => at(3n)).toThrow(/above 2/);
  });
});

describe('a domain key', () => {
  const to = (serial: string, site: string, version = 2) =>
    a.call('distributeDomainKey', { fence: fence(), version, members: [{ site: address(site), serial }] });

  it('is not given to an identity that answers at another site than its own', async () => {
    // The site that is named is not the one where b-1 is pinned, although b-1 answers there.
    const leave = b.serveAs('c');
    expect((await to('b-1', 'c')).failures).toMatchObject([{ serial: 'b-1', code: 'PEER_NOT_PINNED' }]);
    leave();
    expect((await to('b-1', 'b', 3)).confirmedSerials).toEqual(['b-1']);
  });

  it('is not given to an identity that answers for another partition', async () => {
    const [pin] = a.pins.of(GROUP).filter(({ serial }) => serial === 'b-2');
    const find = a.site.trust.find.bind(a.site.trust);
    a.site.trust.find = (group, identity) =>
      identity === b.member.keyring.identity.sha256 ? pin : find(group, identity);
    expect((await to('b-1', 'b')).failures).toMatchObject([{ serial: 'b-1', code: 'PEER_NOT_PINNED' }]);
  });
});
