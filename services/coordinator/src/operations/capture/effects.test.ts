import { Movement } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Generation } from '../../model.ts';
import { releaseNumber, reserveNumber } from '../../store/tables/generations.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { SPEC } from '../../testing/group.ts';
import type { GroupRow } from '../../testing/rows.ts';
import { generation } from '../../testing/situation.ts';
import { capture } from './effects.ts';

const database = testDatabase();

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

/** The answer of an agent that has found nothing new since the generation on record. */
const UNCHANGED = {
  ...CAPTURED,
  generation: { ...CAPTURED.generation, generation: 7n, manifestDigest: fromHex('d4') },
  isNew: false,
};

let bench: EffectsBench;
const captured = () => capture(bench.context, intentOf('a'));
/** The number of the next generation. */
const nextNumber = (): Promise<bigint> => database.rows.write((trx) => reserveNumber(trx, SPEC.name, { seen: 0n }));
/** The generations that were captured by the test. */
const captures = async (): Promise<Generation[]> =>
  (await database.rows.generations()).filter(({ number }) => number !== 7n);
/** The group, with seven numbers given. */
const declare = async (row: GroupRow = {}): Promise<void> => {
  await database.rows.group(row);
  await database.rows.captured([generation({ number: 7n })]);
};
beforeEach(() => {
  bench = new EffectsBench(database);
  bench.answers.set('capture', CAPTURED);
});

describe('a capture', () => {
  it('is ordered of the active member, under the epoch in force, above every number that was ever given', async () => {
    const filter = { excludeIds: ['0a'], excludeLabels: ['tmp-*'], excludeClasses: ['data'], ignoreCase: true };
    await declare({ spec: { ...SPEC, filter } });
    await database.rows.epoch({ epoch: 3n, owner: 'a', isActive: true });
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
    await declare({ spec: { ...SPEC, deletions } });
    await captured();
    expect(bench.orders[0]?.request).toMatchObject({ policy: { ...deletions, retentionMs: 86_400_000n } });
  });

  it('moves keys natively if the group says so', async () => {
    await declare({ spec: { ...SPEC, movement: 'native' } });
    await captured();
    expect(bench.orders[0]?.request).toMatchObject({ movement: Movement.NATIVE });
  });

  it('has the recovery point at which the order left, by our own clock', async () => {
    await declare();
    const leftMs = bench.clock.wallMs();
    bench.answers.set('capture', async () => {
      await bench.clock.advance(5_000);
      return CAPTURED;
    });
    await captured();
    expect(await captures()).toMatchObject([{ recoveryPointMs: leftMs, contentDigest: 'bb', objectCount: 3 }]);
  });

  it('that an earlier leader started has the recovery point at which it began', async () => {
    await declare();
    bench.answers.set('capture', { ...CAPTURED, order: { running: false, ageMs: 90_000n } });
    await captured();
    expect(await captures()).toMatchObject([{ recoveryPointMs: bench.clock.wallMs() - 90_000 }]);
  });

  it('that found no change moves the recovery point, and makes no event', async () => {
    await declare();
    await captured();
    expect(await database.rows.events()).toEqual(['generation-captured']);
    await bench.clock.advance(5_000);
    bench.answers.set('capture', { ...CAPTURED, isNew: false });
    await captured();
    expect(await captures()).toMatchObject([{ number: 8n, recoveryPointMs: bench.clock.wallMs() }]);
    expect(await database.rows.events()).toEqual(['generation-captured']);
  });

  it('is given a number that was reserved before the order left, and gives it back where nothing has changed', async () => {
    await declare();
    const reserved: unknown[] = [];
    bench.answers.set('capture', async ({ request }) => {
      const next = await nextNumber();
      await database.rows.write((trx) => releaseNumber(trx, SPEC.name, next));
      reserved.push(request['reservedGeneration'], next);
      return UNCHANGED;
    });
    await captured();
    expect(reserved).toEqual([8n, 9n]);
    expect(await nextNumber()).toBe(8n);
  });

  it('keeps the number of an order whose answer was lost: the site may have used it', async () => {
    await declare();
    bench.answers.set('capture', 'TIMED_OUT');
    expect((await rejection(captured())).code).toBe('TIMED_OUT');
    bench.answers.set('capture', CAPTURED);
    await captured();
    expect(bench.orders.map(({ request }) => request['reservedGeneration'])).toEqual([8n, 9n]);
  });

  it('has a number above those that members speak of, where the database was rolled back', async () => {
    await declare();
    bench.members.set('b', [{ group: 'payments', applied: { generation: 40n } }, { group: 'cards' }]);
    bench.members.set('c', [{ group: 'payments', captured: { generation: 10n ** 18n } }]);
    await captured();
    expect(bench.orders[0]?.request['reservedGeneration']).toBe(41n);
  });

  it('waits while the active role is about to move', async () => {
    await declare();
    await database.rows.intended({ id: 'move', kind: 'failover', state: { phase: 'requested' } });
    expect((await rejection(captured())).code).toBe('GROUP_BUSY');
    expect([bench.orders, await nextNumber()]).toEqual([[], 8n]);
  });

  it('is neither ordered nor recorded once a later epoch was issued', async () => {
    await declare();
    bench.answers.set('capture', async () => {
      await database.rows.epoch({ epoch: 2n, owner: 'b' });
      return CAPTURED;
    });
    expect((await rejection(captured())).code).toBe('EPOCH_STALE');
    expect([await captures(), await database.rows.events()]).toEqual([[], []]);
  });

  it('is not ordered where a later epoch was issued since the group was read', async () => {
    await declare();
    bench.beforeWrite = () => database.rows.epoch({ epoch: 2n, owner: 'b' });
    expect((await rejection(captured())).code).toBe('EPOCH_STALE');
    expect(bench.orders).toEqual([]);
  });

  it('of a site that is not active any more is not made at the one that is', async () => {
    await declare();
    expect((await rejection(capture(bench.context, intentOf('b')))).code).toBe('ROLE_REFUSED');
    expect(bench.orders).toEqual([]);
  });

  it.each([
    ['nobody is active', () => declare({ roles: { a: 'fenced' } })],
    ['an epoch is not in force yet', () => declare().then(() => database.rows.epoch({ epoch: 2n, owner: 'b' }))],
  ])('is not ordered where %s', async (_where, given) => {
    await given();
    expect((await rejection(captured())).code).toBe('ROLE_REFUSED');
    expect(bench.orders).toEqual([]);
  });

  it('without a generation is not believed', async () => {
    await declare();
    bench.answers.set('capture', { isNew: true });
    expect((await rejection(captured())).code).toBe('REQUEST_INVALID');
    expect(await captures()).toEqual([]);
  });
});
