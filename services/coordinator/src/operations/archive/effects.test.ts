import { ArchiveWork } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { readArchiveStandings } from '../../store/tables/evidence/archives.ts';
import { readDrills, readLastPassed } from '../../store/tables/evidence/drills.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { archive } from './effects.ts';
import type { ArchiveEffect, ArchiveTarget, WorkOutcome } from './machine.ts';

const database = testDatabase();
const VAULT = { site: 'a', serial: '532018' };
const TARGET: ArchiveTarget = { work: 'backup', serial: VAULT.serial, backup: '', isScheduled: true };
const PROOF = { proved: 3, failed: 0, failedObjectIds: [], usesNotExercised: 0 };
const OUTCOME: WorkOutcome = {
  ...{ verdict: 'complete', why: '', backup: 'antipode-1', epoch: 1n, number: 4n, objects: 5, deleted: [] },
  ...{ safetyBackup: '', proof: PROOF, isClean: true, startedMs: 77, recoveryTimeMs: 420 },
  ...{ evidence: '{}', signature: 'c2ln', signer: 'a2V5' },
};
let bench: EffectsBench;
const perform = (effect: ArchiveEffect, id = 'i') =>
  archive(bench.context, { ...intentOf('a'), id, createdMs: 33 }, effect);
const standing = async () =>
  (await database.store.query((db) => readArchiveStandings(db, 'payments', { vaults: [VAULT], sinceMs: 0 })))[0]!;
beforeEach(async () => {
  bench = new EffectsBench(database);
  await database.rows.group();
});

describe('work with a vault', () => {
  it('is ordered under the epoch in force, with the number of backups that stay', async () => {
    bench.answers.set('archive', { verdict: 'complete', backup: { name: 'antipode-1' }, movedObjects: 5 });
    const event = await perform({ type: 'work', target: TARGET });
    expect(event).toMatchObject({ type: 'worked', outcome: { verdict: 'complete', backup: 'antipode-1', objects: 5 } });
    expect(bench.orders).toMatchObject([
      {
        site: 'a',
        method: 'archive',
        request: { fence: { epoch: 1n }, archiveId: 'i', vaultSerial: '532018', work: ArchiveWork.BACKUP, keep: 3 },
      },
    ]);
  });

  it('has not failed where a schedule finds no vault, and has where a person wants it now', async () => {
    bench.answers.set('archive', 'PARTITION_NOT_FOUND');
    expect(await perform({ type: 'work', target: TARGET })).toEqual({ type: 'away', code: 'PARTITION_NOT_FOUND' });
    const wanted = { ...TARGET, isScheduled: false };
    expect((await rejection(perform({ type: 'work', target: wanted }))).code).toBe('PARTITION_NOT_FOUND');
  });

  it('waits while the active role moves', async () => {
    bench.answers.set('archive', 'EPOCH_STALE');
    expect((await rejection(perform({ type: 'work', target: TARGET }))).code).toBe('GROUP_BUSY');
    await database.rows.intended({ id: 'move', kind: 'failover', state: { phase: 'requested' } });
    expect((await rejection(perform({ type: 'work', target: TARGET }))).code).toBe('GROUP_BUSY');
    expect(bench.orders).toHaveLength(1);
  });

  it('is on record with its evidence, and a failed attempt hides no complete backup', async () => {
    await perform({ type: 'record-work', target: TARGET, code: '', outcome: OUTCOME });
    await perform({ type: 'record-work', target: TARGET, code: 'PARTITION_NOT_FOUND', outcome: undefined }, 'later');
    const { complete, attempt, proven } = await standing();
    expect(complete).toMatchObject({ id: 'i', number: 4n, objects: 5, signature: Buffer.from('sig') });
    expect(attempt).toMatchObject({ startedMs: 77 });
    expect(proven).toBeUndefined();
    expect(await database.rows.events()).toEqual(['archive-worked', 'archive-not-worked']);
  });

  it('has the newest complete backup that no order has deleted', async () => {
    await perform({ type: 'record-work', target: TARGET, code: '', outcome: OUTCOME });
    await perform(
      { type: 'record-work', target: TARGET, code: '', outcome: { ...OUTCOME, backup: 'antipode-2', startedMs: 78 } },
      'second',
    );
    expect((await standing()).complete).toMatchObject({ backup: 'antipode-2' });
    const target = { ...TARGET, work: 'delete' } as const;
    const outcome = { ...OUTCOME, backup: 'antipode-2', verdict: 'still there', startedMs: 79 };
    await perform({ type: 'record-work', target, code: 'ARCHIVE_INCOMPLETE', outcome }, 'not deleted');
    expect((await standing()).complete).toMatchObject({ backup: 'antipode-2' });
    await perform({ type: 'record-work', target, code: '', outcome: { ...outcome, verdict: 'gone' } }, 'deleted');
    expect((await standing()).complete).toMatchObject({ backup: 'antipode-1' });
  });

  it('counts as a drill among the others, and not as one of a sealed generation', async () => {
    const target = { ...TARGET, work: 'drill' } as const;
    await perform({ type: 'record-work', target, code: '', outcome: { ...OUTCOME, verdict: 'proved' } });
    expect(await database.store.query((db) => readDrills(db, { limit: 9 }))).toMatchObject([
      { site: 'a', number: 4n, passed: true, vault: '532018', evidence: '{}' },
    ]);
    expect((await standing()).proven).toMatchObject({ number: 4n, proof: PROOF });
    expect(await database.store.query((db) => readLastPassed(db, 'payments', { sinceMs: 0 }))).toBeUndefined();
  });

  it('that did not prove everything proves nothing', async () => {
    const target = { ...TARGET, work: 'drill' } as const;
    const outcome = { ...OUTCOME, verdict: 'proved', isClean: false };
    await perform({ type: 'record-work', target, code: 'DRILL_UNCLEAN', outcome });
    expect((await standing()).proven).toBeUndefined();
  });
});
