/** Enrolment and rejoining: who is seated, under which epoch, and with which domain key. */
import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { EffectsBench, GROUP, intentOf } from '../../testing/effects-bench.ts';
import { enrolment } from '../enrolment/effects.ts';
import type { EnrolmentEffect } from '../enrolment/machine.ts';
import { rejoin } from '../rejoin/effects.ts';

/** The one group, and what was recorded. */
const database = vi.hoisted(() => ({ group: undefined as unknown, recorded: [] as string[] }));
vi.mock(import('../../store/tables/groups.ts'), async (original) => ({
  ...(await original()),
  readGroup: async () => database.group as never,
  setRole: async (_trx, _group, site, role) => void database.recorded.push(`${site} ${role}`),
  orderVersion: async (_trx, _group, version) => void database.recorded.push(`ordered ${version}`),
  useVersion: async (_trx, _group, version) => void database.recorded.push(`uses ${version}`),
}));

let bench: EffectsBench;
beforeEach(() => {
  bench = new EffectsBench();
  bench.answers.set('distributeDomainKey', { failures: [] });
  Object.assign(database, { group: GROUP, recorded: [] });
});
const fresh = { ...GROUP, domainKeyVersion: 0, highestVersion: 0 };
const fence = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'i' };

describe('an enrolment', () => {
  const enrol = (effect: EnrolmentEffect) => enrolment(bench.context, intentOf(''), effect);
  const distributed = (): unknown[] =>
    (bench.orders.at(-1)!.request['members'] as { serial: string }[]).map(({ serial }) => serial);

  it('seats everybody before the first domain key, whoever is there', async () => {
    database.group = fresh;
    bench.statuses.set('c', 'suspect');
    expect(await enrol({ type: 'seat-members' })).toEqual({ type: 'seated' });
    expect(bench.orders.map(({ site, request }) => [site, request['role'], request['fence']])).toEqual([
      ['a', MemberRole.ACTIVE, fence],
      ['b', MemberRole.STANDBY, fence],
      ['c', MemberRole.STANDBY, fence],
    ]);
  });

  it('seats no active member that was promoted, and later nobody who is not there', async () => {
    database.group = { ...GROUP, epoch: 2n, highestEpoch: 2n };
    bench.statuses.set('c', 'down');
    await enrol({ type: 'seat-members' });
    expect(bench.ordered).toEqual(['setRole b']);
  });

  it('orders the version above the highest that was ever ordered', async () => {
    database.group = { ...GROUP, highestVersion: 6 };
    expect(await enrol({ type: 'order-version' })).toEqual({ type: 'version-ordered', version: 7 });
    expect(database.recorded).toEqual(['ordered 7']);
  });

  it('brings a first version to everybody, scratch partitions included, and uses it then', async () => {
    database.group = fresh;
    bench.statuses.set('b', 'down');
    expect(await enrol({ type: 'distribute', version: 1 })).toMatchObject({ type: 'distributed', failures: [] });
    expect(bench.orders).toMatchObject([{ site: 'a', request: { version: 1, distributorSerial: '', fence } }]);
    expect(distributed()).toEqual(['serial-a', 'serial-b', 'serial-c', 'scratch-c']);
    expect([database.recorded, bench.events]).toEqual([[], []]);
    expect(await enrol({ type: 'use-version', version: 1, sites: ['a', 'b', 'c'] })).toEqual({ type: 'version-used' });
    expect([database.recorded, bench.events]).toEqual([['uses 1'], ['domain-key-in-use']]);
  });

  it('brings a first version also to a member that is alone', async () => {
    database.group = { ...fresh, members: fresh.members.slice(0, 1), spec: { ...fresh.spec, scratch: [] } };
    await enrol({ type: 'distribute', version: 1 });
    expect(distributed()).toEqual(['serial-a']);
  });

  it('brings a later version to those that are there, of whom there must be two sites', async () => {
    bench.statuses.set('b', 'down');
    // Who was away is on record as such: it gets the next version when it is back.
    expect(await enrol({ type: 'distribute', version: 2 })).toMatchObject({ sites: ['a', 'c', 'c'] });
    expect(distributed()).toEqual(['serial-a', 'serial-c', 'scratch-c']);
    bench.statuses.set('c', 'suspect');
    expect((await rejection(enrol({ type: 'distribute', version: 3 }))).code).toBe('SITE_UNREACHABLE');
    expect([bench.orders.length, database.recorded]).toEqual([1, []]);
  });

  it('never uses a version that somebody did not receive', async () => {
    const failures = [{ serial: 'serial-b', code: 'PEER_NOT_PINNED', message: 'no' }];
    bench.answers.set('distributeDomainKey', { failures });
    expect(await enrol({ type: 'distribute', version: 2 })).toMatchObject({ type: 'distributed', failures });
    expect(database.recorded).toEqual([]);
  });

  describe('of a version that carries less than the one in use', () => {
    const trusting = (...versions: number[]) => ({
      name: 'main',
      trusted: versions.map((version) => ({ group: 'payments', version })),
    });
    const use = () => enrol({ type: 'use-version', version: 2, sites: ['a', 'b'] });

    it('waits for every officer who trusted the one in use, where the new one went', async () => {
      bench.partitions.set('a', trusting(1, 2));
      bench.partitions.set('b', trusting(1));
      // Away at the rotation: it gets the next version.
      bench.partitions.set('c', trusting(1));
      expect(await use()).toMatchObject({
        type: 'officers-awaited',
        failures: [{ serial: 'serial-b', code: 'DOMAIN_KEY_UNTRUSTED' }],
      });
      expect(database.recorded).toEqual([]);
      bench.partitions.set('b', trusting(1, 2));
      expect(await use()).toEqual({ type: 'version-used' });
      expect(database.recorded).toEqual(['uses 2']);
    });

    it('waits for nobody who trusted none, nor where the active member has lost the version in use', async () => {
      bench.partitions.set('a', trusting());
      expect(await use()).toEqual({ type: 'version-used' });
      bench.partitions.set('b', trusting(1));
      expect((await use()).type).toBe('officers-awaited');
      bench.said.set('a', { domainKeyVersion: 0 });
      expect(await use()).toEqual({ type: 'version-used' });
    });
  });

  describe('in a group with a distributor', () => {
    const withDistributor = { ...GROUP, spec: { ...GROUP.spec, distributor: { site: 'd', serial: 'serial-d' } } };
    beforeEach(() => {
      database.group = withDistributor;
    });

    it('has it bring the version to members and scratch partitions, and not to itself', async () => {
      await enrol({ type: 'distribute', version: 2 });
      expect(bench.orders).toMatchObject([
        { site: 'd', request: { version: 2, distributorSerial: 'serial-d', fence } },
      ]);
      expect(distributed()).toEqual(['serial-a', 'serial-b', 'serial-c', 'scratch-c']);
    });

    it('waits while it is away, and uses up no version', async () => {
      bench.statuses.set('d', 'down');
      expect((await rejection(enrol({ type: 'order-version' }))).code).toBe('SITE_UNREACHABLE');
      expect((await rejection(enrol({ type: 'distribute', version: 2 }))).code).toBe('SITE_UNREACHABLE');
      expect([bench.orders, database.recorded]).toEqual([[], []]);
    });
  });

  it('distributes nothing while an epoch is not in force', async () => {
    database.group = { ...GROUP, highestEpoch: 2n };
    expect((await rejection(enrol({ type: 'distribute', version: 2 }))).code).toBe('ROLE_REFUSED');
    expect(bench.orders).toEqual([]);
  });
});

describe('a rejoin', () => {
  const join = (site: string) => rejoin(bench.context, intentOf(site));

  it('seats the member as a standby, and writes it down only then', async () => {
    bench.answers.set('setRole', async () => {
      expect(database.recorded).toEqual([]);
      return {};
    });
    expect(await join('b')).toEqual({ type: 'rejoined' });
    expect(bench.orders).toEqual([
      { site: 'b', method: 'setRole', request: { fence, serial: 'serial-b', role: MemberRole.STANDBY } },
    ]);
    expect([database.recorded, bench.events]).toEqual([['b standby'], ['member-rejoined']]);
  });

  it.each([
    ['ROLE_REFUSED', 'a'],
    ['NOT_FOUND', 'z'],
  ])('is refused with %s for site %s, and nothing is ordered', async (code, site) => {
    expect((await rejection(join(site))).code).toBe(code);
    expect([bench.orders, database.recorded]).toEqual([[], []]);
  });

  it('is refused to a member in quarantine, and nothing is ordered', async () => {
    bench.quarantined.set('b', 'older copy');
    expect((await rejection(join('b'))).code).toBe('SITE_QUARANTINED');
    expect([bench.orders, database.recorded]).toEqual([[], []]);
  });

  it('is not written down where the agent refuses it', async () => {
    bench.answers.set('setRole', 'EPOCH_STALE');
    expect((await rejection(join('b'))).code).toBe('EPOCH_STALE');
    expect(database.recorded).toEqual([]);
  });
});
