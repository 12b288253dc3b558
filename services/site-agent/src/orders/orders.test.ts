/** The orders of a site agent, over partitions in memory: who may do what under which tenure, and what is durable. */
import { MemberRole, type SiteAgentService } from '@antipode/protocol';
import { hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, LEASE_MS, type Ref, TwoSites } from '../testing/two-sites.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
});

afterEach(() => sites.close());

describe('every order that changes something', () => {
  type Orders = { [Name in keyof typeof SiteAgentService.method]?: (by: ReturnType<typeof fence>) => Promise<unknown> };
  const ref: Ref = { manifestDigest: new Uint8Array(32) };
  const orders = (site: SimulatedSite): Orders => ({
    setRole: (by) => site.call('setRole', { fence: by, serial: `${site.name}-1`, role: MemberRole.STANDBY }),
    promote: (by) => site.call('promote', { fence: by }),
    distributeDomainKey: (by) => site.call('distributeDomainKey', { fence: by, version: 2, members: [] }),
    capture: (by) => sites.capture(site, by),
    apply: (by) => sites.apply(site, ref, by),
    verify: (by) => sites.verify(site, ref, by),
    scrub: (by) => site.call('scrub', { fence: by, sources: [] }),
    retireDomainKeys: (by) =>
      site.call('retireDomainKeys', { fence: by, serial: `${site.name}-1`, generation: ref, sources: [] }),
    drill: (by) => site.call('drill', { fence: by, drillId: 'd', generation: ref, scratchSerial: 'x', sources: [] }),
  });
  const inTerm = (term: bigint): ReturnType<typeof fence> => ({ ...fence(2n, 'b'), ...{ term } });
  const names = Object.keys(orders({} as SimulatedSite)) as (keyof Orders)[];
  const before = () => [a.site.journal.tenure.seats(), a.site.journal.tenure.fence(GROUP), a.member.hsm.objects.length];

  it.each(names)('%s is refused under a lower epoch, and changes nothing', async (name) => {
    a.site.fences.admit({ group: GROUP, epoch: 5n, owner: 'a' });
    const was = before();
    expect((await rejection(orders(a)[name]!(fence(4n)))).code).toBe('EPOCH_STALE');
    expect(before()).toEqual(was);
  });

  it.each(names)('%s is refused under the same epoch of another owner, and changes nothing', async (name) => {
    const was = before();
    expect((await rejection(orders(a)[name]!(fence(1n, 'b')))).code).toBe('EPOCH_CONFLICT');
    expect(before()).toEqual(was);
  });

  it.each(names)('%s of a coordinator that leads no longer is refused, and changes nothing', async (name) => {
    a.site.terms.admit({ term: 4n, coordinator: 'south' });
    const was = before();
    for (const term of [3n, 4n]) expect((await rejection(orders(a)[name]!(inTerm(term)))).code).toBe('TERM_STALE');
    expect(before()).toEqual(was);
  });

  it.each(names)('%s persists the term of its coordinator before it looks at anything else', async (name) => {
    await orders(a)[name]!(inTerm(4n)).catch(() => undefined);
    a.stop();
    await a.start();
    expect(a.site.terms.highest).toEqual({ term: 4n, coordinator: 'main' });
  });

  it.each(names)(
    '%s persists a higher epoch, and fences what was active, before it looks at anything else',
    async (name) => {
      await orders(a)[name]!(fence(2n, 'b')).catch(() => undefined);
      a.stop();
      await a.start();
      expect(a.site.journal.tenure.fence(GROUP)).toEqual({ epoch: 2n, owner: 'b' });
      expect(a.site.journal.tenure.seat(GROUP)?.role).not.toBe('active');
    },
  );
});

describe('the rules of a filter', () => {
  it('are answered with counts and ids, and without a label', async () => {
    a.member.hsm.addSecret('a-name-of-its-own');
    const filter = { excludeLabels: ['*', 'nothing'], excludeClasses: ['secret-key'] };
    const { rules = [] } = await a.call('matchFilter', { serial: 'a-1', filter });
    expect(rules.map(({ kind, rule }) => `${kind} ${rule}`)).toEqual(['label *', 'label nothing', 'class secret-key']);
    expect(rules[0]!.objects).toBeGreaterThan(0);
    expect(rules[1]!.objects).toBe(0);
    expect(rules[0]!.ckaIds).toHaveLength(rules[0]!.objects ?? -1);
    expect(rules[0]!.ckaIds).toEqual([...(rules[0]!.ckaIds ?? [])].sort());
    const said = rules.map(({ ckaIds, kind, rule }) => [kind, rule, ...(ckaIds ?? [])].join(' ')).join(' ');
    expect(said).not.toContain('a-name-of-its-own');
    expect(said).not.toContain(Buffer.from('a-name-of-its-own').toString('hex'));
  });

  it('are answered with a hundred ids at most, and the whole count', async () => {
    for (let count = 0; count < 110; count += 1) a.member.hsm.addSecret(`many ${count}`);
    const { rules = [] } = await a.call('matchFilter', { serial: 'a-1', filter: { excludeLabels: ['many *'] } });
    expect([rules[0]!.objects, rules[0]!.ckaIds?.length]).toEqual([110, 100]);
  });
});

describe('other rules of a filter', () => {
  it('say which objects they treat differently, by id and without those that the site keeps anyway', async () => {
    const { settings } = a.site.partitions.bySerial('a-1');
    for (const label of ['new-1', 'new-2', 'old-1', 'kept']) a.member.hsm.addSecret(label);
    Object.assign(settings, { exclude: { ids: [], labels: ['kept'], classes: [], ignoreCase: false } });
    const rules = { filter: { excludeLabels: ['new-*', 'kept'] }, before: { excludeLabels: ['old-*'] } };
    const { change } = await a.call('matchFilter', { serial: 'a-1', ...rules });
    expect([change?.excluded?.objects, change?.included?.objects]).toEqual([2, 1]);
    expect(change?.excluded?.ckaIds).toHaveLength(2);
    expect((await a.call('matchFilter', { serial: 'a-1', filter: rules.filter })).change).toBeUndefined();
  });
});

describe('a capture', () => {
  it('leaves out what the site keeps for itself, whatever the order says', async () => {
    const { settings } = a.site.partitions.bySerial('a-1');
    const labels = a.member.hsm.objects.map(({ attributes: { label } }) => Buffer.from(label ?? '').toString());
    Object.assign(settings, { exclude: { ids: [], labels: ['*'], classes: [], ignoreCase: false } });
    const { digest } = await sites.captured();
    const { entries, uncaptured } = (await a.site.store.open(digest)).generation;
    expect([labels.length > 0, entries, uncaptured.every(({ reason }) => reason === 'excluded')]).toEqual([
      true,
      [],
      true,
    ]);
  });

  it('stores the generation with its blobs before it is reported', async () => {
    const { digest } = await sites.captured();
    a.stop();
    await a.start();
    expect(a.site.journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured')).toBe(digest);
    expect((await a.site.store.open(digest)).generation.entries).toHaveLength(2);
  });

  it('reports the newest generation again when nothing is new', async () => {
    const { manifestDigest } = await sites.captured();
    const { generation, isNew } = await sites.capture(a);
    expect([isNew, generation?.manifestDigest]).toEqual([false, manifestDigest]);
  });

  it('is refused under an older domain key version than the newest generation is sealed under', async () => {
    const members = ['a-1', 'b-1'].map((serial) => ({ site: address(serial[0]!), serial }));
    await a.call('distributeDomainKey', { fence: fence(), version: 2, members });
    const under = (domainKeyVersion: number) => a.call('capture', { fence: fence(), domainKeyVersion });
    const { generation } = await under(2);
    expect(await rejection(under(1))).toMatchObject({ code: 'DOMAIN_KEY_RETIRED', details: { version: 1, newest: 2 } });
    expect(a.site.journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured')).toBe(hex(generation!.manifestDigest!));
    expect((await under(2)).isNew).toBe(false);
  });

  it('needs a lease of its epoch that has not lapsed', async () => {
    await sites.network.clock.advance(LEASE_MS);
    expect(await rejection(sites.capture(a))).toMatchObject({
      code: 'LEASE_LAPSED',
      details: { group: GROUP, epoch: 1n },
    });
    sites.renew(a);
    await sites.captured();
  });

  it('is not possible after a restart until the lease is renewed', async () => {
    a.stop();
    await a.start();
    expect((await rejection(sites.capture(a))).code).toBe('LEASE_LAPSED');
  });

  it('is refused at a standby, and at a site that does not own the epoch', async () => {
    expect((await rejection(sites.capture(b))).code).toBe('ROLE_REFUSED');
    await b.call('setRole', { fence: fence(2n, 'a'), serial: 'b-1', role: MemberRole.FENCED });
    expect((await rejection(sites.capture(b, fence(2n, 'a')))).code).toBe('ROLE_REFUSED');
  });

  it.each<[string, string, () => void]>([
    ['a higher epoch arrives', 'EPOCH_STALE', () => a.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' })],
    ['the lease is taken away', 'LEASE_LAPSED', () => a.site.leases.revoke(GROUP)],
  ])('gives no generation when %s while it looks', async (_what, code, happen) => {
    const { digest } = await sites.captured();
    a.member.hsm.addSecret('new');
    a.member.hsm.onInventory = () => happen();
    expect((await rejection(sites.capture(a))).code).toBe(code);
    expect([
      a.site.journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured'),
      a.site.store.list(GROUP).length,
    ]).toEqual([digest, 1]);
  });

  it('reports nothing, not even that nothing is new, when a higher epoch arrives before its turn', async () => {
    await sites.captured();
    const gate = Promise.withResolvers<void>();
    const before = a.site.partitions.bySerial('a-1').use(() => gate.promise);
    const refused = rejection(sites.capture(a));
    a.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    gate.resolve();
    await before;
    expect((await refused).code).toBe('EPOCH_STALE');
  });

  it('journals no generation when a higher epoch arrives while it is stored', async () => {
    const { digest } = await sites.captured();
    a.member.hsm.addSecret('new');
    const { store, fences, journal } = a.site;
    const put = store.put.bind(store);
    store.put = async (...given) => {
      await put(...given);
      fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    };
    expect((await rejection(sites.capture(a))).code).toBe('EPOCH_STALE');
    expect(journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured')).toBe(digest);
  });
});

describe('a standby', () => {
  it('pulls, restores, and counts a generation as applied only when it was read back', async () => {
    const ref = await sites.captured();
    expect(await sites.apply(b, ref)).toMatchObject({ appliedObjects: 2, pulledBlobs: 3 });
    expect([
      b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'staged'),
      b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied'),
    ]).toEqual([ref.digest, undefined]);
    const { contentDigest, proof } = await sites.verify(b, ref);
    expect(hex(contentDigest!)).toBe((await b.site.store.open(ref.digest)).contentDigest);
    expect(proof).toMatchObject({ proved: 2, failed: 0 });
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(ref.digest);
    expect(b.member.hsm.contents()).toEqual(a.member.hsm.contents());
    expect(await sites.apply(b, ref)).toMatchObject({ appliedObjects: 0, pulledBlobs: 0 });
  });

  it('knows what it has made from then on, also when it is killed right after and a newer generation comes first', async () => {
    const first = await sites.captured();
    await sites.apply(b, first);
    await sites.verify(b, first);
    const secret = a.member.hsm.labelled('secret')[0]!;
    secret.attributes = { ...secret.attributes, label: Buffer.from('second') };
    const second = await sites.captured();
    b.site.journal.findings.setUnexplained = () => {
      throw new Error('killed');
    };
    await expect(sites.apply(b, second)).rejects.toThrow('killed');
    expect(b.member.hsm.labelled('second')).toHaveLength(1);
    b.stop();
    await b.start();
    secret.attributes = { ...secret.attributes, label: Buffer.from('third') };
    expect(await sites.apply(b, await sites.captured())).toMatchObject({ unaccountedObjects: 0 });
    expect(b.member.hsm.contents()).toEqual(a.member.hsm.contents());
  });

  it('counts nothing as applied that reads back differently', async () => {
    const ref = await sites.captured();
    await sites.apply(b, ref);
    b.member.hsm.labelled('secret')[0]!.attributes.decrypt = false;
    const { contentDigest } = await sites.verify(b, ref);
    expect(hex(contentDigest!)).not.toBe((await b.site.store.open(ref.digest)).contentDigest);
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBeUndefined();
  });

  it('no longer counts a proved object as applied when it reads back differently, and makes it again', async () => {
    const ref = await sites.captured();
    await sites.apply(b, ref);
    await sites.verify(b, ref);
    b.member.hsm.labelled('secret')[0]!.attributes.decrypt = false;
    await b.call('verify', { fence: fence(), generation: ref, everything: true });
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBeUndefined();
    expect((await sites.apply(b, ref)).appliedObjects).toBe(1);
    await sites.verify(b, ref);
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'applied')).toBe(ref.digest);
    expect(b.member.hsm.labelled('secret').map(({ attributes }) => attributes.decrypt)).toContain(true);
  });

  it('does not verify what was not restored here', async () => {
    const ref = await sites.captured();
    await sites.drill(b, ref);
    expect(b.site.store.has(ref.digest)).toBe(true);
    expect((await rejection(sites.verify(b, ref))).code).toBe('GENERATION_UNKNOWN');
  });

  it('goes back to no older generation', async () => {
    const old = await sites.captured();
    await sites.apply(b, old);
    a.member.hsm.addSecret('new');
    const newer = await sites.captured();
    await sites.apply(b, newer);
    await sites.verify(b, newer);
    expect((await rejection(sites.apply(b, old))).code).toBe('GENERATION_NOT_NEWER');
    expect(b.member.hsm.labelled('new')).toHaveLength(1);
  });

  it('is the only member to which generations are applied', async () => {
    const ref = await sites.captured();
    expect((await rejection(sites.apply(a, ref))).code).toBe('ROLE_REFUSED');
    b.site.journal.tenure.setSeat(GROUP, 'b-1', 'fenced');
    expect((await rejection(sites.apply(b, ref))).code).toBe('ROLE_REFUSED');
    expect(b.site.store.has(ref.digest)).toBe(false);
  });

  it('writes nothing when a higher epoch arrives while it looks', async () => {
    const ref = await sites.captured();
    b.member.hsm.onInventory = () => b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    expect((await rejection(sites.apply(b, ref))).code).toBe('EPOCH_STALE');
    expect([b.member.hsm.contents(), b.site.journal.intents.open({ group: GROUP, serial: 'b-1' })]).toEqual([[], []]);
  });

  it('restores nothing when a higher epoch arrives while it pulls', async () => {
    const ref = await sites.captured();
    sites.network.wire.distort = () => b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    expect((await rejection(sites.apply(b, ref))).code).toBe('EPOCH_STALE');
    expect([b.member.hsm.contents(), b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'staged')]).toEqual([
      [],
      undefined,
    ]);
  });

  it('records nothing as restored when a higher epoch arrives, also when everything is there already', async () => {
    b.member.hsm.objects.push(...a.member.hsm.objects.slice(-2).map((object) => ({ ...object })));
    const ref = await sites.captured();
    sites.network.wire.distort = () => b.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'b' });
    expect((await rejection(sites.apply(b, ref))).code).toBe('EPOCH_STALE');
    expect(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'staged')).toBeUndefined();
  });

  it('refuses a digest that is none', async () => {
    expect((await rejection(sites.apply(b, { manifestDigest: new Uint8Array(31) }))).code).toBe('REQUEST_INVALID');
  });
});

describe('a promotion', () => {
  let ref: Ref & { digest: string };

  beforeEach(async () => {
    ref = await sites.captured();
    await sites.apply(b, ref);
    await sites.verify(b, ref);
  });

  it('proves every key, persists role and epoch, and holds no lease before a heartbeat brings one', async () => {
    const { member, proof } = await sites.promote(b, ref);
    expect(proof).toMatchObject({ proved: 2, failed: 0 });
    expect(member).toMatchObject({ role: MemberRole.ACTIVE, epoch: 2n, epochOwner: 'b', leaseRemainingMs: 0n });
    expect((await rejection(sites.capture(b, fence(2n, 'b')))).code).toBe('LEASE_LAPSED');
    b.stop();
    await b.start();
    expect([b.site.journal.tenure.seat(GROUP)?.role, b.site.journal.tenure.fence(GROUP)?.epoch]).toEqual([
      'active',
      2n,
    ]);
  });

  it('lets the new active member capture, and the old one no more', async () => {
    await sites.promote(b, ref);
    sites.renew(b, 2n);
    b.member.hsm.addSecret('made at b');
    const next = await sites.captured(b, fence(2n, 'b'));
    expect((await b.site.store.open(next.digest)).generation).toMatchObject({
      epoch: 2n,
      number: 2n,
      previousDigest: ref.digest,
    });
    await a.call('setRole', { fence: fence(2n, 'b'), serial: 'a-1', role: MemberRole.FENCED });
    expect((await rejection(sites.capture(a))).code).toBe('EPOCH_STALE');
    expect((await rejection(sites.capture(a, fence(2n, 'b')))).code).toBe('ROLE_REFUSED');
  });

  it('is refused when a key does not work', async () => {
    b.member.hsm.labelled('secret')[0]!.value = new Uint8Array(32);
    expect((await rejection(sites.promote(b, ref))).code).toBe('OBJECT_UNPROVEN');
    expect(b.site.journal.tenure.seat(GROUP)?.role).toBe('standby');
  });

  it('is refused when another generation is applied, when the site is fenced, and when the epoch is of another', async () => {
    a.member.hsm.addSecret('new');
    const newer = await sites.captured();
    expect((await rejection(sites.promote(b, newer))).code).toBe('ROLE_REFUSED');
    expect((await rejection(sites.promote(b, ref, fence(3n, 'a')))).code).toBe('ROLE_REFUSED');
    b.site.journal.tenure.setSeat(GROUP, 'b-1', 'fenced');
    expect((await rejection(sites.promote(b, ref, fence(4n, 'b')))).code).toBe('ROLE_REFUSED');
    expect(b.site.journal.tenure.seat(GROUP)?.role).toBe('fenced');
  });

  it('does not end in the role when another generation becomes the newest here while it proves', async () => {
    const prove = b.member.provider.prove.bind(b.member.provider);
    b.member.provider.prove = (...given) => {
      b.site.journal.heads.set({ group: GROUP, serial: 'b-1' }, 'applied', 'ab'.repeat(32));
      return prove(...given);
    };
    expect((await rejection(sites.promote(b, ref))).code).toBe('ROLE_REFUSED');
    expect(b.site.journal.tenure.seat(GROUP)?.role).toBe('standby');
  });

  it('does not end in the role when a higher epoch arrives while it proves', async () => {
    const prove = b.member.provider.prove.bind(b.member.provider);
    b.member.provider.prove = (...given) => {
      b.site.fences.admit({ group: GROUP, epoch: 3n, owner: 'c' });
      return prove(...given);
    };
    expect((await rejection(sites.promote(b, ref))).code).toBe('EPOCH_STALE');
    expect(b.site.journal.tenure.seat(GROUP)?.role).toBe('standby');
  });
});

describe('a role', () => {
  const setRole = (site: SimulatedSite, serial: string, role: MemberRole, by = fence()) =>
    site.call('setRole', { fence: by, serial, role });

  it('is active at first only for the owner of epoch 1, and otherwise only by promotion', async () => {
    const c = await sites.network.add('c');
    expect((await rejection(setRole(c, 'c-1', MemberRole.ACTIVE))).code).toBe('ROLE_REFUSED');
    expect((await rejection(setRole(c, 'c-1', MemberRole.ACTIVE, fence(2n, 'c')))).code).toBe('ROLE_REFUSED');
    expect((await rejection(setRole(b, 'b-1', MemberRole.ACTIVE, fence(2n, 'b')))).code).toBe('ROLE_REFUSED');
    const { member } = await setRole(a, 'a-1', MemberRole.ACTIVE);
    expect(member).toMatchObject({ role: MemberRole.ACTIVE, epoch: 1n });
  });

  it('ends only by a higher epoch while it is active, and then without its lease', async () => {
    expect((await rejection(setRole(a, 'a-1', MemberRole.STANDBY))).code).toBe('ROLE_REFUSED');
    const { member } = await setRole(a, 'a-1', MemberRole.STANDBY, fence(2n, 'b'));
    expect(member).toMatchObject({ role: MemberRole.STANDBY, epoch: 2n, epochOwner: 'b', leaseRemainingMs: 0n });
    expect(a.site.leases.remainingMs(GROUP, 1n)).toBe(0);
  });

  it('founds a group in the place of a deleted one, above its epochs and without what was known of it', async () => {
    await sites.captured();
    const { tenure, heads } = a.site.journal;
    const found = (by = fence(6n)) =>
      a.call('setRole', { fence: by, serial: 'a-1', role: MemberRole.ACTIVE, founding: true });
    tenure.release(GROUP, { epoch: 5n, owner: 'b' }, { deleted: false });
    expect(heads.of({ group: GROUP, serial: 'a-1' }, 'captured')).toBeDefined();
    expect((await rejection(found(fence(5n)))).code).toBe('EPOCH_CONFLICT');
    expect((await rejection(found(fence(4n)))).code).toBe('EPOCH_STALE');
    expect((await rejection(setRole(a, 'a-1', MemberRole.ACTIVE, fence(6n)))).code).toBe('ROLE_REFUSED');
    await found();
    expect([tenure.seat(GROUP)?.role, heads.of({ group: GROUP, serial: 'a-1' }, 'captured')]).toEqual([
      'active',
      undefined,
    ]);
  });

  it('forgets what it knows of a group that was deleted, and keeps its epoch', async () => {
    await sites.captured();
    const { tenure, heads } = a.site.journal;
    tenure.release(GROUP, { epoch: 5n, owner: 'b' }, { deleted: true });
    expect([
      tenure.seat(GROUP),
      heads.of({ group: GROUP, serial: 'a-1' }, 'captured'),
      tenure.fence(GROUP)?.epoch,
    ]).toEqual([undefined, undefined, 5n]);
  });

  it('is given to no scratch partition, to no partition twice, and to none that is not here', async () => {
    expect((await rejection(setRole(b, 'b-2', MemberRole.STANDBY))).code).toBe('ROLE_REFUSED');
    expect((await rejection(setRole(b, 'b-9', MemberRole.STANDBY))).code).toBe('NOT_FOUND');
    const other = { ...fence(), group: 'other' };
    expect(await rejection(setRole(b, 'b-1', MemberRole.STANDBY, other))).toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { serial: 'b-1' },
    });
  });

  it('is needed for any order of a group', async () => {
    const other = { ...fence(), group: 'other' };
    expect((await rejection(sites.capture(a, other))).code).toBe('NOT_FOUND');
  });
});
