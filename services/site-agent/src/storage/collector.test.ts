/**
 * Each reason to keep a sealed object, by itself. For random histories of all of them see collector-properties.test.ts.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { sha256Hex } from '@antipode/runtime';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { heldDomainKeys } from '../orders/domain-key-retirement.ts';
import { writeJournal19 } from '../testing/older-journals.ts';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { address, fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';
import { Collector } from './collector.ts';
import { Journal } from './journal/journal.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Longer than the retention of a group that says nothing, and than the floor of a site. */
const LONG_MS = 31 * DAY_MS;

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;
/** Sealed object of the key that is deleted. */
let blob: string;
let needed: string[];

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  const doomed = a.member.hsm.addSecret('doomed');
  const first = await replicated();
  const { entries } = (await a.site.store.open(first.digest)).generation;
  blob = entries.find(({ attributes: { label } }) => Buffer.from(label ?? []).toString() === 'doomed')!.blobSha256!;
  a.member.hsm.remove(doomed);
  await replicated();
});
afterEach(() => sites.close());

async function replicated(): Promise<Ref & { digest: string }> {
  sites.renew(a);
  const ref = await sites.captured();
  await sites.apply(b, ref);
  await sites.verify(b, ref);
  needed = [ref.digest];
  return ref;
}

async function collect(site = a): Promise<void> {
  site.site.retention.learn(GROUP, needed);
  await site.site.retention.pass();
  await site.site.collector.pass();
}

/** Until the active member has dropped the tombstone and nothing names the object but the manifests of before. */
async function expire(): Promise<void> {
  for (const site of [a, b]) await collect(site);
  sites.renew(a);
  await sites.capture(a);
  await sites.network.clock.advance(LONG_MS);
  await replicated();
}

/** Passes of three days: what is not needed is marked, its manifests go, it is marked itself, and it goes. */
async function collectForDays(site: SimulatedSite): Promise<void> {
  for (let pass = 0; pass < 4; pass += 1) {
    await collect(site);
    await sites.network.clock.advance(25 * HOUR_MS);
  }
}

const has = (site: SimulatedSite): boolean => site.site.store.hasBlob(blob);

it('erases a deleted key when its retention has passed, at every site, and says so', async () => {
  await expire();
  expect([has(a), has(b)]).toEqual([true, true]);
  for (const site of [a, b]) await collectForDays(site);
  expect([has(a), has(b)]).toEqual([false, false]);
  const [erasure] = a.site.journal.collection.erasures();
  expect(erasure).toMatchObject({ isDone: true });
  expect(erasure!.objectIds).toHaveLength(1);
  await collect(a);
  expect(a.site.journal.collection.buried(GROUP)).toEqual([]);
  // The objects that are left can still be restored.
  const c = await sites.network.add('c');
  for (const peer of [a, b, c]) c.pin(GROUP, peer);
  a.pin(GROUP, c);
  await c.site.transfer.pull({ group: GROUP, digest: needed[0]!, sources: [address('a')] });
});

it('leaves nothing of it in the files', async () => {
  const bytes = a.site.store.blob(blob);
  await expire();
  await collectForDays(a);
  for (const name of readdirSync(a.folder).filter((one) => one.startsWith('generations')))
    expect(readFileSync(`${a.folder}/${name}`).includes(Buffer.from(bytes)), name).toBe(false);
});

describe('keeps', () => {
  it('what has not been deleted for long enough, whatever the clock on the wall says', async () => {
    for (const site of [a, b]) await collect(site);
    sites.network.clock.stepWall(400 * DAY_MS);
    for (const site of [a, b]) await collectForDays(site);
    expect([has(a), has(b)]).toEqual([true, true]);
  });

  it('what this site has not watched for its retention, although the active member says that it is over', async () => {
    await collect(a);
    sites.renew(a);
    await sites.capture(a);
    await sites.network.clock.advance(LONG_MS);
    await replicated();
    // b sees the tombstone here for the first time.
    await collectForDays(b);
    expect(has(b)).toBe(true);
    await sites.network.clock.advance(LONG_MS);
    await collectForDays(b);
    expect(has(b)).toBe(false);
  });

  it('what a manifest names that cannot be read: then nothing at all is erased', async () => {
    await expire();
    await collect(a);
    const rotten = a.site.store.list(GROUP).at(-1)!.digest;
    a.stop();
    const database = new DatabaseSync(`${a.folder}/generations.db`);
    database
      .prepare('UPDATE manifest SET signed = ? WHERE hex(digest) = ?')
      .run(Uint8Array.of(1), rotten.toUpperCase());
    database.close();
    await a.start();
    await collectForDays(a);
    expect(has(a)).toBe(true);
    expect(a.site.collector.stopped?.code).toBe('MANIFEST_INVALID');
  });

  it('everything until the coordinator has said what members may ask for', async () => {
    await expire();
    for (let pass = 0; pass < 6; pass += 1) {
      await b.site.collector.pass();
      await sites.network.clock.advance(25 * HOUR_MS);
    }
    b.stop();
    await b.start();
    for (let pass = 0; pass < 6; pass += 1) {
      await b.site.collector.pass();
      await sites.network.clock.advance(25 * HOUR_MS);
    }
    expect(has(b)).toBe(true);
  });

  it('everything while the journal may be an older copy', async () => {
    await expire();
    a.site.journal.tenure.setQuarantine(GROUP, 'an older copy');
    await collectForDays(a);
    expect(has(a)).toBe(true);
  });

  it('what a member has acknowledged last that is away', async () => {
    const [, older] = a.site.store.list(GROUP);
    await expire();
    needed = [...needed, older!.digest];
    await collectForDays(a);
    expect(has(a)).toBe(true);
  });

  it.each(['held', 'accepted', 'restored', 'being restored'] as const)('an object that is %s', async (state) => {
    await expire();
    const { journal } = a.site;
    const [burial] = journal.collection.buried(GROUP);
    const { objectId } = burial!;
    if (state === 'held') journal.decisions.setHeld({ group: GROUP, serial: 'a-1' }, [{ objectId, reason: 'deleted' }]);
    if (state === 'accepted') journal.decisions.accept({ group: GROUP, serial: 'a-1' }, [objectId]);
    if (state === 'restored') journal.decisions.setRestored({ group: GROUP, serial: 'a-1' }, [objectId]);
    const intent = { objectId, objectClass: 'secret-key', id: new Uint8Array(), label: new Uint8Array() } as const;
    if (state === 'being restored')
      journal.intents.begin({ group: GROUP, serial: 'a-1' }, [{ ...intent, attributesDigest: new Uint8Array(1) }]);
    await collectForDays(a);
    expect(has(a)).toBe(true);
  });

  it('what a generation names that is being fetched, before its manifest is here', async () => {
    const { store, journal } = b.site;
    const sealed = await a.site.store.open(a.site.store.list(GROUP).at(-1)!.digest);
    await expire();
    const release = store.inUse.hold(sealed);
    await collectForDays(b);
    expect(has(b)).toBe(true);
    expect(journal.collection.unneeded().has(blob)).toBe(false);
    release();
    await collectForDays(b);
    expect(has(b)).toBe(false);
  });

  it('a generation that another site has begun to fetch', async () => {
    await expire();
    await collect(a);
    await sites.network.clock.advance(25 * HOUR_MS);
    const oldest = a.site.store.list(GROUP).at(-1)!.digest;
    const request = { group: GROUP, generation: { manifestDigest: Buffer.from(oldest, 'hex') } };
    for await (const part of a.stream('pullManifest', request, { site: 'b' })) expect(part).toBeDefined();
    await collect(a);
    expect(a.site.store.has(oldest)).toBe(true);
    for await (const part of a.stream('pullBlobs', { ...request, sha256: [Buffer.from(blob, 'hex')] }, { site: 'b' }))
      expect(part.blobs).toHaveLength(1);
  });

  it('what comes into use between the look and the erasing', async () => {
    await expire();
    for (let pass = 0; pass < 2; pass += 1) {
      await collect(a);
      await sites.network.clock.advance(25 * HOUR_MS);
    }
    const { store, journal } = a.site;
    expect(journal.collection.unneeded().has(blob)).toBe(false);
    await collect(a);
    await sites.network.clock.advance(25 * HOUR_MS);
    expect(journal.collection.unneeded().has(blob)).toBe(true);
    const mark = journal.collection.mark.bind(journal.collection);
    journal.collection.mark = (marks) => {
      mark(marks);
      store.inUse.served('some other', 0);
    };
    a.member.hsm.addSecret('one more');
    await replicated();
    store.putBlobs([Uint8Array.of(1, 2, 3)]);
    await collect(a);
    expect(has(a)).toBe(true);
  });
});

it('tells a member that was away for long of what was deleted meanwhile, and only then forgets it', async () => {
  const key = a.member.hsm.addSecret('deleted meanwhile');
  const before = await replicated();
  a.member.hsm.remove(key);
  sites.renew(a);
  const deletes = await sites.captured();
  // b is away: it has acknowledged nothing since.
  needed = [deletes.digest, before.digest];
  for (let round = 0; round < 3; round += 1) {
    await collect(a);
    sites.renew(a);
    await sites.capture(a);
    await sites.network.clock.advance(LONG_MS);
  }
  a.member.hsm.addSecret('later');
  const later = await replicated();
  expect((await b.site.store.open(later.digest)).generation.tombstones).toHaveLength(1);
  expect(b.member.hsm.labelled('deleted meanwhile')).toEqual([]);
  expect(b.site.journal.findings.divergent({ group: GROUP, serial: 'b-1' })).toEqual([]);
  await collect(a);
  const last = await replicated();
  expect((await b.site.store.open(last.digest)).generation.tombstones).toEqual([]);
});

it('counts again from the start when something was needed in between', async () => {
  await expire();
  const { store, journal } = b.site;
  await collect(b);
  await sites.network.clock.advance(25 * HOUR_MS);
  await collect(b);
  await collect(b);
  expect(journal.collection.unneeded().has(blob)).toBe(true);
  await sites.network.clock.advance(20 * HOUR_MS);
  const sealed = await a.site.store.open(a.site.store.list(GROUP).at(-1)!.digest);
  const release = store.inUse.hold(sealed);
  await collect(b);
  release();
  await collect(b);
  await sites.network.clock.advance(20 * HOUR_MS);
  await collect(b);
  expect(has(b)).toBe(true);
});

it('erases nothing where the journal or the store cannot be written, and goes on when they can', async () => {
  await expire();
  for (let pass = 0; pass < 3; pass += 1) {
    await collect(a);
    await sites.network.clock.advance(25 * HOUR_MS);
  }
  const { store } = a.site;
  const erase = store.eraseBlobs.bind(store);
  store.eraseBlobs = () => {
    throw new Error('database or disk is full');
  };
  await expect(collect(a)).rejects.toThrow('full');
  expect(has(a)).toBe(true);
  expect(a.site.journal.collection.erasures()[0]).toMatchObject({ isDone: false });
  store.eraseBlobs = erase;
  await collect(a);
  expect(has(a)).toBe(false);
});

it('keeps what left the generations without a tombstone for as long as this site keeps what is deleted', async () => {
  const { store } = b.site;
  const stray = Uint8Array.of(9, 9, 9);
  store.putBlobs([stray]);
  const collector = new Collector({ ...b.site, graceMs: HOUR_MS });
  b.site.retention.learn(GROUP, needed);
  await collector.pass();
  await sites.network.clock.advance(6 * DAY_MS);
  await collector.pass();
  expect((await store.blobsBeside(new Set())).length).toBeGreaterThan(0);
  const digest = sha256Hex(stray);
  expect(store.hasBlob(digest)).toBe(true);
  await sites.network.clock.advance(DAY_MS + HOUR_MS);
  await collector.pass();
  expect(store.hasBlob(digest)).toBe(false);
});

it('counts a second deletion of the same object from zero', () => {
  const { journal } = a.site;
  const one = { objectId: '01', epoch: 1n, version: 1, blobs: ['aa'], retentionMs: 10 };
  journal.collection.noteBuried(GROUP, [{ ...one, generation: 1n }], 100);
  journal.collection.noteBuried(GROUP, [{ ...one, generation: 5n }], 900);
  const since = journal.collection.buried(GROUP).filter(({ objectId }) => objectId === '01');
  expect(since.map(({ generation, sinceMs }) => [generation, sinceMs])).toEqual([
    [1n, 100],
    [5n, 900],
  ]);
});

it('opens a journal of before, and counts what is deleted from then on', () => {
  const folder = temporaryFolder();
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeJournal19(
    `${folder}/journal.db`,
    "DROP TABLE filter; DROP TABLE known_place; DROP TABLE untried; DROP TABLE trusted_key; DROP TABLE moved_identity; DROP TABLE stranger; DROP TABLE watch; DROP TABLE buried; DROP TABLE unneeded; DROP TABLE erasure; DROP TABLE had_captured; CREATE TABLE kept (grp TEXT, object_id TEXT, kept_ms INTEGER NOT NULL, PRIMARY KEY (grp, object_id)) STRICT; INSERT INTO kept VALUES ('g', '01', 99); PRAGMA user_version = 12",
  );
  const journal = Journal.open(folder);
  expect([journal.collection.runningMs, journal.collection.buried('g')]).toEqual([0, []]);
  journal.close();
});

it('remembers that a member was active when the head of that time goes', async () => {
  const { journal } = a.site;
  expect(journal.heads.hasCaptured({ group: GROUP, serial: 'a-1' })).toBe(true);
  journal.heads.dropOvertaken({ group: GROUP, serial: 'a-1' }, 'captured');
  expect([
    journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured'),
    journal.heads.hasCaptured({ group: GROUP, serial: 'a-1' }),
  ]).toEqual([undefined, true]);
  const { journal: ofStandby } = b.site;
  ofStandby.heads.dropOvertaken({ group: GROUP, serial: 'b-1' }, 'applied');
  expect([
    ofStandby.heads.of({ group: GROUP, serial: 'b-1' }, 'applied'),
    ofStandby.decisions.hasRestored({ group: GROUP, serial: 'b-1' }),
  ]).toEqual([undefined, true]);
});

it('keeps the domain key version that opens what is still sealed', async () => {
  const others = await TwoSites.make();
  try {
    const { journal, store } = others.a.site;
    const first = await store.open((await others.captured()).digest);
    const members = ['a-1', 'a-2', 'b-1', 'b-2'].map((serial) => ({ site: address(serial[0]!), serial }));
    await others.a.call('distributeDomainKey', { fence: fence(), version: 2, members });
    await others.a.call('capture', { fence: fence(), domainKeyVersion: 2 });
    const neededFor = (): string =>
      heldDomainKeys(others.a.site, 'a-1').find(({ version }) => version === 1)?.neededFor ?? 'gone';
    store.retire(first.digest);
    expect(neededFor()).toBe('');
    // One of a deletion that no manifest names any more, and that this site still keeps.
    const blobs = first.generation.entries.flatMap(({ blobSha256 = '' }) => (blobSha256 === '' ? [] : [blobSha256]));
    const burial = { objectId: '01', epoch: 1n, generation: 1n, version: 1, blobs, retentionMs: 1 };
    journal.collection.noteBuried(GROUP, [burial], 0);
    expect(neededFor()).toContain('still sealed here');
    store.eraseBlobs(blobs);
    expect(neededFor()).toBe('');
  } finally {
    others.close();
  }
});
