/** An object that a member's token does not take: told with what it acknowledges, and never taken for deleted (I11, I15). */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';
import { describe as account } from './describe.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;
let ref: Ref & { digest: string };
let odd: string;
let takesOdd: boolean;

beforeEach(async () => {
  takesOdd = false;
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  a.member.hsm.addSecret('odd');
  ref = await sites.captured(a);
  const { entries } = (await a.site.store.open(ref.digest)).generation;
  odd = entries.find(({ attributes }) => Buffer.from(attributes.label ?? []).toString() === 'odd')!.objectId;
  const { unwrap } = b.member.provider;
  b.member.provider.unwrap = async (key, items) => {
    const index = items.findIndex(({ attributes }) => Buffer.from(attributes.label ?? []).toString() === 'odd');
    if (index === -1 || takesOdd) return unwrap.call(b.member.provider, key, items);
    const { handles } = await unwrap.call(b.member.provider, key, items.slice(0, index));
    return { handles, failure: { index, code: 'HSM_REFUSED', returnValue: 'CKR_CURVE_NOT_SUPPORTED' } };
  };
});
afterEach(() => sites.close());

const told = async (site: SimulatedSite) => (await account(site.site)).members?.find(({ group }) => group === GROUP);

it('is an exception of an acknowledgement, reported with every heartbeat, even after a restart', async () => {
  await sites.apply(b, ref);
  const { contentDigest, proof } = await sites.verify(b, ref);
  const sealed = await b.site.store.open(ref.digest);
  expect([Buffer.from(contentDigest ?? []).toString('hex'), proof?.failed]).toEqual([sealed.contentDigest, 0]);
  b.stop();
  await b.start();
  expect(await told(b)).toMatchObject({
    refused: [{ objectId: odd, kind: 'secret-key/aes', code: 'HSM_REFUSED', returnValue: 'CKR_CURVE_NOT_SUPPORTED' }],
    refusedObjects: 1,
  });
  expect(await told(a)).toMatchObject({ refused: [], refusedObjects: 0 });
});

it('does not keep its member from being promoted, and stays in the generations of the group', async () => {
  await sites.apply(b, ref);
  await sites.verify(b, ref);
  await sites.promote(b, ref);
  sites.renew(b, 2n);
  b.member.hsm.addSecret('made at b');
  const next = await sites.captured(b, fence(2n, 'b'));
  const { entries, tombstones, uncaptured } = (await b.site.store.open(next.digest)).generation;
  expect(entries.map(({ objectId }) => objectId)).toContain(odd);
  expect(tombstones).toEqual([]);
  expect(uncaptured).toMatchObject([{ objectId: odd, reason: 'unreadable' }]);
});

it('is tried again after a while, ever more seldom, until the token takes it', async () => {
  const { clock } = sites.network;
  const isDue = async (): Promise<boolean> => (await told(b))?.refusedRetryDue === true;
  const pausesMs: number[] = [];
  for (let tries = 0; tries < 3; tries += 1) {
    await sites.apply(b, ref);
    await sites.verify(b, ref);
    const triedMs = clock.monotonicMs();
    while (!(await isDue())) await clock.advance(1_000);
    pausesMs.push(clock.monotonicMs() - triedMs);
  }
  expect(pausesMs).toEqual([10_000, 20_000, 40_000]);
  takesOdd = true;
  expect(await sites.apply(b, ref)).toMatchObject({ appliedObjects: 1 });
  expect((await sites.verify(b, ref)).proof?.failed).toBe(0);
  expect(await told(b)).toMatchObject({ refused: [], refusedObjects: 0, refusedRetryDue: false });
});

it('is not tried again before it is time, but at once where a move asks for it', async () => {
  expect(await sites.apply(b, ref)).toMatchObject({ refusedObjects: 1 });
  await sites.verify(b, ref);
  const forMove = () => sites.apply(b, ref, fence(), true);
  expect(await forMove()).toMatchObject({ appliedObjects: 0, refusedObjects: 1 });
  takesOdd = true;
  expect(await sites.apply(b, ref)).toMatchObject({ appliedObjects: 0, refusedObjects: 1 });
  expect(await forMove()).toMatchObject({ appliedObjects: 1, refusedObjects: 0 });
  expect(await told(b)).toMatchObject({ refusedObjects: 0 });
});

it('is tried once more by a member that is about to serve', async () => {
  await sites.apply(b, ref);
  await sites.verify(b, ref);
  takesOdd = true;
  await sites.promote(b, ref);
  expect(await told(b)).toMatchObject({ refused: [], refusedObjects: 0 });
  sites.renew(b, 2n);
  const next = await sites.captured(b, fence(2n, 'b'));
  expect((await b.site.store.open(next.digest)).generation.uncaptured).toEqual([]);
});
