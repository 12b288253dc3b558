/** A group is seated again by the answers of its members: everybody under one new epoch, the active one last. */
import { MemberRole } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Role } from '../../model.ts';
import { lockGroup, readTenures, setRole, setSpec } from '../../store/tables/groups.ts';
import { removeMember } from '../../store/tables/membership.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import type { SaidOfMember } from '../../testing/site-views.ts';
import { generation } from '../../testing/situation.ts';
import { PROFILES } from '../../timings.ts';
import { reseat } from './effects.ts';

const database = testDatabase();

let bench: EffectsBench;
const DIGEST = 'ab'.repeat(32);
const ref = (epoch: bigint, generation: bigint) => ({
  epoch,
  generation,
  manifestDigest: fromHex(DIGEST),
  contentDigest: fromHex(DIGEST),
  captureStartedMs: 0n,
});
/** Sets the answer of a member. */
function member(site: string, seat: SaidOfMember, quarantine = ''): void {
  bench.answers.set(`describe ${site}`, {
    members: [{ group: 'payments', epoch: 1n, epochOwner: 'a', role: MemberRole.STANDBY, ...seat }],
    partitions: [{ serial: `serial-${site}` }],
    journal: { quarantined: quarantine === '' ? [] : [{ group: 'payments', reason: quarantine }] },
  });
}
/** Every role, and who owns which epoch. */
const roles = async (): Promise<Role[]> => (await database.rows.readGroup()).members.map(({ role }) => role);
const epochs = async () => {
  const { epoch, owner, highestEpoch, highestOwner } = await database.rows.readGroup();
  return { inForce: `${epoch} of ${owner}`, issued: `${highestEpoch} of ${highestOwner}` };
};
const AS_BEFORE = { inForce: '1 of a', issued: '1 of a' };
beforeEach(async () => {
  bench = new EffectsBench(database);
  await database.rows.group();
  await database.rows.captured([generation({ manifestDigest: DIGEST })]);
});
const run = (active = '') => reseat(bench.context, intentOf(''), { type: 'reseat', active });
const orders = () => bench.orders.filter(({ method }) => method === 'reseat');

describe('reseating a group', () => {
  /** The database is back at epoch 1 of a; b is active in epoch 2. */
  const rolledBack = (): void => {
    member('a', { epoch: 2n, epochOwner: 'b' });
    member('b', { epoch: 2n, epochOwner: 'b', role: MemberRole.ACTIVE, captured: ref(2n, 7n) });
    member('c', { epoch: 2n, epochOwner: 'b', applied: ref(2n, 7n) });
    bench.said.set('b', { epoch: 2n, epochOwner: 'b' });
  };

  it('orders everybody under one epoch, the active member last, and writes it down only then', async () => {
    rolledBack();
    bench.answers.set('reseat b', async () => {
      expect(await epochs()).toEqual({ inForce: '1 of a', issued: '3 of b' });
      expect((await database.rows.generations()).map(({ epoch, number }) => [epoch, number])).toEqual([
        [1n, 4n],
        [2n, 7n],
      ]);
      expect(orders()).toHaveLength(3);
      return {};
    });
    expect(await run()).toMatchObject({ type: 'reseated', epoch: 3n, activeSite: 'b', leftAside: [] });
    expect(
      orders().map(({ site, request }) => [site, request['role'], (request['fence'] as { epoch: bigint }).epoch]),
    ).toEqual([
      ['a', MemberRole.STANDBY, 3n],
      ['c', MemberRole.STANDBY, 3n],
      ['b', MemberRole.ACTIVE, 3n],
    ]);
    expect(await epochs()).toEqual({ inForce: '3 of b', issued: '3 of b' });
    expect(await roles()).toEqual(['standby', 'active', 'standby']);
  });

  it('orders no version of the domain key again that a member holds, and makes a later one due', async () => {
    rolledBack();
    for (const site of ['a', 'b', 'c'])
      member(site, { epoch: 1n, epochOwner: 'a', domainKeyVersion: site === 'b' ? 3 : 4 });
    member('a', { role: MemberRole.ACTIVE, domainKeyVersion: 4 });
    bench.said.set('b', { epoch: 1n, epochOwner: 'a', domainKeyVersion: 3 });
    await run();
    const { highestVersion, rotateAbove, domainKeyVersion } = await database.rows.readGroup();
    expect({ highestVersion, rotateAbove, domainKeyVersion }).toEqual({
      highestVersion: 4,
      rotateAbove: 4,
      domainKeyVersion: 1,
    });
  });

  it('issues no epoch for members that were changed since they were asked', async () => {
    rolledBack();
    bench.beforeWrite = () =>
      database.rows.write(async (trx) => {
        const group = await lockGroup(trx, 'payments');
        await removeMember(trx, group, { site: 'c', serial: 'serial-c', nowMs: 0 });
      });
    expect((await rejection(run())).code).toBe('GROUP_BUSY');
    expect([orders(), (await epochs()).issued]).toEqual([[], '1 of a']);
  });

  const unreachable = (site: string): void => void bench.answers.set(`describe ${site}`, 'SITE_UNREACHABLE');
  /** It answers, and another release gave it its role. It may serve in that role. */
  const inUnknownRole = (site: string): void => member(site, { epoch: 2n, epochOwner: 'b', role: 99 as MemberRole });

  it.each([
    ['does not answer', unreachable],
    ['is in a role that this release does not know', inUnknownRole],
  ])('waits out the last lease when a member %s, and fences that member', async (_what, change) => {
    rolledBack();
    change('a');
    const done = run();
    await bench.clock.advance(0);
    expect(orders().map(({ site }) => site)).toEqual(['c']);
    await bench.clock.advance(bench.context.ports.timings.leaseMs * 2);
    expect(await done).toMatchObject({ activeSite: 'b', seated: ['b', 'c'] });
    expect(await roles()).toEqual(['fenced', 'active', 'standby']);
  });

  it('waits out the last lease when a copy of an agent answers in its place', async () => {
    rolledBack();
    bench.copied.add('a');
    const done = run();
    await bench.clock.advance(0);
    expect(orders().map(({ site }) => site)).toEqual(['a', 'c']);
    await bench.clock.advance(bench.context.ports.timings.leaseMs * 2);
    expect(await done).toMatchObject({ activeSite: 'b', seated: expect.arrayContaining(['a', 'b', 'c']) });
  });

  it('issues no epoch, which would end the tenure in force, where agents would refuse to be seated', async () => {
    rolledBack();
    bench.guarded.add('b');
    expect((await rejection(run())).code).toBe('APPROVAL_REQUIRED');
    bench.guarded.clear();
    // A minority can be left aside.
    bench.guarded.add('c');
    bench.answers.set('reseat c', 'APPROVAL_REQUIRED');
    expect([orders(), await epochs()]).toEqual([[], AS_BEFORE]);
    const done = run();
    await bench.clock.advance(bench.context.ports.timings.leaseMs * 2);
    expect(await done).toMatchObject({ activeSite: 'b', leftAside: [{ site: 'c', code: 'APPROVAL_REQUIRED' }] });
  });

  it('says that approvals are missing where too many agents refuse to be seated after all', async () => {
    rolledBack();
    for (const site of ['a', 'c']) bench.answers.set(`reseat ${site}`, 'APPROVAL_INSUFFICIENT');
    expect((await rejection(run())).code).toBe('APPROVAL_INSUFFICIENT');
  });

  it('changes nothing in force where the active member does not take its seat', async () => {
    rolledBack();
    bench.answers.set('reseat b', 'FILE_UNWRITABLE');
    expect((await rejection(run())).code).toBe('FILE_UNWRITABLE');
    expect((await epochs()).inForce).toBe('1 of a');
  });

  it.each([
    ['answers', unreachable],
    ['is in a role that this release knows', inUnknownRole],
  ])('is refused unless a majority %s, and nothing is ordered', async (_what, change) => {
    rolledBack();
    for (const site of ['a', 'c']) change(site);
    expect((await rejection(run())).code).toBe('RESEAT_REFUSED');
    expect([orders(), await epochs()]).toEqual([[], AS_BEFORE]);
  });

  it('brings a standby in quarantine what it is known to have held, in the tenure that is in force', async () => {
    await database.rows.write((trx) => setRole(trx, 'payments', 'b', 'fenced'));
    member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 4n) });
    member('b', {}, 'older copy');
    member('c', { applied: ref(1n, 4n) });
    expect(await run()).toMatchObject({ epoch: 1n, activeSite: 'a', seated: ['b'] });
    expect(orders()).toMatchObject([
      { site: 'b', request: { role: MemberRole.STANDBY, fence: { epoch: 1n, owner: 'a' } } },
    ]);
    expect([await epochs(), await roles()]).toEqual([AS_BEFORE, ['active', 'standby', 'standby']]);
  });

  it('takes the active role from no member that got it by a failover while it was being seated', async () => {
    member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 4n) });
    member('b', {}, 'older copy');
    member('c', { applied: ref(1n, 4n) });
    bench.answers.set('reseat b', async () => {
      await database.rows.epoch({ epoch: 2n, owner: 'b', isActive: true });
      return {};
    });
    expect((await rejection(run())).code).toBe('EPOCH_STALE');
    expect(await roles()).toEqual(['fenced', 'active', 'standby']);
  });

  it('is done where it was killed after its members were seated', async () => {
    member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 4n) });
    member('b', {}, 'older copy');
    member('c', { applied: ref(1n, 4n) });
    const done = await run();
    member('b', { applied: ref(1n, 4n) });
    bench.orders.length = 0;
    expect(await run()).toEqual(done);
    expect(orders()).toEqual([]);
    const other = { ...intentOf(''), id: 'another' };
    const refused = await rejection(reseat(bench.context, other, { type: 'reseat', active: '' }));
    expect(refused.code).toBe('RESEAT_REFUSED');
  });

  it('names the newest generation of its own to an active member whose journal is an older copy', async () => {
    member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 2n) }, 'older copy');
    member('b', { applied: ref(1n, 4n) });
    member('c', { applied: ref(1n, 4n) });
    bench.quarantined.set('a', 'older copy');
    bench.answers.set('reseat a', async () => {
      bench.quarantined.clear();
      return {};
    });
    await run();
    expect(bench.accepted).toEqual(['a']);
    expect(orders().at(-1)).toMatchObject({
      site: 'a',
      request: { role: MemberRole.ACTIVE, generation: { generation: 4n } },
    });
  });

  describe('whose active member was put back to before its newest capture', () => {
    const NEWER = 'cd'.repeat(32);
    const asked = () =>
      orders()
        .filter(({ site }) => site === 'a')
        .map(({ request }) => (request['generation'] as { generation: bigint } | undefined)?.generation);
    beforeEach(async () => {
      member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 2n) }, 'older copy');
      member('b', { applied: ref(1n, 4n) });
      member('c', { applied: ref(1n, 4n) });
      bench.quarantined.set('a', 'older copy');
      await database.rows.captured([generation({ number: 5n, manifestDigest: NEWER })]);
      await database.rows.acknowledged('b', { epoch: 1n, number: 4n });
    });
    /** The generations up to this number can be pulled from somebody. */
    const heldUpTo = (number: bigint) =>
      bench.answers.set('reseat a', async ({ request }) => {
        const wanted = (request['generation'] as { generation: bigint } | undefined)?.generation ?? 0n;
        if (wanted > number) return 'GENERATION_UNKNOWN';
        bench.quarantined.clear();
        return {};
      });

    it('goes on from the newest that somebody still has', async () => {
      heldUpTo(4n);
      expect(await run()).toMatchObject({ activeSite: 'a', leftAside: [] });
      expect(asked()).toEqual([5n, 4n]);
      const [tenure] = (await database.store.query((db) => readTenures(db, 'payments'))).slice(-1);
      expect(tenure).toMatchObject({ epoch: 2n, base: { epoch: 1n, number: 4n } });
    });

    it('waits for one that was acknowledged while a member that may have it is down', async () => {
      heldUpTo(2n);
      bench.statuses.set('c', 'down');
      expect((await rejection(run())).code).toBe('GENERATION_UNKNOWN');
      expect(asked()).toEqual([5n, 4n]);
      bench.statuses.clear();
      expect(await run()).toMatchObject({ activeSite: 'a' });
      expect(asked().slice(2)).toEqual([5n, 4n, undefined]);
    });
  });

  describe('that is continued after its epoch was issued', () => {
    /** Everybody has heard of it by a heartbeat, which has ended the tenure of its owner. */
    const heard = (): void => {
      for (const site of ['a', 'b', 'c']) {
        const seat = { epoch: 3n, epochOwner: 'b', role: site === 'b' ? MemberRole.FENCED : MemberRole.STANDBY };
        member(site, seat);
        bench.said.set(site, seat);
      }
    };

    it('goes on under that epoch, and seats its owner', async () => {
      rolledBack();
      bench.answers.set('reseat b', 'TIMED_OUT');
      expect((await rejection(run())).code).toBe('TIMED_OUT');
      heard();
      bench.answers.delete('reseat b');
      expect(await run()).toMatchObject({ epoch: 3n, activeSite: 'b', seated: ['b', 'a', 'c'] });
      expect(await epochs()).toEqual({ inForce: '3 of b', issued: '3 of b' });
    });

    it('is done where that is in force already, and orders nothing', async () => {
      rolledBack();
      const done = await run();
      heard();
      bench.orders.length = 0;
      expect(await run()).toEqual({ ...done, seated: ['b', 'a', 'c'] });
      expect(orders()).toEqual([]);
    });

    it('leaves the group to a failover where nobody was active, and issues no further epoch', async () => {
      rolledBack();
      member('b', { epoch: 2n, epochOwner: 'b' });
      const done = await run();
      expect(done).toMatchObject({ epoch: 3n, activeSite: '' });
      heard();
      expect(await run()).toEqual(done);
      expect([orders(), (await epochs()).issued]).toEqual([[], '3 of b']);
    });

    it('was issued by no reseat that is ordered later', async () => {
      rolledBack();
      bench.answers.set('reseat b', 'TIMED_OUT');
      await rejection(run());
      heard();
      const later = { ...intentOf(''), createdMs: bench.clock.wallMs() + 1 };
      const refused = rejection(reseat(bench.context, later, { type: 'reseat', active: '' }));
      expect((await refused).code).toBe('RESEAT_REFUSED');
    });

    it('is not put in force once a higher epoch was issued', async () => {
      rolledBack();
      bench.answers.set('reseat b', async () => {
        await database.rows.epoch({ epoch: 4n, owner: 'c' });
        return {};
      });
      expect((await rejection(run())).code).toBe('EPOCH_STALE');
      expect(await epochs()).toEqual({ inForce: '1 of a', issued: '4 of c' });
    });
  });

  describe('by a leader that has just taken over', () => {
    const { heartbeatMs } = PROFILES.default;

    it('waits for whom it has not heard, before it finds that nothing contradicts the database', async () => {
      rolledBack();
      bench.unheard.add('b');
      const done = run();
      await bench.clock.advance(heartbeatMs * 3);
      expect(bench.orders).toEqual([]);
      bench.unheard.clear();
      await bench.clock.advance(heartbeatMs);
      expect(await done).toMatchObject({ activeSite: 'b', epoch: 3n });
    });

    it('seats no member in quarantine alone while another site may contradict the database', async () => {
      rolledBack();
      member('c', { epoch: 2n, epochOwner: 'b', applied: ref(2n, 7n) }, 'older copy');
      bench.quarantined.set('c', 'older copy');
      bench.unheard.add('b');
      const done = run();
      await bench.clock.advance(heartbeatMs);
      bench.unheard.clear();
      await bench.clock.advance(heartbeatMs);
      expect(await done).toMatchObject({ activeSite: 'b', epoch: 3n, seated: ['b', 'a', 'c'] });
    });

    it('does not wait for a site that is down, nor without end for one that is only suspect', async () => {
      rolledBack();
      bench.unheard.add('b');
      bench.statuses.set('b', 'down');
      expect((await rejection(run())).code).toBe('RESEAT_REFUSED');
      bench.statuses.set('b', 'suspect');
      const refused = rejection(run());
      await bench.clock.advance(heartbeatMs * 20);
      expect((await refused).code).toBe('RESEAT_REFUSED');
    });

    it('ends with that leadership', async () => {
      bench.unheard.add('b');
      const lost = rejection(run());
      bench.leadership.epoch = undefined;
      await bench.clock.advance(heartbeatMs);
      expect((await lost).code).toBe('LEADERSHIP_LOST');
    });
  });

  it('waits until a site has been told of its quarantine, or it would come after the order that ends it', async () => {
    member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 4n) });
    member('b', {});
    member('c', { applied: ref(1n, 4n) });
    bench.quarantined.set('b', 'older copy');
    expect((await rejection(run())).code).toBe('GROUP_BUSY');
    expect([orders(), bench.accepted]).toEqual([[], []]);
  });
});

describe('a witness', () => {
  const witness = (quarantine: string) =>
    bench.answers.set('describe w', {
      witnessed: [{ group: 'payments', epoch: 1n, owner: 'a' }],
      journal: { quarantined: quarantine === '' ? [] : [{ group: 'payments', reason: quarantine }] },
    });
  const persisted = () => bench.orders.filter(({ method }) => method === 'persistEpoch').map(({ request }) => request);
  beforeEach(async () => {
    const { spec } = await database.rows.readGroup();
    await database.rows.write((trx) => setSpec(trx, { ...spec, witnesses: ['w'] }));
    bench.members.set('w', []);
    for (const site of ['a', 'b', 'c']) member(site, site === 'a' ? { role: MemberRole.ACTIVE } : {});
  });

  it('in quarantine votes again once an operator has looked, under the tenure in force', async () => {
    witness('older copy');
    expect(await run()).toMatchObject({ type: 'reseated', epoch: 1n, seated: [] });
    expect(persisted()).toMatchObject([{ endsQuarantine: true, fence: { epoch: 1n, owner: 'a' } }]);
    expect(bench.accepted).toEqual(['w']);
    expect(orders()).toEqual([]);
  });

  it('is not seated again where nothing is wrong', async () => {
    witness('');
    expect((await rejection(run())).code).toBe('RESEAT_REFUSED');
    expect(persisted()).toEqual([]);
  });
});
