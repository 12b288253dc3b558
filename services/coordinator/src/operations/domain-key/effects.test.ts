/** A new domain key: the seats, the epoch and the version that it is brought under. */
import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import { useVersion } from '../../store/tables/groups.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { SPEC } from '../../testing/group.ts';
import { PROFILES } from '../../timings.ts';
import { domainKey } from './effects.ts';
import type { DomainKeyEffect } from './machine.ts';

const { heartbeatMs } = PROFILES.default;
const database = testDatabase();
let bench: EffectsBench;
beforeEach(() => {
  bench = new EffectsBench(database);
  bench.answers.set('distributeDomainKey', { failures: [] });
});
/** A group without a domain key. */
const fresh = (spec = SPEC): Promise<Group> => database.rows.group({ spec, domainKeyVersion: 0 });
const versions = async (): Promise<{ inUse: number; highest: number }> => {
  const { domainKeyVersion: inUse, highestVersion: highest } = await database.rows.readGroup();
  return { inUse, highest };
};
const UNCHANGED = { inUse: 1, highest: 1 };
const fence = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'i' };

describe('a domain key', () => {
  const bring = (effect: DomainKeyEffect) => domainKey(bench.context, intentOf(''), effect);
  const distributed = (): unknown[] =>
    (bench.orders.at(-1)!.request['members'] as { serial: string }[]).map(({ serial }) => serial);

  it('seats everybody before the first domain key, whoever is there', async () => {
    await fresh();
    bench.statuses.set('c', 'suspect');
    expect(await bring({ type: 'seat-members' })).toEqual({ type: 'seated' });
    expect(bench.orders.map(({ site, request }) => [site, request['role'], request['fence']])).toEqual([
      ['a', MemberRole.ACTIVE, fence],
      ['b', MemberRole.STANDBY, fence],
      ['c', MemberRole.STANDBY, fence],
    ]);
  });

  it('seats no active member that was promoted, and later nobody who is not there', async () => {
    await database.rows.group();
    await database.rows.epoch({ epoch: 2n, owner: 'a', isActive: true });
    bench.statuses.set('c', 'down');
    await bring({ type: 'seat-members' });
    expect(bench.ordered).toEqual(['setRole b']);
  });

  it('orders the version above the highest that was ever ordered', async () => {
    await database.rows.group({ highestVersion: 6 });
    expect(await bring({ type: 'order-version' })).toEqual({ type: 'version-ordered', version: 7 });
    expect(await versions()).toEqual({ inUse: 1, highest: 7 });
  });

  it('uses up no version while no standby can receive one', async () => {
    await database.rows.group({ highestVersion: 6 });
    for (const site of ['b', 'c']) bench.statuses.set(site, 'down');
    const error = await rejection(bring({ type: 'order-version' }));
    expect([error.code, error.hint]).toEqual(['SITE_UNREACHABLE', expect.stringContaining('remove-member')]);
    expect((await versions()).highest).toBe(6);
  });

  it('gives two operations that order at once different versions', async () => {
    await database.rows.group({ highestVersion: 6 });
    const ordered = await Promise.all([bring({ type: 'order-version' }), bring({ type: 'order-version' })]);
    expect(ordered).toEqual([
      { type: 'version-ordered', version: 7 },
      { type: 'version-ordered', version: 8 },
    ]);
  });

  it('brings a first version to everybody, scratch partitions included, and uses it then', async () => {
    await fresh();
    bench.statuses.set('b', 'down');
    expect(await bring({ type: 'distribute', version: 1 })).toMatchObject({ type: 'distributed', failures: [] });
    expect(bench.orders).toMatchObject([{ site: 'a', request: { version: 1, distributorSerial: '', fence } }]);
    expect(distributed()).toEqual(['serial-a', 'serial-b', 'serial-c', 'scratch-c']);
    expect([(await versions()).inUse, await database.rows.events()]).toEqual([0, []]);
    expect(await bring({ type: 'use-version', version: 1, sites: ['a', 'b', 'c'] })).toEqual({ type: 'version-used' });
    expect([(await versions()).inUse, await database.rows.events()]).toEqual([1, ['domain-key-in-use']]);
  });

  it('brings a first version also to a member that is alone', async () => {
    await fresh({ ...SPEC, members: SPEC.members.slice(0, 1), scratch: [] });
    await bring({ type: 'distribute', version: 1 });
    expect(distributed()).toEqual(['serial-a']);
  });

  it('brings a later version to those that are there, of whom there must be two sites', async () => {
    await database.rows.group();
    bench.statuses.set('b', 'down');
    // The site that was away is on record as such: it gets the next version when it is back.
    expect(await bring({ type: 'distribute', version: 2 })).toMatchObject({ sites: ['a', 'c', 'c'] });
    expect(distributed()).toEqual(['serial-a', 'serial-c', 'scratch-c']);
    bench.statuses.set('c', 'suspect');
    expect((await rejection(bring({ type: 'distribute', version: 3 }))).code).toBe('SITE_UNREACHABLE');
    expect([bench.orders.length, await versions()]).toEqual([1, UNCHANGED]);
  });

  it('leaves out nobody whom a leader that has just taken over has not heard yet', async () => {
    await database.rows.group();
    bench.unheard.add('b').add('c');
    const done = bring({ type: 'distribute', version: 2 });
    await bench.clock.advance(heartbeatMs);
    bench.unheard.delete('b');
    await bench.clock.advance(heartbeatMs);
    expect(bench.orders).toEqual([]);
    bench.unheard.clear();
    await bench.clock.advance(heartbeatMs);
    expect(await done).toMatchObject({ sites: ['a', 'b', 'c', 'c'] });
  });

  it('never uses a version that somebody did not receive', async () => {
    await database.rows.group();
    const failures = [{ serial: 'serial-b', code: 'PEER_NOT_PINNED', message: 'no' }];
    bench.answers.set('distributeDomainKey', { failures });
    expect(await bring({ type: 'distribute', version: 2 })).toMatchObject({ type: 'distributed', failures });
    expect(await versions()).toEqual(UNCHANGED);
  });

  describe('of a version that carries less than the one in use', () => {
    const trusting = (...versions: number[]) => ({
      name: 'main',
      trusted: versions.map((version) => ({ group: 'payments', version })),
    });
    beforeEach(async () => {
      await database.rows.group();
      bench.said.set('a', { domainKeyVersion: 1 });
    });
    const use = () => bring({ type: 'use-version', version: 2, sites: ['a', 'b'] });

    it('waits for every officer who trusted the one in use, where the new one went', async () => {
      bench.partitions.set('a', trusting(1, 2));
      bench.partitions.set('b', trusting(1));
      // Away at the rotation: it gets the next version.
      bench.partitions.set('c', trusting(1));
      expect(await use()).toMatchObject({
        type: 'officers-awaited',
        failures: [{ serial: 'serial-b', code: 'DOMAIN_KEY_UNTRUSTED' }],
      });
      expect((await versions()).inUse).toBe(1);
      bench.partitions.set('b', trusting(1, 2));
      expect(await use()).toEqual({ type: 'version-used' });
      expect((await versions()).inUse).toBe(2);
    });

    it('waits for an officer whose site a leader that has just taken over has not heard yet', async () => {
      bench.partitions.set('b', trusting(1));
      bench.unheard.add('b');
      const used = use();
      await bench.clock.advance(heartbeatMs);
      bench.unheard.clear();
      await bench.clock.advance(heartbeatMs);
      expect((await used).type).toBe('officers-awaited');
      expect((await versions()).inUse).toBe(1);
    });

    it('waits for nobody who trusted none, and never goes back', async () => {
      bench.partitions.set('a', trusting());
      expect(await use()).toEqual({ type: 'version-used' });
      await database.rows.write((trx) => useVersion(trx, SPEC.name, 1));
      expect((await versions()).inUse).toBe(2);
    });

    it('waits for nobody where the active member has lost the version in use', async () => {
      bench.partitions.set('a', trusting());
      bench.partitions.set('b', trusting(1));
      expect((await use()).type).toBe('officers-awaited');
      bench.said.set('a', { domainKeyVersion: 0 });
      expect(await use()).toEqual({ type: 'version-used' });
    });
  });

  describe('in a group with a distributor', () => {
    beforeEach(async () => {
      await database.rows.group({ spec: { ...SPEC, distributor: { site: 'd', serial: 'serial-d' } } });
    });

    it('has it bring the version to members and scratch partitions, and not to itself', async () => {
      await bring({ type: 'distribute', version: 2 });
      expect(bench.orders).toMatchObject([
        { site: 'd', request: { version: 2, distributorSerial: 'serial-d', fence } },
      ]);
      expect(distributed()).toEqual(['serial-a', 'serial-b', 'serial-c', 'scratch-c']);
    });

    it('waits while it is away, and uses up no version', async () => {
      bench.statuses.set('d', 'down');
      expect((await rejection(bring({ type: 'order-version' }))).code).toBe('SITE_UNREACHABLE');
      expect((await rejection(bring({ type: 'distribute', version: 2 }))).code).toBe('SITE_UNREACHABLE');
      expect([bench.orders, await versions()]).toEqual([[], UNCHANGED]);
    });
  });

  it('distributes nothing while an epoch is not in force', async () => {
    await database.rows.group();
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    expect((await rejection(bring({ type: 'distribute', version: 2 }))).code).toBe('ROLE_REFUSED');
    expect(bench.orders).toEqual([]);
  });
});
