/** Keys that no token wraps, in a group whose keys move natively: ordered, transferred, applied, drilled and told. */
import { blobsNamed, hasClone } from '@antipode/hsm-core';
import { Movement } from '@antipode/protocol';
import { fromHex, hex, sha256 } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { fence, GROUP, TwoSites } from '../testing/two-sites.ts';
import { describe as account } from './describe.ts';

const CLONING_KEY = sha256(Buffer.from('one cloning domain'));
const NATIVE = { movement: Movement.NATIVE };

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  for (const { member, scratch } of [a, b]) for (const { hsm } of [member, scratch]) hsm.cloningKey = CLONING_KEY;
  a.member.hsm.addSecret('never wrapped', { extractable: false, neverExtractable: true });
});
afterEach(() => sites.close());

const told = async (site: SimulatedSite) => (await account(site.site)).members?.find(({ group }) => group === GROUP);
const uncapturedIn = async (digest: string): Promise<string[]> =>
  (await a.site.store.open(digest)).generation.uncaptured.map(({ reason }) => reason);

it('are captured only if the order says so', async () => {
  const { digest } = await sites.captured();
  expect(await uncapturedIn(digest)).toEqual(['unextractable']);
  const native = await sites.captured(a, fence(), NATIVE);
  expect(await uncapturedIn(native.digest)).toEqual([]);
});

it('reach a standby, which proves them, is promoted and captures them as they are', async () => {
  const ref = await sites.captured(a, fence(), NATIVE);
  await sites.apply(b, ref);
  const { contentDigest, proof } = await sites.verify(b, ref);
  const sealed = await a.site.store.open(ref.digest);
  expect([hex(contentDigest!), proof?.failed]).toEqual([sealed.contentDigest, 0]);
  expect(b.member.hsm.labelled('never wrapped')).toMatchObject([
    { attributes: { neverExtractable: true, local: true } },
  ]);
  await sites.promote(b, ref);
  sites.renew(b, 2n);
  const next = await sites.captured(b, fence(2n, 'b'), NATIVE);
  expect((await b.site.store.open(next.digest)).contentDigest).toBe(sealed.contentDigest);
});

it.each([
  ['in the cloning domain takes the clone', CLONING_KEY, true],
  ['outside of it takes the sealed form', undefined, false],
])('have both forms where the order prefers clones, and a standby %s', async (_where, cloningKey, isCloned) => {
  a.member.hsm.addSecret('wrapped');
  const ref = await sites.captured(a, fence(), { movement: Movement.PREFER_NATIVE });
  const { generation } = await a.site.store.open(ref.digest);
  expect(generation.entries.some(hasClone)).toBe(true);
  b.member.hsm.cloningKey = cloningKey;
  await sites.apply(b, ref);
  expect(b.member.hsm.labelled('wrapped')).toMatchObject([{ attributes: { local: isCloned } }]);
  expect((await sites.verify(b, ref)).proof?.failed).toBe(0);
  expect([...(await b.site.store.lacking(blobsNamed(generation)))]).toEqual([]);
  expect(await sites.drill(b, ref)).toMatchObject({ proof: { failed: 0 }, isClean: true });
  expect(a.site.journal.decisions.movement(GROUP)).toBe('prefer-native');
});

it('are not captured by a movement that only a later release knows', async () => {
  const refused = await rejection(sites.capture(a, fence(), { movement: 9 as Movement }));
  expect(refused).toMatchObject({ code: 'REQUEST_INVALID', details: { field: 'movement' } });
  expect(a.site.journal.decisions.movement(GROUP)).toBe('sealed');
});

it('are proved by a drill', async () => {
  const ref = await sites.captured(a, fence(), NATIVE);
  expect(await sites.drill(b, ref)).toMatchObject({ proof: { proved: 3, failed: 0 }, isClean: true });
});

it('are exceptions at a member that clones nothing, or is of another cloning domain', async () => {
  const ref = await sites.captured(a, fence(), NATIVE);
  for (const [cloningKey, code] of [
    [undefined, 'NATIVE_UNAVAILABLE'],
    [sha256(Buffer.from('another')), 'CLONING_DOMAIN_OTHER'],
  ] as const) {
    b.member.hsm.cloningKey = cloningKey;
    await sites.apply(b, ref);
    expect((await sites.verify(b, ref)).proof?.failed).toBe(0);
    expect(await told(b)).toMatchObject({ refused: [{ kind: 'secret-key/aes', code }], refusedObjects: 1 });
    await b.start();
    const { clock } = sites.network;
    while ((await told(b))?.refusedRetryDue !== true) await clock.advance(1_000);
  }
});

it('have the cloning domain of each partition on record, and nothing where there is none', async () => {
  b.member.hsm.cloningKey = undefined;
  const domainOf = async ({ site, member }: SimulatedSite): Promise<string> =>
    hex((await account(site)).partitions?.find(({ serial }) => serial === member.serial)?.cloningDomain ?? fromHex(''));
  expect([await domainOf(a), await domainOf(b)]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), '']);
});

it('are shown as the next capture would take them, also after a restart', async () => {
  await sites.captured(a, fence(), NATIVE);
  expect(a.site.journal.decisions.movement(GROUP)).toBe('native');
  a.stop();
  await a.start();
  expect(a.site.journal.decisions.movement(GROUP)).toBe('native');
  expect(a.site.journal.decisions.filter(GROUP)).not.toHaveProperty('movement');
});
