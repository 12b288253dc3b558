/** Every member fetches lost or damaged parts of its store again, and none of them ends anything for good. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { blobDigests } from '@antipode/hsm-core';
import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describe as account } from '../orders/describe.ts';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;
let ref: Ref & { digest: string };

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  ref = await sites.captured();
  await sites.apply(b, ref);
  await sites.verify(b, ref);
});

afterEach(() => sites.close());

function onDisk({ folder }: SimulatedSite, sql: string, ...values: Uint8Array[]): void {
  const database = new DatabaseSync(join(folder, 'generations.db'));
  database.prepare(sql).run(...values);
  database.close();
}

/** One bit of a manifest, while the agent does not run. */
async function flipManifest(site: SimulatedSite, digest = ref.digest): Promise<void> {
  const signed = Buffer.from(site.site.store.signed(digest));
  signed[60]! ^= 1;
  site.stop();
  onDisk(site, 'UPDATE manifest SET signed = ? WHERE digest = ?', signed, fromHex(digest));
  await site.start();
  learnPeers(site);
}

async function loseStore(site: SimulatedSite): Promise<void> {
  site.stop();
  onDisk(site, 'DELETE FROM manifest');
  onDisk(site, 'DELETE FROM blob');
  await site.start();
  learnPeers(site);
}

/** As a heartbeat tells them. */
const learnPeers = ({ name, site }: SimulatedSite): void =>
  site.mender.learn(GROUP, [address(name === 'a' ? 'b' : 'a')]);

const blobsOf = async ({ site }: SimulatedSite, digest = ref.digest): Promise<string[]> =>
  blobDigests((await site.store.open(digest)).generation);

async function next(): Promise<Ref & { digest: string }> {
  sites.renew(a);
  a.member.hsm.addSecret('next');
  return sites.captured();
}

describe('the manifest of the active member', () => {
  it('is fetched again by the capture that needs it', async () => {
    await flipManifest(a);
    expect(await a.site.store.isSound(ref.digest)).toBe(false);
    const newer = await next();
    expect((await a.site.store.open(newer.digest)).generation.previousDigest).toBe(ref.digest);
    expect((await account(a.site)).partitions?.[0]).toMatchObject({ errorCode: '' });
  });

  it('is fetched again when it is missing altogether, with its blobs', async () => {
    const blobs = await blobsOf(a);
    await loseStore(a);
    await a.site.mender.mendAll();
    expect(await a.site.store.unsound(blobs)).toEqual([]);
    expect(await a.site.store.isSound(ref.digest)).toBe(true);
  });

  it('holds captures up, as a matter for another try, while the member that has it is away', async () => {
    await flipManifest(a);
    b.stop();
    sites.renew(a);
    expect((await rejection(sites.capture(a))).code).toBe('SITE_UNREACHABLE');
    await b.start();
    await next();
  });

  it('is replaced by the one before where no member has it, and nothing is captured under another identity', async () => {
    const newer = await next();
    await flipManifest(a, newer.digest);
    sites.renew(a);
    const { generation } = await sites.capture(a);
    const before = (await b.site.store.open(ref.digest)).generation.entries.map(({ objectId }) => objectId);
    const after = await a.site.store.open(Buffer.from(generation!.manifestDigest!).toString('hex'));
    expect(after.generation.previousDigest).toBe(ref.digest);
    expect(after.generation.entries.map(({ objectId }) => objectId)).toEqual(expect.arrayContaining(before));
  });

  it('is not given up before the coordinator has said who the members are', async () => {
    const newer = await next();
    await flipManifest(a, newer.digest);
    a.site.mender.learn(GROUP, [address('b'), { site: 'c', address: '' }]);
    sites.renew(a);
    expect((await rejection(sites.capture(a))).code).toBe('MANIFEST_INVALID');
    expect(a.site.journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured')).toBe(newer.digest);
  });
});

describe('a sealed object of the active member', () => {
  const lose = (site: SimulatedSite, blob: string): void =>
    onDisk(site, 'DELETE FROM blob WHERE sha256 = ?', fromHex(blob));

  it('that is found damaged when it is served is fetched again', async () => {
    const [blob] = await blobsOf(a);
    onDisk(a, 'UPDATE blob SET bytes = ? WHERE sha256 = ?', Uint8Array.of(1), fromHex(blob!));
    learnPeers(a);
    expect((await rejection(Promise.resolve().then(() => a.site.store.blob(blob!)))).code).toBe('BLOB_INVALID');
    await a.site.mender.mendAll();
    expect(a.site.store.damaged.size).toBe(0);
    expect(a.site.store.blob(blob!).length).toBeGreaterThan(1);
  });

  it('that no member has is sealed again, and the standby gets it', async () => {
    const newer = await next();
    const fresh = (await blobsOf(a, newer.digest)).filter((blob) => !b.site.store.hasBlob(blob));
    for (const blob of fresh) lose(a, blob);
    learnPeers(a);
    expect((await rejection(sites.apply(b, newer))).code).toBe('GENERATION_UNKNOWN');
    sites.renew(a);
    const { generation, sealedObjects } = await sites.capture(a);
    expect(sealedObjects).toBe(fresh.length);
    expect(await sites.apply(b, generation as Ref)).toMatchObject({ appliedObjects: 1 });
  });
});

describe('the head of a standby', () => {
  it('is fetched again before a promotion, which then succeeds', async () => {
    await flipManifest(b);
    await b.call('setRole', { fence: fence(2n, 'b'), serial: 'b-1', role: 2 });
    expect(await sites.promote(b, ref)).toMatchObject({ proof: { failed: 0 } });
  });

  it('that no member has any more is dropped, so that the newest generation is applied again', async () => {
    await flipManifest(b);
    onDisk(a, 'DELETE FROM manifest');
    a.stop();
    await a.start();
    await b.site.mender.mendAll();
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBeUndefined();
    expect((await account(b.site)).partitions?.[0]).toMatchObject({ errorCode: '' });
  });
});
