import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, expect, it, vi } from 'vitest';
import { EffectsBench, GROUP, intentOf } from '../../testing/effects-bench.ts';
import { keyRetirement } from './effects.ts';

const database = vi.hoisted(() => ({ why: '', open: [] as object[] }));
const DIGEST = 'ab'.repeat(32);
vi.mock(import('../../store/tables/groups.ts'), async (original) => ({
  ...(await original()),
  readGroup: async () => GROUP,
}));
vi.mock(import('../../store/tables/generations.ts'), async (original) => ({
  ...(await original()),
  readNewest: async () =>
    ({
      epoch: 1n,
      number: 4n,
      manifestDigest: DIGEST,
      contentDigest: DIGEST,
      objectCount: 1,
      domainKeyVersion: 1,
      uncaptured: [{ objectId: '1', kind: 'x', reason: 'y' }],
      recoveryPointMs: 0,
      trace: {},
    }) as never,
  readAcknowledged: async () => [],
}));
vi.mock(import('../../store/tables/intents.ts'), async (original) => ({
  ...(await original()),
  readOpenIntents: async () => database.open as never,
}));
vi.mock(import('./older-keys.ts'), async (original) => ({
  ...(await original()),
  olderKeysNeededFor: () => database.why,
  seatsWithOlderKeys: () => [
    { site: 'b', serial: 'serial-b' },
    { site: 'c', serial: 'serial-c' },
    { site: 'c', serial: 'scratch-c' },
  ],
}));

let bench: EffectsBench;
beforeEach(() => {
  bench = new EffectsBench();
  Object.assign(database, { why: '', open: [] });
});
const perform = (site: string) => keyRetirement(bench.context, intentOf(site), { type: 'retire' });

it('orders it for every partition of the site, by the newest generation, and tells what is gone', async () => {
  bench.answers.set('retireDomainKeys', { destroyed: [1, 2] });
  expect(await perform('c')).toEqual({
    type: 'destroyed',
    destroyed: ['serial-c', 'scratch-c'].map((serial) => ({ serial, versions: [1, 2] })),
  });
  const generation = { epoch: 1n, generation: 4n, manifestDigest: fromHex(DIGEST), uncaptured: [] };
  expect(bench.orders).toMatchObject(
    ['serial-c', 'scratch-c'].map((serial) => ({
      site: 'c',
      method: 'retireDomainKeys',
      request: { fence: { epoch: 1n, owner: 'a', requestId: 'i' }, serial, generation },
    })),
  );
});

it('orders nothing where a member is not as far any more', async () => {
  database.why = 'site b is down';
  expect(await perform('c')).toEqual({ type: 'destroyed', destroyed: [] });
  expect(bench.orders).toEqual([]);
});

it('keeps what one partition has answered where another one fails, and fails where none has', async () => {
  bench.answers.set('retireDomainKeys', async ({ request }: { request: Record<string, unknown> }) => {
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
  expect(bench.events).toEqual(['domain-key-destroyed']);
});
