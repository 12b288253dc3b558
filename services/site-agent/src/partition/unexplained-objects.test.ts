/**
 * A former active member that applies another member's line counts the objects it still holds until they are really
 * gone.
 */
import { MemberRole } from '@antipode/protocol';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { moveWithLoss, OF_B } from '../testing/divergent-sites.ts';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  await moveWithLoss(sites);
});

afterEach(() => sites.close());

const next = async (label: string): Promise<Ref> => {
  b.member.hsm.addSecret(label);
  return sites.captured(b, OF_B);
};
async function applied(generation: Ref) {
  const answer = await a.call('apply', { fence: OF_B, generation, sources: [address('b')] });
  const verified = await sites.verify(a, generation, OF_B);
  const { divergentObjects = answer.divergentObjects, unaccountedObjects = answer.unaccountedObjects } = verified;
  const { divergent, unaccounted } = a.site.journal.tenure.seat(GROUP)!;
  expect([divergentObjects, unaccountedObjects]).toEqual([divergent, unaccounted]);
  return { divergent, unaccounted };
}
const STILL_THERE = { divergent: 1, unaccounted: 1 };

it('is reported with each apply, round after round, and by the order that finds everything applied', async () => {
  expect(await applied(await next('one'))).toEqual(STILL_THERE);
  const second = await next('two');
  expect(await applied(second)).toEqual(STILL_THERE);
  expect(await applied(second)).toEqual(STILL_THERE);
  expect(a.member.hsm.labelled('captured at a only')).toHaveLength(1);
});

it('is still told apart after a restart, also when a verification reads the partition first', async () => {
  const first = await next('one');
  await applied(first);
  a.stop();
  await a.start();
  await sites.verify(a, first, OF_B);
  expect(await applied(await next('two'))).toEqual(STILL_THERE);
});

it('counts until it is really gone', async () => {
  await applied(await next('one'));
  a.member.hsm.remove(a.member.hsm.labelled('captured at a only')[0]!);
  expect(await applied(await next('two'))).toEqual({ divergent: 0, unaccounted: 1 });
  a.member.hsm.remove(a.member.hsm.labelled('never captured')[0]!);
  expect(await applied(await next('three'))).toEqual({ divergent: 0, unaccounted: 0 });
});

it('that was restored here from a generation that the line left out is counted too', async () => {
  await applied(await next('one'));
  await applied(await next('applied at a, then left out'));
  // In the next tenure a member carries on that never got that generation; b plays it, put back to the one before.
  const [, before] = b.site.store.list(GROUP);
  b.site.journal.heads.set({ group: GROUP, serial: 'b-1' }, 'captured', before!.digest);
  b.member.hsm.remove(b.member.hsm.labelled('applied at a, then left out')[0]!);
  await b.member.reopen();
  const by = fence(3n, 'b');
  for (const site of [a, b])
    await site.call('setRole', { fence: by, serial: `${site.name}-1`, role: MemberRole.STANDBY });
  await b.call('promote', { fence: by });
  sites.renew(b, 3n);
  const generation = await sites.captured(b, by);
  expect(await a.call('apply', { fence: by, generation, sources: [address('b')] })).toMatchObject({
    divergentObjects: 2,
    unaccountedObjects: 1,
  });
});

it('is accounted for again by the first capture of a tenure of its own', async () => {
  const ref = await next('one');
  await applied(ref);
  const again = fence(3n, 'a');
  for (const site of [a, b])
    await site.call('setRole', { fence: again, serial: `${site.name}-1`, role: MemberRole.STANDBY });
  await sites.promote(a, ref, again);
  sites.renew(a, 3n);
  const { digest } = await sites.captured(a, again);
  expect((await a.site.store.open(digest)).generation.entries).toHaveLength(5);
  expect(a.site.journal.tenure.seat(GROUP)).toMatchObject({ divergent: 0, unaccounted: 0 });
});

it('gives way to what the line has under its name, captured or not: sealed here first, and brought back from there', async () => {
  b.member.hsm.addSecret('captured at a only');
  await applied(await next('never captured'));
  for (const label of ['captured at a only', 'never captured']) {
    const [there, ...more] = a.member.hsm.labelled(label);
    expect([there?.value, more]).toEqual([b.member.hsm.labelled(label)[0]!.value, []]);
  }
  const [digest] = a.site.journal.decisions.asides(GROUP);
  const { generation } = await a.site.store.open(digest!);
  const labels = generation.entries.map(({ attributes }) => Buffer.from(attributes.label!).toString());
  expect(labels.sort()).toEqual(['captured at a only', 'never captured']);
  for (const { blobSha256 } of generation.entries) expect(a.site.store.hasSoundBlob(blobSha256!)).toBe(true);
  expect(await applied(await next('three'))).toEqual({ divergent: 0, unaccounted: 0 });
});

it('of a member that was never active is reported, and left alone', async () => {
  const own = b.member.hsm.addSecret('of an application');
  // B's own past does not count: it is the standby of a again, as if it had never been active.
  const again = fence(3n, 'a');
  const ref = await next('one');
  await applied(ref);
  for (const site of [a, b])
    await site.call('setRole', { fence: again, serial: `${site.name}-1`, role: MemberRole.STANDBY });
  await sites.promote(a, ref, again);
  sites.renew(a, 3n);
  b.member.hsm.remove(own);
  b.site.journal.heads.set(
    { group: GROUP, serial: 'b-1' },
    'applied',
    b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'captured')!,
  );
  b.site.journal.heads.drop({ group: GROUP, serial: 'b-1' }, 'captured');
  b.member.hsm.addSecret('shared name');
  a.member.hsm.addSecret('shared name');
  const generation = await sites.captured(a, again);
  await b.call('apply', { fence: again, generation, sources: [address('a')] });
  await sites.verify(b, generation, again);
  expect(b.member.hsm.labelled('shared name')).toHaveLength(2);
  expect(b.site.journal.findings.namesakes({ group: GROUP, serial: 'b-1' })).toBe(1);
});

/** More generations than are kept for their place, and passes over more than a year. */
async function collectAtA(): Promise<void> {
  const { retention, collector } = a.site;
  let needed = await next('newest');
  for (let count = 0; count < 18; count += 1) needed = await next(`newest ${count}`);
  await applied(needed);
  for (const { digest } of b.site.store.list(GROUP))
    await a.site.transfer.pull({ group: GROUP, digest, sources: [address('b')] });
  retention.learn(GROUP, [Buffer.from(needed.manifestDigest).toString('hex')]);
  for (let pass = 0; pass < 10; pass += 1) {
    await retention.pass();
    await collector.pass();
    await sites.network.clock.advance(50 * 86_400_000);
  }
}

it('stays sealed here for as long as it is divergent, whatever is erased', async () => {
  const lost = await a.site.store.open(a.site.store.list(GROUP)[0]!.digest);
  await applied(await next('one'));
  await collectAtA();
  const [{ digest } = { digest: '' }] = a.site.journal.findings.divergent({ group: GROUP, serial: 'a-1' });
  expect(digest).toBe(lost.digest);
  for (const { blobSha256 } of lost.generation.entries) expect(a.site.store.hasSoundBlob(blobSha256!)).toBe(true);
});

it('stays sealed here when it was set aside, whatever is erased', async () => {
  b.member.hsm.addSecret('captured at a only');
  await applied(await next('never captured'));
  await collectAtA();
  const [digest] = a.site.journal.decisions.asides(GROUP);
  const { generation } = await a.site.store.open(digest!);
  expect(generation.entries).toHaveLength(2);
  for (const { blobSha256 } of generation.entries) expect(a.site.store.hasSoundBlob(blobSha256!)).toBe(true);
});
