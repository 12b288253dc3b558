import { seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group } from '../model.ts';
import type { Store } from '../store/store.ts';
import { activateEpoch } from '../store/tables/groups.ts';
import { deleteGroup } from '../store/tables/membership.ts';
import { recordSite } from '../store/tables/sites/sites.ts';
import { testDatabase } from '../testing/database.ts';
import { SPEC } from '../testing/group.ts';
import { FakeLeadership } from '../testing/leader.ts';
import { type Answer, type Hook, hookFailed, type RoleChange } from './hook.ts';
import { RoleChanges } from './role-changes.ts';

const database = testDatabase();
const clock = new FakeClock();
let groups: Group[];
let told: string[];
let answer: (hook: string, message: RoleChange) => Answer;
beforeEach(async () => {
  told = [];
  answer = () => ({ isAccepted: true, reason: '' });
  await database.rows.group();
  for (const site of ['a', 'b']) await announce(site);
  groups = [await database.rows.readGroup()];
});

const announce = (site: string, serials = [`serial-${site}`]): Promise<void> =>
  database.rows.write((trx) =>
    recordSite(trx, {
      name: site,
      address: `${site}:1`,
      version: '1',
      partitions: JSON.stringify(serials.map((serial) => ({ serial, module: 'm.so', tokenLabel: `token-${site}` }))),
    }),
  );
const hook = (name: string): Hook => ({
  name,
  call: async (message) => {
    const change = message as RoleChange;
    told.push(`${name} ${change.epoch} ${change.site} after ${change.previousSite || 'nobody'}`);
    return answer(name, change);
  },
});
/** Of one leader after another. */
const leader = (
  hooks = [hook('dns')],
  election = new FakeLeadership(),
  store: Pick<Store, 'query' | 'write'> = database.store,
) =>
  new RoleChanges(hooks, {
    store,
    election,
    cache: {
      get all() {
        return groups;
      },
    },
    clock,
    prng: seededPrng('hooks'),
    log: silentLog,
  });
/** One look for each hook, as its own loop takes it. */
const pass = async (changes: RoleChanges): Promise<unknown> =>
  Promise.all(changes.hooks.map((name) => changes.pass(name)));
const moves = async (to: string, epoch: bigint, group = 'payments'): Promise<void> => {
  await database.rows.epoch({ epoch, owner: to }, group);
  await database.rows.write((trx) => activateEpoch(trx, group, { epoch, owner: to, base: undefined }));
  groups = [await database.rows.readGroup()];
};

describe('a hook learns where a group is served', () => {
  it('once for each epoch in force, whoever leads', async () => {
    await pass(leader());
    await pass(leader());
    await moves('b', 2n);
    const changes = leader();
    await pass(changes);
    await pass(changes);
    expect(told).toEqual(['dns 1 a after nobody', 'dns 2 b after a']);
    expect(changes.troubles).toEqual([]);
  });

  it('with the token that its clients open', async () => {
    let heard: RoleChange | undefined;
    answer = (_hook, message) => {
      heard = message;
      return { isAccepted: true, reason: '' };
    };
    await pass(leader());
    expect(heard).toEqual({
      type: 'role-change',
      group: 'payments',
      epoch: 1n,
      site: 'a',
      serial: 'serial-a',
      module: 'm.so',
      tokenLabel: 'token-a',
      previousSite: '',
    });
  });

  it('again and again until it accepts, ever less often, and shown as a concern meanwhile', async () => {
    answer = () => {
      throw hookFailed('dns', 'away');
    };
    const changes = leader();
    for (let second = 0; second < 60; second += 1) {
      await pass(changes);
      await clock.advance(1_000);
    }
    expect(told.length).toBeGreaterThan(3);
    expect(told.length).toBeLessThan(12);
    expect(changes.troubles).toMatchObject([{ hook: 'dns', group: 'payments', epoch: 1n }]);
    answer = () => ({ isAccepted: false, reason: 'not now' });
    await clock.advance(10 * 60_000);
    await pass(changes);
    expect(changes.troubles[0]?.message).toContain('hook dns refused the message: not now');
    answer = () => ({ isAccepted: true, reason: '' });
    await clock.advance(10 * 60_000);
    await pass(changes);
    expect(changes.troubles).toEqual([]);
  });

  it('of the newest place only, and at once, where it has missed others', async () => {
    answer = () => {
      throw hookFailed('dns', 'away');
    };
    const changes = leader();
    await pass(changes);
    await moves('b', 2n);
    await moves('a', 3n);
    answer = () => ({ isAccepted: true, reason: '' });
    await pass(changes);
    expect(told).toEqual(['dns 1 a after nobody', 'dns 3 a after b']);
  });

  it('although another hook fails', async () => {
    answer = (name) => {
      if (name === 'dns') throw hookFailed('dns', 'away');
      return { isAccepted: true, reason: '' };
    };
    const changes = leader([hook('dns'), hook('balancer')]);
    await pass(changes);
    await pass(changes);
    expect(told.toSorted()).toEqual(['balancer 1 a after nobody', 'dns 1 a after nobody']);
  });

  it('although another hook hangs, which then hears of the newest place and no other', async () => {
    const hangs = Promise.withResolvers<void>();
    const slow: Hook = {
      name: 'dns',
      call: async (message) => {
        await hangs.promise;
        return hook('dns').call(message);
      },
    };
    const members = SPEC.members.map(({ site }) => ({ site, serial: `wages-${site}` }));
    await database.rows.group({ spec: { ...SPEC, name: 'wages', members } });
    for (const site of ['a', 'b']) await announce(site, [`serial-${site}`, `wages-${site}`]);
    const all = async (): Promise<void> => {
      groups = [await database.rows.readGroup(), await database.rows.readGroup('wages')];
    };
    await all();
    const changes = leader([slow, hook('balancer')]);
    const hanging = changes.pass('dns');
    await changes.pass('balancer');
    await moves('b', 2n, 'wages');
    await all();
    await changes.pass('balancer');
    expect(told.splice(0)).toEqual(['balancer 1 a after nobody', 'balancer 1 a after nobody', 'balancer 2 b after a']);
    hangs.resolve();
    await hanging;
    expect(told).toEqual(['dns 1 a after nobody', 'dns 2 b after a']);
  });

  it('not while a failover is under way, nor before its site has said what clients open', async () => {
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    groups = [await database.rows.readGroup()];
    await pass(leader());
    expect(told).toEqual([]);
    await moves('c', 3n);
    await pass(leader());
    expect(told).toEqual([]);
    await announce('c');
    await pass(leader());
    expect(told).toEqual(['dns 3 c after a']);
  });

  it('by the leader only', async () => {
    const election = new FakeLeadership();
    election.epoch = undefined;
    await pass(leader([hook('dns')], election));
    expect(told).toEqual([]);
  });

  it('again where a group of the same name is created later', async () => {
    await pass(leader());
    await database.rows.write((trx) => deleteGroup(trx, groups[0]!, { nowMs: 0 }));
    expect(await database.store.query((db) => db.selectFrom('hook_accepted').selectAll().execute())).toEqual([]);
  });
});

it('a leader that loses its lease while the database works tells nothing', async () => {
  const election = new FakeLeadership();
  const { store } = database;
  const query: Store['query'] = async (look) => {
    const result = await store.query(look);
    election.epoch = undefined;
    return result;
  };
  await pass(leader([hook('dns')], election, { query, write: (epoch, change) => store.write(epoch, change) }));
  expect(told).toEqual([]);
  await pass(leader());
  expect(told).toHaveLength(1);
});
