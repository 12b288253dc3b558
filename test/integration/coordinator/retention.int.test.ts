/** The records that the coordinator's database keeps after a year, and those that nobody can remove. */
import { chmodSync, rmSync } from 'node:fs';
import {
  digestOf,
  EmbeddedPostgres,
  GroupCache,
  PostgresStore,
  Retention,
  readAcknowledged,
  readNewest,
} from '@antipode/coordinator/testing';
import { Log, seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fillHistory } from '../../support/history.ts';
import { temporaryFolder } from '../../support/tokens.ts';

const DAY_MS = 86_400_000;
const GROUP = 'payments';
const folder = temporaryFolder('retention');
const clock = new FakeClock();
const lines: string[] = [];
const log = new Log({ level: 'info', format: 'json', write: (line) => lines.push(line) });
let postgres: EmbeddedPostgres;
let store: PostgresStore;
let cache: GroupCache;
let retention: Retention;
let leads: boolean;

beforeAll(async () => {
  chmodSync(folder, 0o711);
  postgres = new EmbeddedPostgres({ dataFolder: folder, clock: systemClock, prng: seededPrng('r'), log: silentLog });
  const connection = await postgres.start();
  store = new PostgresStore({ connection, clock });
  await store.found();
  cache = new GroupCache({ store });
  const election = {
    get epoch() {
      return leads ? 0n : undefined;
    },
  };
  retention = new Retention({ store, election, cache, clock, log });
});
beforeEach(() => {
  leads = true;
  lines.length = 0;
});
afterEach(() => expect(lines.filter((line) => line.includes('"warn"'))).toEqual([]));
afterAll(async () => {
  await store?.close();
  await postgres?.close();
  rmSync(folder, { recursive: true, force: true });
});

const ask = async <Row>(query: ReturnType<typeof sql<Row>>): Promise<Row[]> =>
  (await store.query((db) => query.execute(db))).rows;
const count = async (table: string): Promise<number> =>
  Number((await ask(sql<{ n: string }>`SELECT count(*)::text AS n FROM ${sql.table(table)}`))[0]!.n);

describe('approvals and their uses', () => {
  it('are taken away 400 days after they have ended, and not before', async () => {
    const at = (days: number): bigint => BigInt(clock.wallMs() - days * DAY_MS);
    for (const [digest, days] of [
      ['old', 401],
      ['younger', 399],
    ] as const) {
      await ask(
        sql`INSERT INTO approval VALUES (${digest}, 'g', 'failover', '{}', '[]', 'olga', ${at(days + 10)}, ${at(days)})`,
      );
      await ask(sql`INSERT INTO approval_use VALUES ('a', ${digest}, 'g', '{}', ${at(days)})`);
    }
    await retention.pass();
    const left = (table: string) => ask<{ digest: string }>(sql`SELECT digest FROM ${sql.table(table)}`);
    expect([await left('approval'), await left('approval_use')]).toEqual([
      [{ digest: 'younger' }],
      [{ digest: 'younger' }],
    ]);
  });
});

describe('the log of events', () => {
  const events = () => store.query((db) => db.selectFrom('event').selectAll().orderBy('id').execute());
  const fill = (days: number, rows: number): Promise<unknown> =>
    ask(
      sql`INSERT INTO event (at_ms, kind, grp, site, details) SELECT ${BigInt(clock.wallMs() - days * DAY_MS)}, 'k', 'g', 's', '{}' FROM generate_series(1, ${sql.lit(rows)})`,
    );

  it('lets nobody change, delete or empty it', async () => {
    await fill(500, 50);
    const before = await events();
    await ask(sql`UPDATE event SET kind = 'forged'`);
    await ask(sql`DELETE FROM event`);
    await expect(ask(sql`TRUNCATE event`)).rejects.toThrow('append-only');
    expect(await events()).toEqual(before);
  });

  it('keeps what is old, where there is little of it', async () => {
    await retention.pass();
    expect((await events()).length).toBe(50);
  });

  it('loses only its beginning, a year later, and leaves a digest by which a copy can be checked', async () => {
    await fill(500, 2_500);
    await fill(399, 10_000);
    const before = await events();
    await retention.pass();
    const after = await events();
    expect(after).toEqual(before.slice(2_550));
    const retired = await ask(
      sql<{
        first_id: bigint;
        last_id: bigint;
        count: number;
        sha256: string;
      }>`SELECT * FROM event_retirement ORDER BY last_id`,
    );
    expect(retired.map((one) => one.count)).toEqual([2_000, 550]);
    let former = '';
    for (const { first_id, last_id, sha256 } of retired) {
      former = digestOf(
        former,
        before.filter(({ id }) => id >= first_id && id <= last_id),
      );
      expect(sha256).toBe(former);
    }
    await ask(sql`DELETE FROM event_retirement`);
    await ask(sql`UPDATE event_retirement SET last_id = 1000000000`);
    await ask(sql`DELETE FROM event`);
    expect([await count('event'), await count('event_retirement')]).toEqual([10_000, 2]);
  });

  it('loses a day at a time, since each loss leaves a row behind for ever', async () => {
    const dueMs = clock.wallMs() + 2 * DAY_MS;
    for (let hour = 1; hour <= 48; hour += 1)
      await ask(
        sql`INSERT INTO event (at_ms, kind, grp, site, details) VALUES (${BigInt(dueMs - 400 * DAY_MS + (hour * DAY_MS) / 24)}, 'k', 'g', 's', '{}')`,
      );
    await fill(1, 10_000);
    await clock.advance(2 * DAY_MS);
    await retention.pass();
    const retired = await count('event_retirement');
    for (let hour = 1; hour <= 72; hour += 1) {
      await clock.advance(DAY_MS / 24);
      await retention.pass();
    }
    expect(await count('event')).toBe(10_000);
    expect((await count('event_retirement')) - retired).toBeLessThanOrEqual(3);
  });
});

describe('generations and intents', () => {
  beforeAll(async () => {
    await fillHistory(store, { group: GROUP, days: 20 });
    await cache.refresh();
  });

  it('are left alone by one that does not lead', async () => {
    leads = false;
    await retention.pass();
    expect([await count('generation'), await count('intent')]).toEqual([11_520, 23_040]);
  });

  it('are taken away after a month, but for what somebody may still ask for', async () => {
    await store.write(0n, async (trx) => {
      // c has acknowledged nothing for long; an epoch was issued on an old generation; a failover took place.
      await trx.deleteFrom('acknowledgement').where('site', '=', 'c').where('number', '>', 700n).execute();
      await sql`UPDATE epoch SET base_epoch = 1, base_number = 9`.execute(trx);
      await sql`UPDATE intent SET kind = 'failover' WHERE id = 'paymentscapture1'`.execute(trx);
      await sql`UPDATE intent SET status = 'parked' WHERE id = 'paymentscapture2'`.execute(trx);
      // The newest 576 are of the last day.
      await sql`UPDATE generation SET recovery_point_ms = ${BigInt(clock.wallMs())} WHERE number > 10944`.execute(trx);
    });
    const before = await store.query((db) => readAcknowledged(db, GROUP));
    await retention.pass();
    const left = await ask(sql<{ number: bigint }>`SELECT number FROM generation ORDER BY number`);
    expect(left.slice(0, 3).map(({ number }) => number)).toEqual([9n, 700n, 10_945n]);
    expect(left).toHaveLength(578);
    expect(await store.query((db) => readAcknowledged(db, GROUP))).toEqual(before);
    expect((await store.query((db) => readNewest(db, GROUP)))?.number).toBe(11_520n);
    expect((await ask(sql<{ id: string }>`SELECT id FROM intent ORDER BY id`)).map(({ id }) => id)).toEqual([
      'paymentscapture1',
      'paymentscapture2',
    ]);
  });

  it('keep a hundred, however old', async () => {
    await ask(sql`UPDATE generation SET recovery_point_ms = 0`);
    await retention.pass();
    const left = await ask(sql<{ number: bigint }>`SELECT number FROM generation ORDER BY number`);
    expect(left.slice(0, 3).map(({ number }) => number)).toEqual([9n, 700n, 11_421n]);
  });

  it('of a capture without a change say nothing after a day', async () => {
    const insert = (id: string, ageMs: number, isNew: boolean): Promise<unknown> =>
      ask(
        sql`INSERT INTO intent (id, kind, grp, site, state, phase, status, attempts, next_attempt_ms, error_code, error_message, trace, created_ms, updated_ms)
          VALUES (${id}, 'capture', ${GROUP}, 'a', ${`{"phase":"captured","isNew":${isNew}}`}, 'captured', 'done', 0, 0, '', '', '{}', ${BigInt(clock.wallMs() - ageMs)}, 0)`,
      );
    await insert('young', DAY_MS - 1, false);
    await insert('old', DAY_MS + 1, false);
    await insert('found', DAY_MS + 1, true);
    await retention.pass();
    const ids = (await ask(sql<{ id: string }>`SELECT id FROM intent ORDER BY id`)).map(({ id }) => id);
    expect(ids).toEqual(['found', 'paymentscapture1', 'paymentscapture2', 'young']);
  });
});

it('fire times go, but for the last of each calendar', async () => {
  for (const [schedule, days] of [
    ['drill a', 500],
    ['drill a', 450],
    ['drill b', 500],
    ['drill b', 1],
  ] as const)
    await ask(sql`INSERT INTO schedule_fire VALUES (${schedule}, ${BigInt(clock.wallMs() - days * DAY_MS)})`);
  await retention.pass();
  const left = await ask(sql<{ schedule: string; fire_ms: bigint }>`SELECT * FROM schedule_fire ORDER BY schedule`);
  expect(left.map(({ schedule, fire_ms }) => [schedule, (clock.wallMs() - Number(fire_ms)) / DAY_MS])).toEqual([
    ['drill a', 450],
    ['drill b', 1],
  ]);
});
