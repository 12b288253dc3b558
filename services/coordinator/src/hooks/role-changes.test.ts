import { seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Group } from '../model.ts';
import { activateEpoch } from '../store/tables/groups.ts';
import { deleteGroup } from '../store/tables/membership.ts';
import { recordSite } from '../store/tables/sites.ts';
import { testDatabase } from '../testing/database.ts';
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

const announce = (site: string): Promise<void> =>
  database.rows.write((trx) =>
    recordSite(trx, {
      name: site,
      address: `${site}:1`,
      version: '1',
      partitions: JSON.stringify([{ serial: `serial-${site}`, module: 'm.so', tokenLabel: `token-${site}` }]),
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
const leader = (hooks = [hook('dns')], election = new FakeLeadership()) =>
  new RoleChanges(hooks, {
    store: database.store,
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
const moves = async (to: string, epoch: bigint): Promise<void> => {
  await database.rows.epoch({ epoch, owner: to });
  await database.rows.write((trx) => activateEpoch(trx, 'payments', { epoch, owner: to, base: undefined }));
  groups = [await database.rows.readGroup()];
};

describe('a hook learns where a group is served', () => {
  it('once for each epoch in force, whoever leads', async () => {
    await leader().pass();
    await leader().pass();
    await moves('b', 2n);
    const changes = leader();
    await changes.pass();
    await changes.pass();
    expect(told).toEqual(['dns 1 a after nobody', 'dns 2 b after a']);
    expect(changes.troubles).toEqual([]);
  });

  it('with the token that its clients open', async () => {
    let heard: RoleChange | undefined;
    answer = (_hook, message) => {
      heard = message;
      return { isAccepted: true, reason: '' };
    };
    await leader().pass();
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
      await changes.pass();
      await clock.advance(1_000);
    }
    expect(told.length).toBeGreaterThan(3);
    expect(told.length).toBeLessThan(12);
    expect(changes.troubles).toMatchObject([{ hook: 'dns', group: 'payments', epoch: 1n }]);
    answer = () => ({ isAccepted: false, reason: 'not now' });
    await clock.advance(10 * 60_000);
    await changes.pass();
    expect(changes.troubles[0]?.message).toContain('hook dns refused the message: not now');
    answer = () => ({ isAccepted: true, reason: '' });
    await clock.advance(10 * 60_000);
    await changes.pass();
    expect(changes.troubles).toEqual([]);
  });

  it('of the newest place only, and at once, where it has missed others', async () => {
    answer = () => {
      throw hookFailed('dns', 'away');
    };
    const changes = leader();
    await changes.pass();
    await moves('b', 2n);
    await moves('a', 3n);
    answer = () => ({ isAccepted: true, reason: '' });
    await changes.pass();
    expect(told).toEqual(['dns 1 a after nobody', 'dns 3 a after b']);
  });

  it('although another hook fails', async () => {
    answer = (name) => {
      if (name === 'dns') throw hookFailed('dns', 'away');
      return { isAccepted: true, reason: '' };
    };
    const changes = leader([hook('dns'), hook('balancer')]);
    await changes.pass();
    await changes.pass();
    expect(told.toSorted()).toEqual(['balancer 1 a after nobody', 'dns 1 a after nobody']);
  });

  it('not while a failover is under way, nor before its site has said what clients open', async () => {
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    groups = [await database.rows.readGroup()];
    await leader().pass();
    expect(told).toEqual([]);
    await moves('c', 3n);
    await leader().pass();
    expect(told).toEqual([]);
    await announce('c');
    await leader().pass();
    expect(told).toEqual(['dns 3 c after a']);
  });

  it('by the leader only', async () => {
    const election = new FakeLeadership();
    election.epoch = undefined;
    await leader([hook('dns')], election).pass();
    expect(told).toEqual([]);
  });

  it('again where a group of the same name is created later', async () => {
    await leader().pass();
    await database.rows.write((trx) => deleteGroup(trx, groups[0]!, { nowMs: 0 }));
    expect(await database.store.query((db) => db.selectFrom('hook_accepted').selectAll().execute())).toEqual([]);
  });
});
