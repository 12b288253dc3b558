import { MemberRole } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { generation } from '../../testing/situation.ts';
import { keyRetirement } from './effects.ts';

const database = testDatabase();
const DIGEST = 'ab'.repeat(32);
const NEWEST = generation({
  manifestDigest: DIGEST,
  contentDigest: DIGEST,
  domainKeyVersion: 3,
  uncaptured: [{ objectId: '1', kind: 'x', reason: 'y' }],
});
const OLDER = [1, 2].map((version) => ({ group: 'payments', version, neededFor: '' }));

let bench: EffectsBench;
/** Every member has the newest generation and the key in use; b, c and the scratch partition have older ones too. */
beforeEach(async () => {
  bench = new EffectsBench(database);
  await database.rows.group({ domainKeyVersion: 3 });
  await database.rows.captured([NEWEST]);
  for (const site of ['b', 'c']) await database.rows.acknowledged(site, NEWEST);
  const head = { epoch: 1n, generation: 4n, manifestDigest: fromHex(DIGEST) };
  for (const site of ['a', 'b', 'c']) {
    const seat = { serial: `serial-${site}`, epoch: 1n, epochOwner: 'a', domainKeyVersion: 3 };
    const isActive = site === 'a';
    bench.said.set(site, {
      ...seat,
      role: isActive ? MemberRole.ACTIVE : MemberRole.STANDBY,
      ...(isActive ? { captured: head } : { applied: head }),
    });
    bench.partitions.set(site, { domainKeys: isActive ? [] : OLDER });
  }
  bench.scratch.set('c', { domainKeys: OLDER });
});
const perform = (site: string) => keyRetirement(bench.context, intentOf(site), { type: 'retire' });

it('orders it for every partition of the site, by the newest generation, and tells what is gone', async () => {
  bench.answers.set('retireDomainKeys', { destroyed: [1, 2] });
  expect(await perform('c')).toEqual({
    type: 'destroyed',
    destroyed: ['serial-c', 'scratch-c'].map((serial) => ({ serial, versions: [1, 2] })),
  });
  const ordered = { epoch: 1n, generation: 4n, manifestDigest: fromHex(DIGEST), uncaptured: [] };
  expect(bench.orders).toMatchObject(
    ['serial-c', 'scratch-c'].map((serial) => ({
      site: 'c',
      method: 'retireDomainKeys',
      request: { fence: { epoch: 1n, owner: 'a', requestId: 'i' }, serial, generation: ordered },
    })),
  );
});

it('orders nothing where a member is not as far any more', async () => {
  bench.statuses.set('b', 'down');
  expect(await perform('c')).toEqual({ type: 'destroyed', destroyed: [] });
  expect(bench.orders).toEqual([]);
});

it('keeps what one partition has answered where another one fails, and fails where none has', async () => {
  bench.answers.set('retireDomainKeys', async ({ request }) => {
    if (request['serial'] === 'scratch-c') throw new Error('no');
    return { destroyed: [1] };
  });
  expect(await perform('c')).toEqual({ type: 'destroyed', destroyed: [{ serial: 'serial-c', versions: [1] }] });
  bench.answers.set('retireDomainKeys', 'SITE_UNREACHABLE');
  expect((await rejection(perform('b'))).code).toBe('SITE_UNREACHABLE');
});

it('leaves an event for each partition', async () => {
  const destroyed = [{ serial: 'serial-c', versions: [1] }];
  expect(await keyRetirement(bench.context, intentOf('c'), { type: 'record', destroyed })).toEqual({
    type: 'recorded',
  });
  expect(await database.rows.events()).toEqual(['domain-key-destroyed']);
});
