/**
 * An older copy of its store comes into the place of the active member's (I1, I9). Nothing is lost and nothing comes back
 * by itself, and a person has a way out in both directions.
 */
import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { deletedIn } from '../objects/sealed-objects.ts';
import { newestHere } from '../site.ts';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';
import { describe as account } from './describe.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;
let newest: Ref & { digest: string };

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  const { hsm } = a.member;
  hsm.hasStore = true;
  const deleted = hsm.addSecret('deleted');
  await sites.captured();
  const [objects, stamps] = [[...hsm.objects], [...hsm.stamps]];
  hsm.remove(deleted);
  hsm.addSecret('made since');
  newest = await sites.captured();
  await sites.apply(b, newest);
  await sites.verify(b, newest);
  hsm.objects.splice(0, hsm.objects.length, ...objects);
  hsm.stamps.clear();
  for (const [group, stamp] of stamps) hsm.stamps.set(group, stamp);
});
afterEach(() => sites.close());

const seatAt = ({ site }: SimulatedSite) => site.journal.tenure.seat(GROUP)!;
const labelsAt = ({ member }: SimulatedSite): string[] =>
  member.hsm.objects.map(({ attributes }) => Buffer.from(attributes.label ?? []).toString());
const removeAt = ({ member: { hsm } }: SimulatedSite, label: string): void =>
  void hsm.remove(hsm.objects.find(({ attributes }) => Buffer.from(attributes.label ?? []).toString() === label)!);
const told = async ({ site }: SimulatedSite) => (await account(site)).members?.find(({ group }) => group === GROUP);

/** As `antipode deleted list` has it. */
async function listed({ site }: SimulatedSite) {
  const { journal, store } = site;
  const head = await newestHere(site, seatAt(a));
  const open = { journal, store, seat: seatAt(a), newest: await store.open(head!.digest), asides: [] };
  return deletedIn(open, GROUP).map((one) => [one.label, one.state, one.isAccepted]);
}

it('is held with a code, its objects are listed, and stays held after a restart', async () => {
  for (let turn = 0; turn < 2; turn += 1) {
    const error = await rejection(sites.capture(a));
    expect(error).toMatchObject({ code: 'CAPTURE_HELD', details: { objects: 2, limit: 0, revived: 1 } });
    expect(error.message).toContain(
      'looks like an older copy of itself: 1 of 3 objects are gone, and 1 deleted one is back',
    );
    expect(error.hint).toContain('antipode failover payments');
    expect(await listed(a)).toEqual(
      expect.arrayContaining([
        ['made since', 'held', false],
        ['deleted', 'revived', false],
      ]),
    );
    expect(await told(a)).toMatchObject({ heldObjects: 2 });
    a.stop();
    await a.start();
    sites.renew(a);
  }
});

it('was not meant: a standby takes over with everything, and the older copy is mended when it stands by', async () => {
  await rejection(sites.capture(a));
  await sites.promote(b, newest);
  sites.renew(b, 2n);
  b.member.hsm.addSecret('made at b');
  const next = await sites.captured(b, fence(2n, 'b'));
  expect(labelsAt(b)).toEqual(expect.arrayContaining(['made since', 'made at b']));
  await a.call('setRole', { fence: fence(2n, 'b'), serial: 'a-1', role: MemberRole.STANDBY });
  const sources = [{ site: 'b', address: 'b:1' }];
  await a.call('apply', { fence: fence(2n, 'b'), generation: next, sources });
  const { proof } = await a.call('verify', { fence: fence(2n, 'b'), generation: next, everything: true });
  expect(proof?.failed).toBe(0);
  expect(labelsAt(a)).toEqual(expect.arrayContaining(['made since', 'made at b']));
  expect(labelsAt(a)).not.toContain('deleted');
  expect(await told(a)).toMatchObject({ heldObjects: 0 });
  // It is the newest again, and when it is active the next time, a deletion there is one.
  await sites.promote(a, next, fence(3n, 'a'));
  sites.renew(a, 3n);
  removeAt(a, 'made at b');
  await sites.captured(a, fence(3n, 'a'));
  expect(await told(a)).toMatchObject({ heldObjects: 0 });
});

it('was meant: what a person accepts is deleted, or serves again, at every member', async () => {
  await rejection(sites.capture(a));
  const { journal } = a.site;
  journal.decisions.accept(
    seatAt(a),
    journal.decisions.held(seatAt(a)).map(({ objectId }) => objectId),
  );
  const next = await sites.captured();
  await sites.apply(b, next);
  await sites.verify(b, next);
  expect(labelsAt(b)).toContain('deleted');
  expect(labelsAt(b)).not.toContain('made since');
  expect(await told(a)).toMatchObject({ heldObjects: 0 });
  // The copy is the token now: the loss of one key is a deletion again.
  removeAt(a, 'deleted');
  await sites.captured();
});
