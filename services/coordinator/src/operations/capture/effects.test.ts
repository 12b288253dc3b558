import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Generation } from '../../model.ts';
import { EffectsBench, GROUP, intentOf } from '../../testing/effects-bench.ts';
import { capture } from './effects.ts';

/** The one group, the numbers that were ever given, and what was recorded. */
const database = vi.hoisted(() => ({
  group: undefined as unknown,
  /** As it is when it is locked, where that is another state. */
  locked: undefined as unknown,
  highest: 0n,
  captures: [] as unknown[],
  isMoving: false,
}));
vi.mock(import('../../store/tables/groups.ts'), async (original) => ({
  ...(await original()),
  readGroup: async () => database.group as never,
  lockGroup: async () => (database.locked ?? database.group) as never,
}));
vi.mock(import('../../store/tables/generations.ts'), async (original) => ({
  ...(await original()),
  reserveNumber: async (_trx: unknown, _group: string, { seen }: { seen: bigint }) => {
    database.highest = (seen > database.highest ? seen : database.highest) + 1n;
    return database.highest;
  },
  releaseNumber: async (_trx: unknown, _group: string, number: bigint) => {
    if (database.highest === number) database.highest = number - 1n;
  },
  recordCapture: async (_trx: unknown, _group: string, generation: Generation) =>
    void database.captures.push(generation),
}));

vi.mock(import('../../store/tables/intents.ts'), async (original) => ({
  ...(await original()),
  isMoveOpen: async () => database.isMoving,
}));

const CAPTURED = {
  generation: {
    epoch: 1n,
    generation: 8n,
    manifestDigest: fromHex('aa'),
    contentDigest: fromHex('bb'),
    // An agent whose clock is far ahead.
    captureStartedMs: BigInt(Date.UTC(2030, 0, 1)),
    objectCount: 3,
    domainKeyVersion: 1,
    uncaptured: [{ objectId: '0b', kind: 'private-key', reason: 'unextractable' }],
  },
  isNew: true,
  sealedObjects: 2,
};

let bench: EffectsBench;
const captured = () => capture(bench.context, intentOf('a'));
beforeEach(() => {
  bench = new EffectsBench();
  bench.answers.set('capture', CAPTURED);
  Object.assign(database, { group: GROUP, locked: undefined, highest: 7n, captures: [], isMoving: false });
});

describe('a capture', () => {
  it('is ordered of the active member, under the epoch in force, above every number that was ever given', async () => {
    const filter = { excludeIds: ['0a'], excludeLabels: ['tmp-*'], excludeClasses: ['data'], ignoreCase: true };
    database.group = { ...GROUP, epoch: 3n, highestEpoch: 3n, spec: { ...GROUP.spec, filter } };
    const { type, generation } = (await captured()) as { type: string; generation: Generation };
    expect([type, generation.number, generation.manifestDigest]).toEqual(['captured', 8n, 'aa']);
    const fence = { group: 'payments', epoch: 3n, owner: 'a', requestId: 'i' };
    expect(bench.orders).toEqual([
      {
        site: 'a',
        method: 'capture',
        request: { fence, domainKeyVersion: 1, filter, reservedGeneration: 8n },
      },
    ]);
  });

  it('may lose as much, and keeps what is deleted as long, as the group says', async () => {
    const deletions = { retentionMs: 86_400_000, lossObjects: 2, lossPercent: 0 };
    database.group = { ...GROUP, spec: { ...GROUP.spec, deletions } };
    await captured();
    expect(bench.orders[0]?.request).toMatchObject({ policy: { ...deletions, retentionMs: 86_400_000n } });
  });

  it('has the recovery point at which the order left, by our own clock', async () => {
    const leftMs = bench.clock.wallMs();
    bench.answers.set('capture', async () => {
      await bench.clock.advance(5_000);
      return CAPTURED;
    });
    await captured();
    expect(database.captures).toMatchObject([{ recoveryPointMs: leftMs, contentDigest: 'bb', objectCount: 3 }]);
  });

  it('that an earlier leader started has the recovery point at which it began', async () => {
    bench.answers.set('capture', { ...CAPTURED, order: { running: false, ageMs: 90_000n } });
    await captured();
    expect(database.captures).toMatchObject([{ recoveryPointMs: bench.clock.wallMs() - 90_000 }]);
  });

  it('that found no change moves the recovery point, and is no event', async () => {
    await captured();
    expect(bench.events).toEqual(['generation-captured']);
    bench.answers.set('capture', { ...CAPTURED, isNew: false });
    await captured();
    expect([bench.events.length, database.captures.length]).toEqual([1, 2]);
  });

  it('is given a number that was reserved before the order left, and gives it back where nothing has changed', async () => {
    const reserved: unknown[] = [];
    bench.answers.set('capture', async ({ request }) => {
      reserved.push(database.highest, request['reservedGeneration']);
      return { ...CAPTURED, isNew: false };
    });
    await captured();
    expect(reserved).toEqual([8n, 8n]);
    expect(database.highest).toBe(7n);
  });

  it('keeps the number of an order whose answer was lost: the site may have used it', async () => {
    bench.answers.set('capture', 'TIMED_OUT');
    expect((await rejection(captured())).code).toBe('TIMED_OUT');
    bench.answers.set('capture', CAPTURED);
    await captured();
    expect(bench.orders.map(({ request }) => request['reservedGeneration'])).toEqual([8n, 9n]);
  });

  it('has a number above those that members speak of, where the database was rolled back', async () => {
    bench.members.set('b', [{ group: 'payments', applied: { generation: 40n } }, { group: 'cards' }]);
    bench.members.set('c', [{ group: 'payments', captured: { generation: 10n ** 18n } }]);
    await captured();
    expect(bench.orders[0]?.request['reservedGeneration']).toBe(41n);
  });

  it('waits while the active role is about to move', async () => {
    database.isMoving = true;
    expect((await rejection(captured())).code).toBe('GROUP_BUSY');
    expect([bench.orders, database.highest]).toEqual([[], 7n]);
  });

  it('is neither ordered nor recorded once a later epoch was issued', async () => {
    const later = { ...GROUP, highestEpoch: 2n, highestOwner: 'b' };
    bench.answers.set('capture', async () => {
      database.locked = later;
      return CAPTURED;
    });
    expect((await rejection(captured())).code).toBe('EPOCH_STALE');
    expect([database.captures, bench.events]).toEqual([[], []]);
    expect((await rejection(captured())).code).toBe('EPOCH_STALE');
    expect(bench.orders.length).toBe(1);
  });

  it('of a site that is not active any more is not made at the one that is', async () => {
    expect((await rejection(capture(bench.context, intentOf('b')))).code).toBe('ROLE_REFUSED');
    expect(bench.orders).toEqual([]);
  });

  it.each([
    ['nobody is active', { members: GROUP.members.slice(1) }],
    ['an epoch is not in force yet', { highestEpoch: 2n, highestOwner: 'b' }],
  ])('is not ordered where %s', async (_where, change) => {
    database.group = { ...GROUP, ...change };
    expect((await rejection(captured())).code).toBe('ROLE_REFUSED');
    expect(bench.orders).toEqual([]);
  });

  it('without a generation is not believed', async () => {
    bench.answers.set('capture', { isNew: true });
    expect((await rejection(captured())).code).toBe('REQUEST_INVALID');
    expect(database.captures).toEqual([]);
  });
});
