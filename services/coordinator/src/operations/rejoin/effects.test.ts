/** A fenced member is admitted again: what is ordered, and what is written down. */
import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { PROFILES } from '../../timings.ts';
import { rejoin } from './effects.ts';

const database = testDatabase();
let bench: EffectsBench;
beforeEach(() => {
  bench = new EffectsBench(database);
});
const fence = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'i' };

describe('a rejoin', () => {
  const join = (site: string) => rejoin(bench.context, intentOf(site));
  const roleOf = async (name: string) =>
    (await database.rows.readGroup()).members.find(({ site }) => site === name)?.role;
  beforeEach(async () => {
    await database.rows.group({ roles: { b: 'fenced' } });
  });

  it('seats the member as a standby, and writes it down only then', async () => {
    bench.answers.set('setRole', async () => {
      expect(await roleOf('b')).toBe('fenced');
      return {};
    });
    expect(await join('b')).toEqual({ type: 'rejoined' });
    expect(bench.orders).toEqual([
      { site: 'b', method: 'setRole', request: { fence, serial: 'serial-b', role: MemberRole.STANDBY } },
    ]);
    expect([await roleOf('b'), await database.rows.events()]).toEqual(['standby', ['member-rejoined']]);
  });

  it.each([
    ['ROLE_REFUSED', 'a'],
    ['NOT_FOUND', 'z'],
  ])('is refused with %s for site %s, and nothing is ordered', async (code, site) => {
    expect((await rejection(join(site))).code).toBe(code);
    expect([bench.orders, await database.rows.events()]).toEqual([[], []]);
  });

  it('is refused to a member in quarantine, and nothing is ordered', async () => {
    bench.quarantined.set('b', 'older copy');
    expect((await rejection(join('b'))).code).toBe('SITE_QUARANTINED');
    expect([bench.orders, await roleOf('b')]).toEqual([[], 'fenced']);
  });

  it('waits until a leader that has just taken over knows whether the member is in quarantine', async () => {
    bench.quarantined.set('b', 'older copy');
    bench.unheard.add('b');
    const refused = rejection(join('b'));
    await bench.clock.advance(PROFILES.default.heartbeatMs);
    bench.unheard.clear();
    await bench.clock.advance(PROFILES.default.heartbeatMs);
    expect((await refused).code).toBe('SITE_QUARANTINED');
    expect([bench.orders, await roleOf('b')]).toEqual([[], 'fenced']);
  });

  it('is not written down where the member became active before its answer came', async () => {
    bench.answers.set('setRole', async () => {
      await database.rows.epoch({ epoch: 2n, owner: 'b', isActive: true });
      return {};
    });
    expect((await rejection(join('b'))).code).toBe('EPOCH_STALE');
    expect([await roleOf('a'), await roleOf('b')]).toEqual(['fenced', 'active']);
  });

  it('is not written down where the agent refuses it', async () => {
    bench.answers.set('setRole', 'EPOCH_STALE');
    expect((await rejection(join('b'))).code).toBe('EPOCH_STALE');
    expect(await roleOf('b')).toBe('fenced');
  });
});
