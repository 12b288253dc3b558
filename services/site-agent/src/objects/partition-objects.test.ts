/** The states of objects at the active member and at a standby, and the check before there is a group. */
import { type MemberAcknowledgement, MemberAcknowledgementSchema, MemberRole } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, TwoSites } from '../testing/two-sites.ts';
import { checkOf } from './partition-check.ts';
import { type ListedObject, type ListedPartition, objectsOf } from './partition-objects.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;
beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
});
afterEach(() => sites.close());

function partitionOf({ name, site, member }: SimulatedSite): ListedPartition {
  const { journal, store, clock } = site;
  const { provider, keyring } = member;
  return { settings: { name }, provider, keyring, seat: journal.tenure.seat(GROUP)!, journal, store, clock };
}

const told = (objects: readonly ListedObject[]): Record<string, string> =>
  Object.fromEntries(
    objects.map(({ label, state, reason }) => [label, reason === undefined ? state : `${state} ${reason}`]),
  );
const statesOf = async (site: SimulatedSite): Promise<Record<string, string>> =>
  told((await objectsOf(partitionOf(site))).objects);

describe('the list of the active member', () => {
  it('shows every object before the first capture', async () => {
    a.member.hsm.addSecret('hidden', { extractable: false });
    expect(await statesOf(a)).toEqual({
      secret: 'uncaptured new',
      data: 'uncaptured new',
      hidden: 'uncaptured unextractable',
    });
  });

  it('shows what was captured, kept, refused, changed, deleted and made since', async () => {
    const { hsm } = a.member;
    hsm.addSecret('hidden', { extractable: false });
    hsm.addSecret('local-1');
    hsm.addSecret('changed');
    hsm.addSecret('deleted before');
    hsm.addSecret('deleted since');
    const filter = { excludeIds: [], excludeLabels: ['local-*'], excludeClasses: [], ignoreCase: false };
    const capture = () => a.call('capture', { fence: fence(), domainKeyVersion: 1, filter });
    await capture();
    hsm.remove(hsm.labelled('deleted before')[0]!);
    await capture();
    hsm.labelled('changed')[0]!.value = Buffer.alloc(32, 7);
    hsm.remove(hsm.labelled('deleted since')[0]!);
    hsm.addSecret('fresh');
    expect(await statesOf(a)).toEqual({
      secret: 'captured',
      data: 'captured',
      hidden: 'uncaptured unextractable',
      'local-1': 'uncaptured excluded',
      changed: 'uncaptured value-changed',
      'deleted before': 'deleted deleted',
      'deleted since': 'deleted gone',
      fresh: 'uncaptured new',
    });
    const { objects } = await objectsOf(partitionOf(a));
    expect(objects.find(({ label }) => label === 'local-1')?.rules).toEqual(['label "local-*"']);
  });

  it('names objects as the coordinator does', async () => {
    a.member.hsm.addSecret('hidden', { extractable: false });
    const { digest } = await sites.captured();
    const { entries, uncaptured } = (await a.site.store.open(digest)).generation;
    const { objects } = await objectsOf(partitionOf(a));
    const ids = [...entries, ...uncaptured].map(({ objectId }) => objectId);
    expect(objects.map(({ objectId }) => objectId).sort()).toEqual(ids.sort());
  });

  it('changes nothing at the site', async () => {
    await sites.captured();
    const before = [a.member.hsm.contents(), a.site.journal.account, a.site.store.list(GROUP)];
    await objectsOf(partitionOf(a));
    expect([a.member.hsm.contents(), a.site.journal.account, a.site.store.list(GROUP)]).toEqual(before);
    expect(a.member.provider.sessionObjectCount).toBe(0);
  });

  it('escapes what a label could do to a terminal', async () => {
    a.member.hsm.addSecret('\u001b[2J\u202ekey');
    expect(Object.keys(await statesOf(a))).toContain('\\u001b[2J\\u202ekey');
  });
});

describe('what other members have acknowledged', () => {
  const said = (site: string, ref: Partial<{ digest: string }> = {}, refused: readonly string[] = []) =>
    create(MemberAcknowledgementSchema, {
      site,
      isKnown: true,
      ...(ref.digest === undefined ? {} : { epoch: 1n, number: 1n, manifestDigest: fromHex(ref.digest) }),
      refusedObjectIds: [...refused],
    });
  const hears = (...members: MemberAcknowledgement[]): void => a.site.acknowledgements.learn(GROUP, members);

  it('is shown for each object that has not changed since', async () => {
    a.member.hsm.addSecret('to be renamed');
    const first = await sites.captured();
    hears(said('a'), said('b', first), said('c'));
    expect(await statesOf(a)).toEqual({ secret: 'replicated', data: 'replicated', 'to be renamed': 'replicated' });
    a.member.hsm.labelled('to be renamed')[0]!.attributes.label = Buffer.from('renamed');
    a.member.hsm.addSecret('later');
    const second = await sites.captured();
    const states = { secret: 'replicated', data: 'replicated' };
    expect(await statesOf(a)).toEqual({ ...states, renamed: 'captured', later: 'captured' });
    hears(said('b', first), said('c', second));
    const { objects, replicas } = await objectsOf(partitionOf(a));
    expect(Object.fromEntries(objects.map(({ label, acknowledgedBy }) => [label, acknowledgedBy]))).toEqual({
      ...{ secret: ['b', 'c'], data: ['b', 'c'] },
      ...{ renamed: ['c'], later: ['c'] },
    });
    expect(replicas?.map(({ site, ageMs, isOld }) => [site, ageMs, isOld])).toEqual([
      ['b', 0, false],
      ['c', 0, false],
    ]);
  });

  it('is nothing for an object that the member refused, or where the manifest is not here', async () => {
    const first = await sites.captured();
    const { entries } = (await a.site.store.open(first.digest)).generation;
    const secret = entries.find(({ objectClass }) => objectClass === 'secret-key')!;
    hears(said('b', first, [secret.objectId]), said('c', { digest: 'ab'.repeat(32) }));
    expect(await statesOf(a)).toEqual({ secret: 'captured', data: 'replicated' });
  });

  it('is kept with its age while nobody says otherwise, and then marked as old', async () => {
    const first = await sites.captured();
    hears(said('b', first));
    const ages = async () => (await objectsOf(partitionOf(a))).replicas?.map(({ ageMs, isOld }) => [ageMs, isOld]);
    await sites.network.clock.advance(200_000);
    hears(create(MemberAcknowledgementSchema, { site: 'b' }));
    expect(await ages()).toEqual([[200_000, false]]);
    await sites.network.clock.advance(200_000);
    expect([await ages(), await statesOf(a)]).toEqual([
      [[400_000, true]],
      { secret: 'replicated', data: 'replicated' },
    ]);
    hears(said('b'));
    expect(await statesOf(a)).toEqual({ secret: 'captured', data: 'captured' });
  });
});

describe('the list of another member', () => {
  it('shows what is replicated, missing, divergent and unaccounted', async () => {
    a.member.hsm.addSecret('to be lost');
    const first = await sites.captured();
    await sites.apply(b, first);
    await sites.verify(b, first);
    a.member.hsm.addSecret('of the former tenure');
    await sites.captured();
    a.member.hsm.addSecret('never captured');
    const ofB = fence(2n, 'b');
    for (const site of [a, b])
      await site.call('setRole', { fence: ofB, serial: `${site.name}-1`, role: MemberRole.STANDBY });
    await sites.promote(b, first, ofB);
    sites.renew(b, 2n);
    b.member.hsm.addSecret('new at b');
    const next = await sites.captured(b, ofB);
    await a.call('apply', { fence: ofB, generation: next, sources: [address('b')] });
    await sites.verify(a, next, ofB);
    a.member.hsm.remove(a.member.hsm.labelled('to be lost')[0]!);
    expect(await statesOf(a)).toEqual({
      secret: 'replicated',
      data: 'replicated',
      'new at b': 'replicated',
      'to be lost': 'missing',
      'of the former tenure': 'divergent',
      'never captured': 'unaccounted',
    });
  });
});

describe('an object that the token of a member does not take', () => {
  it('is refused there, and still after the member is promoted', async () => {
    a.member.hsm.addSecret('odd');
    const first = await sites.captured();
    const { provider } = b.member;
    const unwrap = provider.unwrap.bind(provider);
    provider.unwrap = async (key, items) => {
      const index = items.findIndex(({ attributes }) => Buffer.from(attributes.label ?? []).toString() === 'odd');
      if (index === -1) return unwrap(key, items);
      const { handles } = await unwrap(key, items.slice(0, index));
      return { handles, failure: { index, code: 'HSM_REFUSED', returnValue: 'CKR_CURVE_NOT_SUPPORTED' } };
    };
    await sites.apply(b, first);
    await sites.verify(b, first);
    const expected = { odd: 'refused CKR_CURVE_NOT_SUPPORTED' };
    expect(await statesOf(b)).toEqual({ ...expected, secret: 'replicated', data: 'replicated' });
    await sites.promote(b, first);
    expect(await statesOf(b)).toEqual({ ...expected, secret: 'captured', data: 'captured' });
  });
});

describe('the check', () => {
  const checked = async (site: SimulatedSite, isMember: boolean) => {
    const { seat, keyring, ...rest } = partitionOf(site);
    const ofMember = isMember ? { seat, keyring } : { seat: undefined, keyring };
    const { isProtected, objects } = await checkOf({ ...rest, ...ofMember });
    const reasons = objects.map(({ label, reason = 'protected' }) => [label, reason] as const);
    return { isProtected, ...Object.fromEntries(reasons) };
  };

  it('gives one answer before a group and after', async () => {
    a.member.hsm.addSecret('hidden', { extractable: false });
    const before = await checked(a, false);
    expect(before).toEqual({ isProtected: false, secret: 'protected', data: 'protected', hidden: 'unextractable' });
    await sites.captured();
    expect(await checked(a, true)).toEqual(before);
    expect(a.member.provider.sessionObjectCount).toBe(0);
  });

  it('counts the rules of agent.yaml, whatever the group says', async () => {
    const settings = {
      name: 'main',
      exclude: { ids: [], labels: [], classes: ['data' as const], ignoreCase: false },
    };
    const filter = { excludeIds: [], excludeLabels: [], excludeClasses: [] };
    const rulesOf = (objects: readonly { label: string; rules?: readonly string[] }[]) =>
      objects.find(({ label }) => label === 'data')?.rules;
    expect(rulesOf((await checkOf({ ...partitionOf(a), settings }, filter)).objects)).toEqual(['class "data"']);
    expect(rulesOf((await objectsOf({ ...partitionOf(a), settings })).objects)).toEqual(['class "data"']);
  });

  it('is good where a rule keeps all that is not protected', async () => {
    a.member.hsm.addSecret('local-1', { extractable: false });
    const { seat: _seat, ...rest } = partitionOf(a);
    const filter = { excludeIds: [], excludeLabels: ['local-*'], excludeClasses: [] };
    const { isProtected, objects } = await checkOf({ ...rest, seat: undefined }, filter);
    expect([isProtected, objects[0]?.rules]).toEqual([true, ['label "local-*"']]);
  });
});
