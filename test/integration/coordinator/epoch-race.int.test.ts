/**
 * An acknowledgement and the epoch of a failover at the same moment, on a real PostgreSQL. An epoch never begins
 * without an acknowledged generation, whichever of the two comes first (I3).
 */
import { chmodSync, rmSync } from 'node:fs';
import type { FailoverEffect, Held } from '@antipode/coordinator/testing';
import {
  EffectContext,
  EffectsBench,
  EmbeddedPostgres,
  FIRST_EPOCH,
  failover,
  generation,
  type Intent,
  insertGroup,
  insertIntent,
  PostgresStore,
  readGroup,
  recordAcknowledgement,
  recordCapture,
  replication,
  SPEC,
} from '@antipode/coordinator/testing';
import { AntipodeError, seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';

const ROUNDS = 60;
const folder = temporaryFolder('race');
let postgres: EmbeddedPostgres;
let store: PostgresStore;
let context: EffectContext;

beforeAll(async () => {
  chmodSync(folder, 0o711);
  postgres = new EmbeddedPostgres({ dataFolder: folder, clock: systemClock, prng: seededPrng('r'), log: silentLog });
  store = new PostgresStore({ connection: await postgres.start(), clock: systemClock });
  await store.found();
  context = new EffectContext({ ...new EffectsBench().context.ports, store });
});
afterAll(async () => {
  await store?.close();
  await postgres?.close();
  rmSync(folder, { recursive: true, force: true });
});

const held = (number: bigint): Held => ({ epoch: 1n, number, manifestDigest: `0${number}` });
const codeOf = (thrown: unknown): string => AntipodeError.from(thrown).code;

/** Site b has generation 4, c has verified 5, and the failover to b was planned before anybody knew. */
async function round(name: string): Promise<{ acknowledged: string; issued: string }> {
  const members = SPEC.members.map((seat) => ({ ...seat, serial: `${name}-${seat.serial}` }));
  await store.write(FIRST_EPOCH, async (trx) => {
    await insertGroup(trx, { ...SPEC, name, members, scratch: [] }, 0);
    for (const number of [4n, 5n]) await recordCapture(trx, name, generation({ number, manifestDigest: `0${number}` }));
    await recordAcknowledgement(trx, name, { epoch: 1n, number: 4n, site: 'b', nowMs: 0 });
    const state = { phase: 'issuing' };
    await insertIntent(trx, { id: name, kind: 'failover', group: name, site: '', state, trace: {} }, 0);
  });
  const intent = { id: name, requestId: name, attempts: 0, group: name, site: 'c' } as Intent;
  const acknowledge = { type: 'acknowledge', epoch: 1n, number: 5n, contentDigest: 'c4' } as const;
  const issue = {
    type: 'issue-epoch',
    from: 'a',
    to: 'b',
    serial: '',
    epoch: 2n,
    reason: 'automatic',
    wanted: '',
    acceptLoss: false,
    accepted: [],
    generation: held(4n),
    lost: [held(5n)],
    quorum: 2,
    excluded: [],
    overtaken: 0,
    outageStartedMs: 0,
    unreachable: [],
  } satisfies FailoverEffect;
  const [acknowledged, issued] = await Promise.all([
    replication(context, intent, acknowledge).then(({ type }) => type, codeOf),
    failover(context, intent, issue).then(({ type }) => type, codeOf),
  ]);
  const { highestEpoch } = await store.query((db) => readGroup(db, name));
  expect(highestEpoch).toBe(issued === 'issued' ? 2n : 1n);
  return { acknowledged, issued };
}

it('either the epoch gives way to the acknowledgement, or the acknowledgement is refused', async () => {
  const outcomes = new Set<string>();
  for (let count = 0; count < ROUNDS; count += 1) {
    const { acknowledged, issued } = await round(`group-${count}`);
    outcomes.add(`${acknowledged}, ${issued}`);
  }
  for (const outcome of outcomes) expect(['acknowledged, overtaken', 'EPOCH_STALE, issued']).toContain(outcome);
});
