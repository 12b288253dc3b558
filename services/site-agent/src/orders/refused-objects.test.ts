/** An object that a member's token does not take: told with what it acknowledges, and never taken for deleted (I11, I15). */
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';
import { describe as account } from './describe.ts';
import { refOf } from './generation-ref.ts';

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
  // So that nobody counts it as two keys.
  expect(refOf(await b.site.store.open(next.digest)).uncaptured).toMatchObject([{ objectId: odd, isKept: true }]);
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

describe('at the active member, when the group gets a new domain key', () => {
  const second = () => sites.captured(b, fence(2n, 'b'), { domainKeyVersion: 2 });

  const entriesOf = async ({ digest }: { digest: string }) =>
    (await b.site.store.open(digest)).generation.entries.map(({ objectId }) => objectId);

  beforeEach(async () => {
    await sites.apply(b, ref);
    await sites.verify(b, ref);
    await sites.promote(b, ref);
    sites.renew(b, 2n);
    await sites.rotate(b, 2, fence(2n, 'b'));
    b.member.hsm.addSecret('made at b');
  });

  it('holds captures, and says that another member has it', async () => {
    for (let looks = 0; looks < 2; looks += 1)
      expect(await rejection(second())).toMatchObject({
        code: 'CAPTURE_HELD',
        message: expect.stringContaining('does not have 1 of 3 objects'),
        hint: expect.stringContaining('antipode failover payments --to'),
        details: { away: 1, objects: 1, version: 2 },
      });
    expect(await told(b)).toMatchObject({ heldObjects: 1 });
  });

  it('leaves the generations if an operator accepts that, and the token that has it keeps it', async () => {
    await rejection(second());
    const { decisions } = b.site.journal;
    decisions.accept({ group: GROUP, serial: 'b-1' }, [odd]);
    const next = await second();
    expect(await entriesOf(next)).not.toContain(odd);
    expect((await b.site.store.open(next.digest)).generation.tombstones).toEqual([]);
    expect(await told(b)).toMatchObject({ heldObjects: 0 });
    expect(a.member.hsm.labelled('odd')).toHaveLength(1);
  });

  it('is sealed under it once somebody has brought it here by hand', async () => {
    await rejection(second());
    b.member.hsm.objects.push({ ...a.member.hsm.labelled('odd')[0]! });
    expect(await entriesOf(await second())).toContain(odd);
    expect(await told(b)).toMatchObject({ heldObjects: 0, refusedObjects: 0 });
  });
});
