import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { type DrillRecord, readDrills } from '../../store/tables/evidence/drills.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { generation } from '../../testing/situation.ts';
import { drill } from './effects.ts';
import type { DrillEffect, DrillOutcome } from './machine.ts';

const database = testDatabase();
const TARGET = { epoch: 1n, number: 4n, serial: 'scratch-c' };
const OUTCOME: DrillOutcome = {
  proof: { proved: 2, failed: 0, failedObjectIds: [], usesNotExercised: 0 },
  isClean: true,
  startedMs: 77,
  recoveryTimeMs: 420,
  evidence: '{}',
  signature: 'c2ln',
  signer: 'a2V5',
};
let bench: EffectsBench;
const perform = (effect: DrillEffect) => drill(bench.context, { ...intentOf('c'), createdMs: 33 }, effect);
const drills = (): Promise<DrillRecord[]> => database.store.query((db) => readDrills(db, { limit: 9 }));
beforeEach(async () => {
  bench = new EffectsBench(database);
  await database.rows.group();
  await database.rows.captured([generation({ manifestDigest: 'aa', contentDigest: 'bb' })]);
});

describe('a drill', () => {
  it('is rehearsed at its scratch partition, from any holder of the generation; its time excludes the cleaning', async () => {
    const startedMs = bench.clock.wallMs();
    bench.answers.set('drill', async () => {
      await bench.clock.advance(1_000);
      const [signature, signer] = [OUTCOME.signature, OUTCOME.signer].map((text) => Buffer.from(text, 'base64'));
      return { proof: { proved: 2 }, isClean: true, times: { cleanMs: 580 }, evidence: '{}', signature, signer };
    });
    expect(await perform({ type: 'drill', ...TARGET })).toEqual({
      type: 'rehearsed',
      outcome: { ...OUTCOME, startedMs },
    });
    expect(bench.orders).toMatchObject([
      {
        site: 'c',
        method: 'drill',
        request: {
          fence: { epoch: 1n, owner: 'a' },
          drillId: 'i',
          scratchSerial: 'scratch-c',
          sources: ['a', 'b', 'c'].map((site) => ({ site, address: `${site}:1` })),
        },
      },
    ]);
  });

  it('that a move overtakes begins again under the epoch in force, and has not failed', async () => {
    bench.answers.set('drill', 'EPOCH_STALE');
    expect((await rejection(perform({ type: 'drill', ...TARGET }))).code).toBe('GROUP_BUSY');
    await database.rows.intended({ id: 'move', kind: 'failover', state: { phase: 'requested' } });
    expect((await rejection(perform({ type: 'drill', ...TARGET }))).code).toBe('GROUP_BUSY');
    expect(bench.orders).toHaveLength(1);
  });

  it('waits while an epoch was issued and is not in force yet', async () => {
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
    expect((await rejection(perform({ type: 'drill', ...TARGET }))).code).toBe('GROUP_BUSY');
    expect(bench.orders).toEqual([]);
  });

  it('of a generation that is not on record does not run', async () => {
    const unknown = { ...TARGET, number: 5n };
    expect((await rejection(perform({ type: 'drill', ...unknown }))).code).toBe('GENERATION_UNKNOWN');
    expect(bench.orders).toEqual([]);
  });

  it('is recorded with its evidence', async () => {
    await perform({ type: 'record-drill', code: '', outcome: OUTCOME, ...TARGET });
    expect(await drills()).toMatchObject([
      { id: 'i', site: 'c', number: 4n, passed: true, errorCode: '', startedMs: 77, signature: Buffer.from('sig') },
    ]);
    expect(await database.rows.events()).toEqual(['drill-passed']);
  });

  it('that did not run is recorded as failed, from when it was wanted', async () => {
    await perform({ type: 'record-drill', code: 'SCRATCH_REFUSED', outcome: undefined, ...TARGET });
    const proof = { proved: 0, failed: 0, failedObjectIds: [], usesNotExercised: 0 };
    expect(await drills()).toMatchObject([{ passed: false, errorCode: 'SCRATCH_REFUSED', startedMs: 33, proof }]);
    expect(await database.rows.events()).toEqual(['drill-failed']);
  });
});
