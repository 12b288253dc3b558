/** Real processes lose the active site: frozen, killed, moved by order. The invariants are those of docs/invariants.md. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createClient, MemberRole, SiteAgentService } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

describe('the loss of the active site', () => {
  let system: TestSystem;

  beforeAll(async () => {
    system = await TestSystem.start({ processes: ['a'] });
  });
  afterAll(() => system?.close());

  const generationsAt = (name: string): number => {
    const database = new DatabaseSync(join(system.site(name).folder, 'data', 'generations.db'), { readOnly: true });
    try {
      return Number(database.prepare('SELECT count(*) AS count FROM manifest').get()?.['count']);
    } finally {
      database.close();
    }
  };

  it('promotes a standby when the active agent freezes, and the zombie captures nothing more when it thaws', async () => {
    await system.makeKey('a', '01');
    const { token } = system.site('a');
    await token.toolAsync(
      '--keypairgen',
      '--key-type',
      'EC:prime256v1',
      '--id',
      '02',
      '--label',
      'pair',
      '--usage-sign',
      '--extractable',
    );
    await system.replicate();
    const { address } = (await system.operator.getStatus({})).sites.find(({ site }) => site === 'a')!;
    const stale = createClient(SiteAgentService, {
      address,
      tls: system.coordinatorTls,
      expected: { kind: 'site', name: 'a' },
      keepalive: { timeMs: 60_000, timeoutMs: 60_000 },
    });
    await stale.ping({});
    system.site('a').process!.signal('SIGSTOP');
    // An order of the old tenure that reaches the agent while it is frozen: it is the first thing to be read on thawing.
    const { term } = system.agent('b').site.terms.highest!;
    const fence = { group: GROUP, epoch: 1n, owner: 'a', requestId: 'stale', term };
    const order = rejection(stale.capture({ fence, domainKeyVersion: 1 }, { timeoutMs: 100_000 }));
    await system.untilActive('b');
    const before = generationsAt('a');
    await system.makeKey('a', '0f');
    system.site('a').process!.signal('SIGCONT');
    expect(['LEASE_LAPSED', 'EPOCH_STALE', 'ROLE_REFUSED']).toContain((await order).code);
    stale.close();
    const group = await system.until('a has rejoined', async () => {
      const { group: state } = await system.operator.getGroup({ group: GROUP });
      return state?.members.find(({ site }) => site === 'a')?.role === MemberRole.STANDBY ? state : undefined;
    });
    expect(group.activeSite).toBe('b');
    expect(group.epoch).toBe(2n);
    const a = new DatabaseSync(join(system.site('a').folder, 'data', 'generations.db'), { readOnly: true });
    const captured = a.prepare('SELECT epoch, number FROM manifest ORDER BY epoch, number').all();
    a.close();
    expect(captured.filter(({ epoch }) => epoch === 1)).toHaveLength(before);
  });

  it('captures at the new active member as truthfully as the first source did', async () => {
    const old = system
      .agent('c')
      .site.store.list(GROUP)
      .find(({ epoch }) => epoch === 1n)!;
    await system.makeKey('b', '03');
    const round = await system.replicate(['a', 'c']);
    const { store } = system.agent('c').site;
    const newest = (await store.open(store.list(GROUP)[0]!.digest)).generation;
    expect(newest.epoch).toBe(2n);
    expect(round.state.newest?.objectCount).toBe(newest.entries.length);
    const before = (await store.open(old.digest)).generation.entries;
    for (const entry of before)
      expect(newest.entries.find(({ objectId }) => objectId === entry.objectId)).toEqual(entry);
    expect(newest.entries.length).toBe(before.length + 1);
  });

  it('comes back with the lost site as a standby after every process of it was killed', async () => {
    await system.stopAgent('a');
    await system.startAgent('a');
    await system.makeKey('b', '04');
    const round = await system.replicate(['a', 'c']);
    expect(round.state.activeSite).toBe('b');
  });

  it('moves by an order of the operator, and the former active member is fenced at once', async () => {
    const plan = await system.until('nothing is in the way', async () => {
      const found = await system.operator.planFailover({ group: GROUP, toSite: 'a' });
      return found.obstacle === '' && found;
    });
    expect(plan).toMatchObject({ fromSite: 'b', toSite: 'a', lostGenerations: [] });
    await system.operator.failover({ group: GROUP, toSite: 'a' });
    await system.untilActive('a');
    await system.makeKey('a', '05');
    const round = await system.replicate(['b', 'c']);
    expect(round.state.epoch).toBe(3n);
  });
});
