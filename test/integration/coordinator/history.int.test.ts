/** The coordinator's reads each second do not grow with history. Counted in rows, not in time. */
import { chmodSync, rmSync } from 'node:fs';
import type { Read, Write } from '@antipode/coordinator/testing';
import {
  EmbeddedPostgres,
  PostgresStore,
  readAcknowledged,
  readDone,
  readDrills,
  readFacts,
  readFailed,
  readFailing,
  readGroup,
  readGroups,
  readIntents,
  readKnown,
  readLastPassed,
  readNewest,
  readOpenIntents,
  readRecent,
  readScrubs,
  retireGenerations,
  retireIntents,
  retireUnchangedCaptures,
} from '@antipode/coordinator/testing';
import { seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fillHistory } from '../../support/history.ts';
import { temporaryFolder } from '../../support/tokens.ts';

const folder = temporaryFolder('history');
let postgres: EmbeddedPostgres;
let store: PostgresStore;

beforeAll(async () => {
  chmodSync(folder, 0o711);
  postgres = new EmbeddedPostgres({ dataFolder: folder, clock: systemClock, prng: seededPrng('h'), log: silentLog });
  store = new PostgresStore({ connection: await postgres.start(), clock: new FakeClock() });
  await store.found();
  await fillHistory(store, { group: 'young', days: 1 });
  await fillHistory(store, { group: 'old', days: 20 });
  // A group of many failovers has as many epochs.
  await store.query((db) =>
    sql`INSERT INTO epoch SELECT 'old', n, 'a', 'automatic', 0, true, 1 FROM generate_series(2, 500) n`.execute(db),
  );
  await store.query((db) =>
    sql`INSERT INTO drill SELECT g || n, g, 'c', 1, true, '{}', '', n, 1, '', '', '' FROM generate_series(1, 2000) n, unnest(ARRAY['old','other']) g`.execute(
      db,
    ),
  );
  await store.query((db) => sql`ANALYZE`.execute(db));
});
afterAll(async () => {
  await store?.close();
  await postgres?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Rows that PostgreSQL has touched for this connection, by its own count. */
async function touched(db: Read): Promise<number> {
  const { rows } = await sql<{ count: string }>`
    SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::text AS count FROM pg_stat_xact_user_tables`.execute(db);
  return Number(rows[0]!.count);
}

const rowsRead = (work: (db: Read) => Promise<unknown>): Promise<number> =>
  store.snapshot(async (db) => {
    const before = await touched(db);
    await work(db);
    return (await touched(db)) - before;
  });

/** All that a pass asks for one group. */
const PASS_ROWS_MAX = 150;

const READS: readonly [name: string, rowsMax: number, (db: Read, group: string) => Promise<unknown>][] = [
  ['a look of the planner', PASS_ROWS_MAX, (db, group) => readFacts(db, group, { sinceMs: 0 })],
  ['readNewest', 5, readNewest],
  ['readAcknowledged', 20, readAcknowledged],
  ['readGroup', 20, readGroup],
  ['readGroups', 40, (db) => readGroups(db)],
  ['readOpenIntents of one group', 5, (db, group) => readOpenIntents(db, { group })],
  ['readOpenIntents', 5, (db) => readOpenIntents(db)],
  ['readFailed', 60, readFailed],
  ['readDone', 5, (db, group) => readDone(db, { group, kinds: ['failover', 'domain-key'], sinceMs: 0 })],
  ['readScrubs', 5, readScrubs],
  ['readLastPassed', 5, (db, group) => readLastPassed(db, group, { sinceMs: 0 })],
  [
    'readFailing',
    20,
    (db, group) =>
      readFailing(db, group, {
        places: [
          { kind: 'domain-key', site: '' },
          { kind: 'capture', site: 'a' },
          { kind: 'replication', site: 'b' },
          { kind: 'replication', site: 'nowhere' },
        ],
        noFailure: ['EPOCH_STALE'],
      }),
  ],
  ['readDrills', 60, (db, group) => readDrills(db, { group, limit: 50 })],
  ['readDrills of all groups', 60, (db) => readDrills(db, { limit: 50 })],
  ['readRecent', 160, readRecent],
  ['readIntents of one group', 60, (db, group) => readIntents(db, { group, limit: 50 })],
  // Once an hour, where nothing is old: it looks at the oldest, not at all.
  ['retention of generations', 1_200, (db, group) => retireGenerations(group, { beforeMs: 0, keep: 100 })(db as Write)],
  ['retention of intents', 5, (db) => retireIntents({ beforeMs: 0 })(db as Write)],
  [
    'retention of captures without a change',
    5,
    (db) => retireUnchangedCaptures({ beforeMs: Number.MAX_SAFE_INTEGER })(db as Write),
  ],
  // The newest 500, and for each whether anybody has acknowledged it.
  ['readKnown', 1_600, readKnown],
];

it.each(READS)('%s touches at most %i rows, after a day and after months', async (_name, rowsMax, read) => {
  for (const group of ['young', 'old']) expect(await rowsRead((db) => read(db, group))).toBeLessThanOrEqual(rowsMax);
});

it('what a failover may lose is found, though a member is months behind the rest', async () => {
  await store.write(0n, async (trx) => {
    await trx.deleteFrom('acknowledgement').where('grp', '=', 'old').where('number', '>', 700n).execute();
    await trx.deleteFrom('acknowledgement').where('grp', '=', 'old').where('site', '=', 'b').execute();
    await sql`INSERT INTO acknowledgement VALUES ('old', 1, 3, 'b', 0)`.execute(trx);
  });
  const known = await store.query((db) => readKnown(db, 'old'));
  expect(known).toHaveLength(502);
  expect(known.filter(({ isAcknowledged }) => isAcknowledged).map(({ number }) => number)).toEqual([3n, 700n]);
  expect([known[0]?.number, known.at(-1)?.number]).toEqual([3n, 11_520n]);
});
