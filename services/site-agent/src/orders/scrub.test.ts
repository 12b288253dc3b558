/** A scrub over partitions in memory: what counts as damage where, and what it changes in the journal. */

import { join } from 'node:path';
import { hex, Log } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openDatabase } from '../storage/database.ts';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, TwoSites } from '../testing/two-sites.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;
let digest: string;
let apply: () => Promise<unknown>;

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  const generation = await sites.captured();
  digest = generation.digest;
  apply = async () => {
    await sites.apply(b, generation);
    await sites.verify(b, generation);
  };
  await apply();
});

afterEach(() => sites.close());

const scrub = (site: SimulatedSite) =>
  site.call('scrub', { fence: fence(), sources: ['a', 'b'].filter((name) => name !== site.name).map(address) });
const secretOf = ({ member }: SimulatedSite) => member.hsm.labelled('secret')[0]!;
const rot = (site: SimulatedSite): void => {
  const secret = secretOf(site);
  secret.value = secret.value!.map((byte) => byte ^ 1);
};

it('names in the journal which uses nothing could try, and forgets those that could be tried since', async () => {
  const { provider } = b.member;
  const { prove } = provider;
  const untried = { use: 'derive', outcome: 'not-exercised', detail: 'no mechanism' } as const;
  provider.prove = async (key, items) =>
    (await prove.call(provider, key, items)).map((outcome, index) =>
      items[index]!.objectClass === 'secret-key' ? { ...outcome, checks: [...outcome.checks, untried] } : outcome,
    );
  await scrub(b);
  const [named, ...more] = b.site.journal.findings.untried({ group: GROUP, serial: 'b-1' });
  expect([named, more]).toMatchObject([{ use: 'derive', reason: 'no mechanism' }, []]);
  await scrub(a);
  expect(a.site.journal.findings.untried({ group: GROUP, serial: 'a-1' })).toEqual([]);
  provider.prove = prove;
  await scrub(b);
  expect(b.site.journal.findings.untried({ group: GROUP, serial: 'b-1' })).toEqual([]);
});

it('finds a sound member sound, at either side, and changes nothing', async () => {
  for (const site of [a, b]) {
    const { generation, ...found } = await scrub(site);
    expect(hex(generation!.manifestDigest!)).toBe(digest);
    expect(found).toMatchObject({
      proof: { proved: 2, failed: 0 },
      missingObjects: 0,
      alteredObjects: 0,
      mendedBlobs: 0,
    });
  }
  expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(digest);
});

it('counts what an application has made at a standby under a name of the group, until it is gone', async () => {
  const namesakes = () => b.site.journal.findings.namesakes({ group: GROUP, serial: 'b-1' });
  await scrub(b);
  expect(namesakes()).toBe(0);
  const other = b.member.hsm.addSecret('secret');
  b.member.hsm.addSecret('other');
  await scrub(b);
  expect(namesakes()).toBe(1);
  b.member.hsm.remove(other);
  await scrub(b);
  expect(namesakes()).toBe(0);
  // The active member captures it.
  a.member.hsm.addSecret('secret');
  await scrub(a);
  expect(a.site.journal.findings.namesakes({ group: GROUP, serial: 'a-1' })).toBe(0);
});

describe('a standby', () => {
  it.each<[string, (site: SimulatedSite) => void, object]>([
    ['a value has rotted', rot, { proof: { failed: 1 } }],
    ['a key is gone', (site) => site.member.hsm.remove(secretOf(site)), { missingObjects: 1 }],
    [
      'a key has another use',
      (site) => Object.assign(secretOf(site).attributes, { decrypt: false }),
      { alteredObjects: 1 },
    ],
  ])(
    'in which %s does not count as applied any more, and the next apply makes it whole',
    async (_what, harm, found) => {
      harm(b);
      expect(await scrub(b)).toMatchObject(found);
      expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBeUndefined();
      await apply();
      expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(digest);
      expect(await scrub(b)).toMatchObject({ proof: { proved: 2, failed: 0 }, missingObjects: 0, alteredObjects: 0 });
    },
  );

  it('whose key has rotted keeps what bears its name sealed, and finds its successor by it alone', async () => {
    rot(b);
    const rotten = secretOf(b).value!;
    await scrub(b);
    await apply();
    const values = b.member.hsm.labelled('secret').map(({ value }) => hex(value!));
    expect(values).toEqual([hex(secretOf(a).value!)]);
    expect(values).not.toContain(hex(rotten));
    const [aside] = b.site.journal.decisions.asides(GROUP);
    expect((await b.site.store.open(aside!)).generation.entries).toHaveLength(1);
  });

  it('remakes a key that stopped working after it was restored and before it was read back', async () => {
    a.member.hsm.addSecret('later');
    const later = await sites.captured();
    await sites.apply(b, later);
    const { provider } = b.member;
    const handles = async (): Promise<bigint[]> =>
      (await provider.inventory())
        .filter(({ attributes }) => Buffer.from(attributes.label ?? []).toString() === 'later')
        .map(({ handle }) => handle);
    const [damaged] = await handles();
    const { prove } = provider;
    provider.prove = async (key, items) =>
      (await prove.call(provider, key, items)).map((outcome) => ({
        ...outcome,
        proved: outcome.handle !== damaged && outcome.proved,
      }));
    expect(await sites.verify(b, later)).toMatchObject({ proof: { failed: 1 } });
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(digest);
    expect(await sites.apply(b, later)).toMatchObject({ appliedObjects: 1 });
    expect(await sites.verify(b, later)).toMatchObject({ proof: { failed: 0 } });
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(later.digest);
    const now = await handles();
    expect([now.length, now[0] === damaged]).toEqual([1, false]);
  });

  it('that has restored a generation and not read it back yet is compared with that', async () => {
    a.member.hsm.addSecret('later');
    const later = await sites.captured();
    await sites.apply(b, later);
    const { generation, proof } = await scrub(b);
    expect([hex(generation!.manifestDigest!), proof?.proved]).toEqual([later.digest, 3]);
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(digest);
  });

  it('is left as it is when a higher epoch comes while the token works', async () => {
    rot(b);
    const prove = b.member.provider.prove.bind(b.member.provider);
    b.member.provider.prove = async (...asked) => {
      b.site.fences.admit({ group: GROUP, epoch: 9n, owner: 'a' });
      return prove(...asked);
    };
    expect((await rejection(scrub(b))).code).toBe('EPOCH_STALE');
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(digest);
  });
});

describe('an active member', () => {
  it('that is damaged keeps what was sealed of it: the next capture names it, and has its old value', async () => {
    await sites.capture(a);
    rot(a);
    await scrub(a);
    await sites.capture(a);
    const { generation } = await a.site.store.open(
      a.site.journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured')!,
    );
    const before = (await a.site.store.open(digest)).generation.entries;
    expect([...generation.entries]).toEqual([...before]);
    expect(generation.uncaptured.map(({ reason }) => reason)).toEqual(['value-changed']);
    expect(await scrub(a)).toMatchObject({ proof: { failed: 1 }, missingObjects: 0 });
  });

  it('has failed when a value has rotted under its handle', async () => {
    await sites.capture(a);
    a.site.journal.heads.set({ group: GROUP, serial: 'a-1' }, 'applied', digest);
    rot(a);
    expect(await scrub(a)).toMatchObject({ proof: { failed: 1 }, missingObjects: 0 });
    // The heads stay: their generation explains the objects here.
    expect(
      (['captured', 'applied'] as const).map((kind) => a.site.journal.heads.of({ group: GROUP, serial: 'a-1' }, kind)),
    ).toEqual([digest, digest]);
  });

  it('may have lost or changed objects since the capture: applications do that', async () => {
    a.member.hsm.remove(a.member.hsm.labelled('data')[0]!);
    secretOf(a).attributes = { ...secretOf(a).attributes, label: Buffer.from('renamed') };
    expect(await scrub(a)).toMatchObject({ proof: { failed: 0 }, missingObjects: 1, alteredObjects: 1 });
  });
});

it('fetches again what the disk has changed', async () => {
  const database = openDatabase(join(a.folder, 'generations.db'), { schema: '', version: 1 });
  database.exec(
    "UPDATE blob SET bytes = x'00' WHERE rowid IN (SELECT rowid FROM blob LIMIT 1)".replace(/rowid/g, 'sha256'),
  );
  database.close();
  expect(await scrub(a)).toMatchObject({ proof: { failed: 0 }, mendedBlobs: 1 });
  expect(await scrub(a)).toMatchObject({ mendedBlobs: 0 });
});

it('is refused where the site is fenced, or has nothing to compare with', async () => {
  a.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
  const by = fence(2n, 'b');
  expect((await rejection(a.call('scrub', { fence: by, sources: [] }))).code).toBe('ROLE_REFUSED');
  b.site.journal.heads.drop({ group: GROUP, serial: 'b-1' }, 'applied');
  b.site.journal.heads.drop({ group: GROUP, serial: 'b-1' }, 'staged');
  expect((await rejection(b.call('scrub', { fence: by, sources: [] }))).code).toBe('GENERATION_UNKNOWN');
});

it('makes way for a promotion, which does not wait for all of it, and says so', async () => {
  const { provider } = b.member;
  const inventory = provider.inventory.bind(provider);
  const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  provider.inventory = async () => {
    provider.inventory = inventory;
    reached.resolve();
    await gate.promise;
    return inventory();
  };
  const scrubbed = rejection(scrub(b));
  await reached.promise;
  const promoted = sites.promote(b, { manifestDigest: Buffer.from(digest, 'hex') });
  // The order is admitted, and waits for its turn.
  await vi.waitFor(() => expect(b.site.journal.tenure.fence(GROUP)?.epoch).toBe(2n));
  gate.resolve();
  expect((await scrubbed).code).toBe('GROUP_BUSY');
  expect((await promoted).proof).toMatchObject({ proved: 2, failed: 0 });
  expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(digest);
});

it('that fails leaves a line in the log of the agent, by the id that the coordinator has', async () => {
  const lines: string[] = [];
  Object.assign(b.site, { log: new Log({ level: 'info', format: 'json', write: (line) => lines.push(line) }) });
  b.site.journal.tenure.setQuarantine(GROUP, 'older copy');
  expect((await rejection(scrub(b))).code).toBe('SITE_QUARANTINED');
  const [line] = lines.filter((one) => one.includes('order failed'));
  expect(JSON.parse(line ?? '{}')).toMatchObject({ order: 'scrub', group: GROUP, request: fence().requestId });
  expect(line).toContain('SITE_QUARANTINED');
});
