import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { readScrubs } from '../../store/tables/evidence/scrubs.ts';
import { readGroup } from '../../store/tables/groups.ts';
import { insertJoining, removeMember } from '../../store/tables/membership.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { SPEC } from '../../testing/group.ts';
import { generation } from '../../testing/situation.ts';
import { scrub } from './effects.ts';
import type { ScrubEffect, ScrubOutcome } from './machine.ts';

const database = testDatabase();
const PROOF = { proved: 2, failed: 0, failedObjectIds: [], usesNotExercised: 0 };
const OUTCOME: ScrubOutcome = {
  startedMs: 77,
  isReplica: true,
  epoch: 1n,
  number: 4n,
  proof: PROOF,
  missing: 1,
  altered: 2,
  mendedBlobs: 3,
};
let bench: EffectsBench;
const perform = (effect: ScrubEffect, site = 'b') => scrub(bench.context, { ...intentOf(site), createdMs: 33 }, effect);
const scrubs = () => database.store.query((db) => readScrubs(db, SPEC.name));
/** b and c have acknowledged the generation that is looked at. */
beforeEach(async () => {
  bench = new EffectsBench(database);
  await database.rows.group();
  await database.rows.captured([generation()]);
  for (const site of ['b', 'c']) await database.rows.acknowledged(site, generation());
  await database.rows.intended({ id: 'i', kind: 'scrub', site: 'b' });
});

describe('a scrub', () => {
  it.each([
    ['b', true],
    ['a', false],
  ])('asks the agent of %s, which may mend its store from the others: replica %s', async (site, isReplica) => {
    const startedMs = bench.clock.wallMs();
    const generation = { epoch: 1n, generation: 4n };
    const found = { missingObjects: 1, alteredObjects: 2, mendedBlobs: 3 };
    bench.answers.set('scrub', async () => {
      await bench.clock.advance(1_000);
      return { generation, proof: { ...PROOF }, ...found };
    });
    const event = { type: 'scrubbed', outcome: { ...OUTCOME, startedMs, isReplica } };
    expect(await perform({ type: 'scrub' }, site)).toEqual(event);
    const sources = ['a', 'b', 'c'].filter((one) => one !== site).map((one) => ({ site: one, address: `${one}:1` }));
    expect(bench.orders).toMatchObject([
      { site, method: 'scrub', request: { fence: { epoch: 1n, owner: 'a', requestId: 'i' }, sources } },
    ]);
  });

  it('of a site without a seat asks nobody', async () => {
    expect((await rejection(perform({ type: 'scrub' }, 'z'))).code).toBe('NOT_FOUND');
    expect(bench.orders).toEqual([]);
  });

  it('that an agent answers without a generation says nothing', async () => {
    bench.answers.set('scrub', { proof: PROOF });
    expect((await rejection(perform({ type: 'scrub' }))).code).toBe('REQUEST_INVALID');
  });

  it('that passed is recorded, from when the look began', async () => {
    await perform({ type: 'record-scrub', code: '', outcome: OUTCOME });
    expect(await scrubs()).toEqual([{ group: 'payments', site: 'b', startedMs: 77, errorCode: '', failures: 0 }]);
    expect(await database.rows.acknowledgements()).toEqual(['b 4', 'c 4']);
    expect(await database.rows.events()).toEqual(['scrub-passed']);
  });

  it('that found a damaged replica takes back what it has acknowledged, up to what was looked at', async () => {
    await perform({ type: 'record-scrub', code: 'OBJECT_UNPROVEN', outcome: OUTCOME });
    expect(await database.rows.acknowledgements()).toEqual(['c 4']);
    expect(await database.rows.events()).toEqual(['scrub-failed']);
  });

  it('says nothing of another partition that has the seat of the site now', async () => {
    const group = await database.rows.readGroup();
    await database.rows.write((trx) => removeMember(trx, group, { site: 'b', serial: 'serial-b', nowMs: 0 }));
    const seat = { site: 'b', serial: 'another' };
    await database.rows.write(async (trx) => insertJoining(trx, await readGroup(trx, 'payments'), seat));
    const effect = { type: 'record-scrub', code: '', outcome: OUTCOME } as const;
    expect((await rejection(perform(effect))).code).toBe('ROLE_REFUSED');
    expect(await scrubs()).toEqual([]);
  });

  it.each([
    ['found damage in the active member', 'OBJECT_UNPROVEN', { ...OUTCOME, isReplica: false }],
    ['could not look', 'PIN_REFUSED', undefined],
  ])('that %s takes nothing back', async (_what, code, outcome) => {
    await perform({ type: 'record-scrub', code, outcome });
    expect(await scrubs()).toMatchObject([
      { errorCode: code, startedMs: outcome?.startedMs ?? 33, failures: outcome === undefined ? 1 : 0 },
    ]);
    expect(await database.rows.acknowledgements()).toEqual(['b 4', 'c 4']);
  });
});
