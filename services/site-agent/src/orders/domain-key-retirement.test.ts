/** A site reports which older domain key versions its own store still names, and destroys none of those (ADR 0026). */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { markedId } from '@antipode/hsm-core';
import { hex, sha256Hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';
import { describe as account } from './describe.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;
/** Under version 1 the first two, under version 2 the newest. */
let old: (Ref & { digest: string })[];
let newest: Ref & { digest: string };

const members = ['a-1', 'a-2', 'b-1', 'b-2'].map((serial) => ({ site: address(serial[0]!), serial }));

async function captured(version: number): Promise<Ref & { digest: string }> {
  const { generation } = await a.call('capture', { fence: fence(), domainKeyVersion: version });
  return { manifestDigest: generation!.manifestDigest!, digest: hex(generation!.manifestDigest!) };
}

async function replicated(version: number): Promise<Ref & { digest: string }> {
  const ref = await captured(version);
  await sites.apply(b, ref);
  await sites.verify(b, ref);
  return ref;
}

/** As the retention of the store does. */
const forgetOld = (site: SimulatedSite): void => {
  for (const { digest } of old) site.site.store.retire(digest);
};

const retire = (site: SimulatedSite, serial = `${site.name}-1`, generation: Ref = newest, by = fence()) =>
  site.call('retireDomainKeys', { fence: by, serial, generation, sources: [address('a')] });

const versionsAt = (site: SimulatedSite, serial = `${site.name}-1`): number[] =>
  site.site.journal.domainKeys.of(serial).map(({ version }) => version);

/** The reason that the heartbeat gives for keeping a version. */
async function reasonOf(site: SimulatedSite, version = 1, serial = `${site.name}-1`): Promise<string | undefined> {
  const { partitions = [] } = await account(site.site);
  const keys = partitions.find((one) => one.serial === serial)?.domainKeys ?? [];
  return keys.find((key) => key.version === version)?.neededFor;
}

const inToken = (site: SimulatedSite): number =>
  site.member.hsm.objects.filter(({ attributes: { label } }) =>
    Buffer.from(label ?? '')
      .toString()
      .startsWith('antipode domain key'),
  ).length;

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  old = [await replicated(1)];
  a.member.hsm.addSecret('second');
  old.push(await replicated(1));
  const { failures } = await a.call('distributeDomainKey', { fence: fence(), version: 2, members });
  expect(failures).toEqual([]);
  newest = await replicated(2);
});
afterEach(() => sites.close());

it('keeps a version while a generation in the store is sealed under it, and says which', async () => {
  for (const site of [a, b]) {
    expect(await reasonOf(site)).toMatch(/generation \d of epoch 1 is sealed under it/);
    expect(await reasonOf(site, 2)).toMatch(/seals the newest generation here, generation 3/);
    expect(await retire(site)).toMatchObject({ destroyed: [] });
    expect(inToken(site)).toBe(2);
  }
});

it('destroys a version that nothing names, in the member and in the scratch partition, and nothing else', async () => {
  for (const site of [a, b]) {
    forgetOld(site);
    expect(await reasonOf(site)).toBe('');
    const before = site.member.hsm.objects.length;
    expect(await retire(site)).toMatchObject({ destroyed: [1], kept: [{ version: 2 }] });
    expect(site.member.hsm.objects).toHaveLength(before - 1);
    expect(await retire(site, `${site.name}-2`)).toMatchObject({ destroyed: [1] });
    expect(versionsAt(site)).toEqual([2]);
    // Again: nothing is left to do.
    expect(await retire(site)).toMatchObject({ destroyed: [] });
  }
  a.member.hsm.addSecret('after');
  newest = await replicated(2);
  expect(await sites.drill(b, newest)).toMatchObject({ proof: { failed: 0 }, isClean: true });
});

/** Gives version 1 at b a trusted key, as an officer would. */
async function trustFirst() {
  const { journal } = b.site;
  const [first] = journal.domainKeys.of('b-1');
  const trusted = await b.member.trust(b.member.domainKeys.find(({ version }) => version === 1)!, Buffer.alloc(32, 3));
  const recorded = journal.domainKeys.of.bind(journal.domainKeys);
  vi.spyOn(journal.domainKeys, 'of').mockImplementation((serial) =>
    recorded(serial).map((record) => (serial === 'b-1' && record.version === 1 ? { ...record, trusted } : record)),
  );
  return { first, trusted };
}

it('leaves the domain key where a higher epoch is persisted while its trusted key is destroyed', async () => {
  forgetOld(b);
  const { trusted } = await trustFirst();
  const destroyed: string[] = [];
  const destroy = b.member.provider.destroyDomainKey.bind(b.member.provider);
  b.member.provider.destroyDomainKey = async (record) => {
    destroyed.push(hex(record.ckaId));
    b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    return destroy(record);
  };
  const before = inToken(b);
  expect((await rejection(retire(b))).code).toBe('EPOCH_STALE');
  expect([destroyed, inToken(b)]).toEqual([[hex(trusted.ckaId)], before]);
});

it('destroys nothing in an epoch that is over, even if the agent itself did not look', async () => {
  forgetOld(b);
  const { authority, journal, trust } = b.site;
  Object.assign(authority, { asSite: () => {} });
  const check = trust.checkSource.bind(trust);
  trust.checkSource = (sealed) => {
    journal.tenure.raise(GROUP, { epoch: 2n, owner: 'b' });
    check(sealed);
  };
  const before = inToken(b);
  expect([(await rejection(retire(b))).code, inToken(b)]).toEqual(['EPOCH_STALE', before]);
});

it('destroys the trusted key of the version along with it, and before it', async () => {
  forgetOld(b);
  const { first, trusted } = await trustFirst();
  const labelled = () => b.member.hsm.labelled('antipode trusted key payments 1').length;
  const destroyed: string[] = [];
  const destroy = b.member.provider.destroyDomainKey.bind(b.member.provider);
  b.member.provider.destroyDomainKey = async (record) => {
    destroyed.push(hex(record.ckaId));
    return destroy(record);
  };
  expect(labelled()).toBe(1);
  expect(await retire(b)).toMatchObject({ destroyed: [1] });
  expect(destroyed.slice(0, 2)).toEqual([hex(trusted.ckaId), hex(first!.ckaId)]);
  expect(labelled()).toBe(0);
});

it('keeps a version that opens a deleted object, for as long as the generations name it', async () => {
  const gone = a.member.hsm.objects.find(({ attributes: { label } }) => String(Buffer.from(label ?? '')) === 'second')!;
  a.member.hsm.remove(gone);
  // Deleted at a change of the key: the blob is one of version 2's line, and the tombstone names what opens it.
  newest = await replicated(2);
  await a.call('distributeDomainKey', { fence: fence(), version: 3, members });
  old.push(newest);
  a.member.hsm.addSecret('third');
  newest = await replicated(3);
  for (const site of [a, b]) {
    for (const { digest } of site.site.store.list(GROUP)) if (digest !== newest.digest) site.site.store.retire(digest);
    expect(await reasonOf(site, 2)).toMatch(/opens deleted objects of generation/);
    expect(await retire(site)).toMatchObject({ destroyed: [1] });
    expect(versionsAt(site)).toEqual([2, 3]);
  }
});

describe('keeps everything', () => {
  beforeEach(() => {
    for (const site of [a, b]) forgetOld(site);
  });

  const cases: [string, string, () => void][] = [
    ['while this site is in quarantine', 'quarantine', () => b.site.journal.tenure.setQuarantine(GROUP, 'test')],
    [
      'while an apply was cut short',
      'cut short',
      () =>
        b.site.journal.intents.begin({ group: GROUP, serial: 'b-1' }, [
          {
            objectId: '00',
            objectClass: 'secret-key',
            id: new Uint8Array(),
            label: new Uint8Array(),
            attributesDigest: new Uint8Array(1),
          },
        ]),
    ],
    [
      'while a generation is staged',
      'not read back',
      () => b.site.journal.heads.set({ group: GROUP, serial: 'b-1' }, 'staged', old[0]!.digest),
    ],
    ['while a member is fenced', 'fenced', () => b.site.journal.tenure.setSeat(GROUP, 'b-1', 'fenced')],
    [
      'where a divergent object is of a generation that is not here',
      'not in its store',
      () =>
        b.site.journal.findings.setUnexplained(
          { group: GROUP, serial: 'b-1' },
          {
            divergent: [{ objectId: '01', digest: old[0]!.digest }],
            unaccounted: 0,
          },
        ),
    ],
    [
      'where what was set aside is not here',
      'not in its store',
      () => b.site.journal.decisions.addAside(GROUP, old[0]!.digest),
    ],
    [
      'while a capture is held',
      'held',
      () =>
        b.site.journal.decisions.setHeld({ group: GROUP, serial: 'b-1' }, [
          { objectId: '02', reason: 'gone' } as never,
        ]),
    ],
    [
      'without a generation',
      'no readable generation',
      () => b.site.journal.heads.drop({ group: GROUP, serial: 'b-1' }, 'applied'),
    ],
  ];
  it.each(cases)('%s', async (_what, reason, arrange) => {
    arrange();
    expect(await reasonOf(b)).toContain(reason);
    await retire(b).catch(() => undefined);
    expect(versionsAt(b)).toEqual([1, 2]);
    expect(inToken(b)).toBe(2);
  });

  it('where a generation in the store cannot be read', async () => {
    const { signed } = { signed: b.site.store.signed(newest.digest) };
    const database = new DatabaseSync(join(b.folder, 'generations.db'));
    const other = Buffer.from(sha256Hex(signed), 'hex');
    database.prepare('INSERT INTO manifest VALUES (?, ?, 1, 1, ?)').run(other, GROUP, Buffer.concat([signed, signed]));
    database.close();
    for (let beat = 0; beat < 3; beat += 1) await account(b.site);
    expect(await reasonOf(b)).toContain('cannot be read');
    expect(await retire(b)).toMatchObject({ destroyed: [] });
  });

  it('after a start, until every generation in the store has been read', async () => {
    old = [];
    for (const secret of ['x', 'y', 'z']) {
      a.member.hsm.addSecret(secret);
      newest = await replicated(2);
    }
    b.stop();
    await b.start();
    expect(await reasonOf(b)).toContain('have not all been read');
    await reasonOf(b);
    await reasonOf(b);
    await reasonOf(b);
    expect(await reasonOf(b)).toBe('');
  });

  it('where another generation is the newest here than the order says', async () => {
    const ordered = newest;
    a.member.hsm.addSecret('newer');
    newest = await replicated(2);
    expect(await retire(b, 'b-1', ordered)).toMatchObject({ destroyed: [] });
    expect(versionsAt(b)).toEqual([1, 2]);
  });

  it('where the generation is signed by somebody who is not pinned', async () => {
    vi.spyOn(b.site.trust, 'find').mockReturnValue(undefined);
    expect((await rejection(retire(b))).code).toBe('PEER_NOT_PINNED');
    expect(versionsAt(b)).toEqual([1, 2]);
  });

  it('where a higher epoch has come while the order waited for its turn', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const busy = b.site.partitions.bySerial('b-1').use(() => promise);
    const ordered = rejection(retire(b));
    await Promise.resolve();
    b.site.journal.tenure.raise(GROUP, { epoch: 2n, owner: 'b' });
    resolve();
    await busy;
    expect((await ordered).code).toBe('EPOCH_STALE');
    expect(versionsAt(b)).toEqual([1, 2]);
  });

  it('where the newer version is not in the token', async () => {
    const { ckaId } = b.site.journal.domainKeys.of('b-1')[1]!;
    b.member.hsm.remove(b.member.hsm.objects.find(({ attributes: { id } }) => id && hex(id) === hex(ckaId))!);
    await b.member.refresh();
    expect((await rejection(retire(b))).code).toBe('DOMAIN_KEY_MISSING');
    expect(versionsAt(b)).toEqual([1, 2]);
  });
});

describe('a key', () => {
  beforeEach(() => {
    for (const site of [a, b]) forgetOld(site);
  });
  const keyOf = (version: number) => {
    const { ckaId } = b.site.journal.domainKeys.of('b-1').find((one) => one.version === version)!;
    return b.member.hsm.objects.find(({ attributes: { id } }) => id !== undefined && hex(id) === hex(ckaId))!;
  };

  it('that is another by now under its id is left alone, and told', async () => {
    const key = keyOf(1);
    key.value = new Uint8Array(32);
    expect(await retire(b)).toMatchObject({ destroyed: [], kept: [{ version: 1 }, { version: 2 }] });
    expect(b.member.hsm.objects).toContain(key);
    expect(await reasonOf(b)).toContain('is not proved to be this key');
  });

  it('that the token does not destroy is left alone, and told', async () => {
    const key = keyOf(1);
    key.attributes = { ...key.attributes, destroyable: false };
    expect(await retire(b)).toMatchObject({ destroyed: [] });
    expect(await reasonOf(b)).toContain('refuses to destroy it');
  });

  it('that was destroyed right before a crash counts as destroyed, and is not missed', async () => {
    const [record] = b.site.journal.domainKeys.of('b-1');
    b.site.journal.domainKeys.beginRetirement('b-1', record!);
    b.member.hsm.remove(keyOf(1));
    b.stop();
    await b.start();
    for (let beat = 0; beat < 3; beat += 1) await account(b.site);
    expect(await retire(b)).toMatchObject({ destroyed: [1] });
    expect(versionsAt(b)).toEqual([2]);
  });

  it('that was about to be destroyed at a crash stays where it is needed meanwhile', async () => {
    const [record] = b.site.journal.domainKeys.of('b-1');
    b.site.journal.domainKeys.beginRetirement('b-1', record!);
    b.stop();
    await b.start();
    b.site.journal.tenure.setQuarantine(GROUP, 'meanwhile');
    await retire(b).catch(() => undefined);
    expect(versionsAt(b)).toEqual([1, 2]);
    expect(inToken(b)).toBe(2);
  });

  it('of a retired version is never installed again, and is ours where the token brings it back', async () => {
    const key = keyOf(1);
    const { ckaId } = b.site.journal.domainKeys.of('b-1')[0]!;
    await retire(b);
    expect(b.site.journal.domainKeys.hasHad('b-1', GROUP, 1)).toBe(true);
    expect(b.site.journal.identities.announced('b-1').map(hex)).toContain(hex(ckaId));
    // As a token that was restored from its own backup.
    b.member.hsm.objects.push(key);
    await b.member.refresh();
    expect(await retire(b)).toMatchObject({ destroyed: [] });
    expect(b.member.hsm.objects).not.toContain(key);
  });
});

describe('a version that the journal does not know any more', () => {
  /** The row goes as it does with an older copy of the journal: without a trace. */
  const forget = (version: number): void =>
    b.site.journal.domainKeys.endRetirement('b-1', { group: GROUP, version }, 'destroyed');
  const look = () => b.site.partitions.bySerial('b-1').use((open) => open.refreshKeyring());

  it('is recorded again as it was, and is destroyed by the same rule', async () => {
    const before = b.site.journal.domainKeys.of('b-1');
    forget(1);
    forget(2);
    expect(versionsAt(b)).toEqual([]);
    await look();
    expect(b.site.journal.domainKeys.of('b-1')).toEqual(before);
    expect(await retire(b)).toMatchObject({ destroyed: [] });
    forgetOld(b);
    expect(await retire(b)).toMatchObject({ destroyed: [1] });
    expect(inToken(b)).toBe(1);
  });

  it('with a trusted key is recorded with it, as is a trusted key that the officer had brought', async () => {
    const [, record] = b.site.journal.domainKeys.of('b-1');
    const trusted = await b.member.trust(b.member.domainKeys.find(({ version }) => version === 2)!, new Uint8Array(32));
    await look();
    const recorded = { ...record, trusted };
    expect(b.site.journal.domainKeys.of('b-1')[1]).toEqual(recorded);
    const [first] = b.site.journal.domainKeys.of('b-1');
    forget(2);
    expect(b.site.journal.domainKeys.of('b-1')).toEqual([first]);
    await look();
    expect(b.site.journal.domainKeys.of('b-1')).toEqual([first, recorded]);
  });

  it('is not taken into use again once it was destroyed', async () => {
    const key = b.member.hsm.labelled(`antipode domain key ${GROUP} 1`)[0]!;
    forgetOld(b);
    expect(await retire(b)).toMatchObject({ destroyed: [1] });
    // An older copy of the token has it, under another id than the one that was destroyed.
    const { ckaId } = b.member.identity;
    const label = `antipode domain key ${GROUP} 1`;
    const id = markedId({ identityId: ckaId, label, random: new Uint8Array(16) });
    b.member.hsm.objects.push({ ...key, attributes: { ...key.attributes, id } });
    await look();
    expect(versionsAt(b)).toEqual([2]);
    expect(b.member.keyring.ownHandles.size).toBe(3);
  });
});
