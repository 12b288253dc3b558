/**
 * A site whose data folder is an older copy of itself does nothing until it is seated again. Then it goes on as before.
 */
import { cpSync, rmSync } from 'node:fs';
import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HeartbeatAnswers } from '../tenure/heartbeat-answers.ts';
import { address, fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';

let sites: TwoSites;
let newest: Ref;

/** Brings the folder of a back to what it was before its second generation, which b has. */
beforeEach(async () => {
  sites = await TwoSites.make();
  const { a, b } = sites;
  const replicate = async (): Promise<Ref> => {
    const ref = await sites.captured();
    await sites.apply(b, ref);
    await sites.verify(b, ref);
    return ref;
  };
  await replicate();
  a.stop();
  const copy = `${a.folder}-copy`;
  cpSync(a.folder, copy, { recursive: true });
  await a.start();
  sites.renew(a);
  a.member.hsm.addSecret('later');
  newest = await replicate();
  a.stop();
  rmSync(a.folder, { recursive: true });
  cpSync(copy, a.folder, { recursive: true });
  rmSync(copy, { recursive: true });
  await a.start();
  // The simulated site draws the same numbers after each start; a real one does not.
  a.site.prng.bytes(1_000);
  tell('a');
});
afterEach(() => sites.close());

const tell = (name: 'a' | 'b'): void =>
  new HeartbeatAnswers(sites[name].site).take(
    { leases: [], epochs: [], quarantined: [{ group: GROUP, reason: 'older copy' } as never] },
    { sentAtMs: 0 },
  );
const reseat = (role: MemberRole, { epoch = 2n, owner = 'a', site = sites.a } = {}) =>
  site.call('reseat', {
    fence: fence(epoch, owner),
    serial: `${site.name}-1`,
    role,
    generation: newest,
    sources: [address('b')],
  });

describe('in quarantine', () => {
  it('an active member captures nothing, whatever its lease says, and through a restart', async () => {
    for (const again of [false, true]) {
      if (again) {
        sites.a.stop();
        await sites.a.start();
      }
      sites.renew(sites.a);
      expect((await rejection(sites.capture(sites.a))).code).toBe('SITE_QUARANTINED');
    }
  });

  it('a standby applies nothing, verifies nothing, is not scrubbed and not promoted', async () => {
    tell('b');
    const { b } = sites;
    for (const order of [
      sites.apply(b, newest),
      sites.verify(b, newest),
      sites.promote(b, newest),
      b.call('scrub', { fence: fence(2n, 'b'), sources: [] }),
    ])
      expect((await rejection(order)).code).toBe('SITE_QUARANTINED');
  });

  it('a site says so itself', async () => {
    const { journal } = await sites.a.call('describe', {});
    expect(journal?.quarantined).toMatchObject([{ group: GROUP, reason: 'older copy' }]);
  });
});

describe('reseated', () => {
  it('the active member knows again what it had captured: the standby gets no second copy of anything', async () => {
    await reseat(MemberRole.ACTIVE);
    sites.renew(sites.a, 2n);
    const order = fence(2n);
    const { generation } = await sites.capture(sites.a, order);
    const { divergentObjects, unaccountedObjects } = await sites.apply(sites.b, generation as Ref, order);
    await sites.verify(sites.b, generation as Ref, order);
    expect([divergentObjects, unaccountedObjects]).toEqual([0, 0]);
    const own = sites.b.member.hsm.objects.filter(({ attributes }) =>
      /secret|later/.test(String(Buffer.from(attributes.label ?? []))),
    );
    expect(own).toHaveLength(2);
  });

  it('it may be done twice, and after the new epoch has come by heartbeat', async () => {
    sites.a.site.fences.admit({ group: GROUP, epoch: 2n, owner: 'a' });
    await reseat(MemberRole.ACTIVE);
    const { member } = await reseat(MemberRole.ACTIVE);
    expect(member).toMatchObject({ role: MemberRole.ACTIVE, epoch: 2n, epochOwner: 'a' });
  });

  it('a standby takes what it had as restored, and not as proved', async () => {
    tell('b');
    const { member } = await reseat(MemberRole.STANDBY, { site: sites.b });
    expect(member).toMatchObject({ role: MemberRole.STANDBY, epoch: 2n });
    expect(sites.b.site.journal.tenure.quarantine(GROUP)).toBeUndefined();
  });

  it('nobody becomes active who was not: that needs a proof', async () => {
    expect((await rejection(reseat(MemberRole.ACTIVE, { site: sites.b, owner: 'b' }))).code).toBe('ROLE_REFUSED');
    expect((await rejection(reseat(MemberRole.ACTIVE, { owner: 'b' }))).code).toBe('ROLE_REFUSED');
    expect(sites.a.site.journal.tenure.quarantine(GROUP)).toBe('older copy');
  });

  it('is refused under an epoch that is over, and changes nothing', async () => {
    sites.a.site.fences.admit({ group: GROUP, epoch: 5n, owner: 'b' });
    expect((await rejection(reseat(MemberRole.ACTIVE))).code).toBe('EPOCH_STALE');
    expect(sites.a.site.journal.tenure.quarantine(GROUP)).toBe('older copy');
  });

  it('stays in quarantine where the generation is nowhere to be had', async () => {
    sites.b.stop();
    expect((await rejection(reseat(MemberRole.ACTIVE))).code).toBe('SITE_UNREACHABLE');
    expect(sites.a.site.journal.tenure.quarantine(GROUP)).toBe('older copy');
  });
});
