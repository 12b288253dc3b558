/** Readers of the log of events miss nothing, on a real PostgreSQL with transactions that overlap. */
import { chmodSync, rmSync } from 'node:fs';
import { EmbeddedPostgres, eventHandlers, NEWEST_ROWS, PAGE_ROWS, PostgresStore } from '@antipode/coordinator/testing';
import {
  type CallContext,
  ListEventsRequestSchema,
  type ListEventsResponse,
  ListEventsResponseSchema,
} from '@antipode/protocol';
import { seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';

const folder = temporaryFolder('events');
const clock = new FakeClock();
let postgres: EmbeddedPostgres;
let store: PostgresStore;

beforeAll(async () => {
  chmodSync(folder, 0o711);
  postgres = new EmbeddedPostgres({ dataFolder: folder, clock: systemClock, prng: seededPrng('e'), log: silentLog });
  store = new PostgresStore({ connection: await postgres.start(), clock });
  await store.found();
});
beforeEach(async () => {
  read = () => {};
  await ask(sql`ALTER TABLE event DISABLE TRIGGER ALL`);
  await ask(sql`ALTER TABLE event_retirement DISABLE TRIGGER ALL`);
  await ask(sql`TRUNCATE event, event_retirement RESTART IDENTITY`);
  await ask(sql`ALTER TABLE event ENABLE TRIGGER ALL`);
  await ask(sql`ALTER TABLE event_retirement ENABLE TRIGGER ALL`);
});
afterAll(async () => {
  await store?.close();
  await postgres?.close();
  rmSync(folder, { recursive: true, force: true });
});

const ask = <Row>(query: ReturnType<typeof sql<Row>>) => store.query((db) => query.execute(db));
const CONTEXT: CallContext = {
  identity: { trustDomain: 'd', kind: 'operator', name: 'vera', role: 'viewer' },
  signal: new AbortController().signal,
};

/** Called behind each read of the handler, with how many there were. */
let read: (count: number) => void = () => {};

async function list(request: MessageInitShape<typeof ListEventsRequestSchema> = {}): Promise<ListEventsResponse> {
  let count = 0;
  const query: PostgresStore['query'] = async (look) => {
    const answer = await store.query(look);
    count += 1;
    read(count);
    return answer;
  };
  const { listEvents } = eventHandlers({ store: { query }, clock: systemClock });
  return create(ListEventsResponseSchema, await listEvents(create(ListEventsRequestSchema, request), CONTEXT));
}

const kinds = ({ events }: ListEventsResponse): string[] => events.map(({ kind }) => kind);
const happened = (kind: string, rest: { group?: string; site?: string } = {}) =>
  store.write(0n, async (_trx, record) => record({ kind, details: { epoch: 7n }, ...rest }));
const many = (rows: number, { kind = 'k', atMs = clock.wallMs() } = {}) =>
  ask(
    sql`INSERT INTO event (at_ms, kind, grp, site, details)
      SELECT ${BigInt(atMs)}::int8 + n, ${kind}, 'g', 's', '{}' FROM generate_series(1, ${sql.lit(rows)}) n`,
  );

/** A transaction that has drawn the number of its event, on a connection of its own, and has not ended. */
async function unfinished(kind: string): Promise<{ end: (how?: 'fails') => Promise<void> }> {
  const [drawn, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const done = store.write(0n, async (trx) => {
    await sql`INSERT INTO event (at_ms, kind, grp, site, details) VALUES (1, ${kind}, '', '', '{}')`.execute(trx);
    drawn.resolve();
    await gate.promise;
  });
  done.catch(() => {});
  await drawn.promise;
  return {
    end: async (how) => {
      if (how === 'fails') gate.reject(new Error('it fails'));
      else gate.resolve();
      await done.catch(() => {});
    },
  };
}

/** Resolves when a handler has made two reads: it has seen what is there, and has asked for what may come. */
function twoReads(): Promise<void> {
  return new Promise((resolve) => {
    read = (count) => {
      if (count >= 2) resolve();
    };
  });
}

it('shows an event whose details nobody can read, and those behind it', async () => {
  for (const details of ['null', 'no JSON', '7', '{"a":{"b":1}}'])
    await ask(sql`INSERT INTO event (at_ms, kind, grp, site, details) VALUES (1, 'odd', '', '', ${details})`);
  await happened('whole');
  const { events } = await list();
  expect(events.map(({ kind }) => kind)).toEqual(['odd', 'odd', 'odd', 'odd', 'whole']);
  expect(events.at(-1)!.details).toEqual({ epoch: '7' });
});

/** Every event, as one who follows sees them: page after page, each asked for with the cursor of the one before. */
async function following(until: (told: readonly string[]) => boolean): Promise<string[]> {
  const told: string[] = [];
  let cursor = '';
  while (!until(told)) {
    const page = await list({ cursor });
    told.push(...kinds(page));
    cursor = page.cursor;
  }
  return told;
}

describe('an event whose transaction ends late', () => {
  it('comes before those with higher numbers that were seen first', async () => {
    await happened('first');
    const late = await unfinished('late');
    await happened('after');
    const looked = twoReads();
    const told = following((all) => all.length >= 3);
    await looked;
    await late.end();
    expect(await told).toEqual(['first', 'late', 'after']);
  });

  it('is among the newest too', async () => {
    const late = await unfinished('late');
    await happened('after');
    const looked = twoReads();
    const newest = list({ newest: 10 });
    await looked;
    await late.end();
    expect(kinds(await newest)).toEqual(['late', 'after']);
  });

  it('holds up what comes behind it, for as long as it hangs, and nothing before it', async () => {
    await happened('first');
    const late = await unfinished('late');
    await happened('after');
    const held = await list();
    expect([kinds(held), held.hasMore]).toEqual([['first'], true]);
    expect((await rejection(list({ newest: 10 }))).code).toBe('DATABASE_UNAVAILABLE');
    await late.end();
    expect(kinds(await list({ cursor: held.cursor }))).toEqual(['late', 'after']);
  });

  it('does not appear if its transaction fails: its number stays unused', async () => {
    await happened('first');
    const late = await unfinished('late');
    await happened('after');
    await late.end('fails');
    const { events } = await list();
    expect(events.map(({ id, kind }) => `${id} ${kind}`)).toEqual(['1 first', '3 after']);
  });

  it('does not hold up a reader by a transaction that writes no event', async () => {
    await happened('first');
    const [locked, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const other = store.write(0n, async (trx) => {
      await sql`INSERT INTO hook_accepted VALUES ('h', 'g', 1)`.execute(trx);
      locked.resolve();
      await gate.promise;
    });
    await locked.promise;
    const failed = await unfinished('never');
    await failed.end('fails');
    await happened('after');
    expect(kinds(await list())).toEqual(['first', 'after']);
    gate.resolve();
    await other;
  });

  it('under twenty writers at once, no reader misses one or sees one twice', async () => {
    const writers = Array.from({ length: 20 }, async (_, at) => {
      for (let turn = 0; turn < 10; turn += 1) await happened(`e-${at}-${turn}`);
    });
    const told = await following((all) => all.length >= 200);
    await Promise.all(writers);
    expect(new Set(told).size).toBe(200);
    expect(told).toHaveLength(200);
  });
});

describe('a page', () => {
  it('has what fits the filters, and goes on behind what does not', async () => {
    await happened('drill-done', { group: 'a', site: 'x' });
    await happened('drill-failed', { group: 'b' });
    await happened('failover-complete', { group: 'a' });
    expect(kinds(await list({ group: 'a' }))).toEqual(['drill-done', 'failover-complete']);
    expect(kinds(await list({ kinds: ['drill-*'] }))).toEqual(['drill-done', 'drill-failed']);
    expect(kinds(await list({ kinds: ['drill-failed', 'drill'] }))).toEqual(['drill-failed']);
    const { events, cursor } = await list({ site: 'x' });
    expect(events).toMatchObject([{ id: 1n, group: 'a', site: 'x', details: { epoch: '7' } }]);
    expect(kinds(await list({ cursor }))).toEqual([]);
  });

  it('is bounded, however much there is, and the pages together have everything once', async () => {
    await many(PAGE_ROWS * 2 + 5);
    const ids: bigint[] = [];
    const sizes: number[] = [];
    let page = await list();
    for (;;) {
      sizes.push(page.events.length);
      ids.push(...page.events.map(({ id }) => id));
      if (!page.hasMore) break;
      page = await list({ cursor: page.cursor });
    }
    expect(sizes).toEqual([PAGE_ROWS, PAGE_ROWS, 5]);
    expect(ids).toEqual(Array.from({ length: PAGE_ROWS * 2 + 5 }, (_, at) => BigInt(at + 1)));
  });

  it('of large events is small', async () => {
    const large = JSON.stringify({ text: 'x'.repeat(900_000) });
    await ask(
      sql`INSERT INTO event (at_ms, kind, grp, site, details) SELECT 1, 'k', '', '', ${large} FROM generate_series(1, 5)`,
    );
    const page = await list();
    expect([page.events.length, page.hasMore]).toEqual([2, true]);
    expect((await list({ cursor: page.cursor })).events.length).toBe(2);
  });

  it('since a time is found without reading what was before, in a log of any length', async () => {
    const now = clock.wallMs();
    await many(50_000, { kind: 'old', atMs: now - 86_400_000 });
    await many(3, { kind: 'young', atMs: now });
    await ask(sql`ANALYZE event`);
    const before = await rowsRead();
    expect(kinds(await list({ sinceMs: BigInt(now) }))).toEqual(['young', 'young', 'young']);
    expect(kinds(await list({ newest: 2 }))).toEqual(['young', 'young']);
    expect((await rowsRead()) - before).toBeLessThan(PAGE_ROWS * 4);
    expect(kinds(await list({ sinceMs: BigInt(now), untilMs: BigInt(now + 3) }))).toHaveLength(2);
  });

  it('of the newest says where it has stopped to look', async () => {
    await happened('rare');
    await many(NEWEST_ROWS);
    const page = await list({ newest: 5, kinds: ['rare'] });
    expect([kinds(page), page.isCut]).toEqual([[], true]);
    expect((await list({ newest: 5, kinds: ['k'] })).isCut).toBe(false);
  });

  it.each([
    { cursor: '1' },
    { cursor: "1.1'; DROP TABLE event" },
    { cursor: `${'9'.repeat(19)}.1` },
    { group: '../x' },
    { kinds: ['%'] },
    { kinds: ['a*b'] },
    { kinds: Array.from({ length: 51 }, () => 'k') },
  ])('is refused for a request that nobody makes in good faith: %j', async (request) => {
    expect((await rejection(list(request))).code).toBe('REQUEST_INVALID');
  });
});

describe('a cursor', () => {
  it('outlasts the deletion of the oldest events', async () => {
    await many(10);
    const { cursor } = await list();
    await ask(sql`INSERT INTO event_retirement VALUES (1, 10, 10, 'digest', 1)`);
    await ask(sql`DELETE FROM event`);
    await happened('after');
    const page = await list({ cursor });
    expect([kinds(page), page.isReplaced]).toEqual([['after'], false]);
  });

  it('of a log that was put back is recognised, and goes on with what happened since then', async () => {
    const now = clock.wallMs();
    await many(10, { atMs: now });
    const { cursor } = await list();
    await ask(sql`ALTER TABLE event DISABLE TRIGGER ALL`);
    await ask(sql`DELETE FROM event WHERE id > 5`);
    await ask(sql`ALTER TABLE event ENABLE TRIGGER ALL`);
    await ask(sql`SELECT setval('event_id_seq', 5)`);
    await many(6, { kind: 'other', atMs: now + 1_000 });
    const page = await list({ cursor });
    expect([kinds(page).length, new Set(kinds(page)), page.isReplaced]).toEqual([6, new Set(['other']), true]);
    expect((await list({ cursor: page.cursor })).isReplaced).toBe(false);
  });

  it('of an empty log is empty', async () => {
    const page = await list({ newest: 10 });
    expect([page.events, page.cursor]).toEqual([[], '']);
    await happened('first');
    expect(kinds(await list({ cursor: page.cursor }))).toEqual(['first']);
  });
});

/** Of the table of events, by all statements so far. */
async function rowsRead(): Promise<number> {
  // A connection reports what it has read when it is idle, and at once where it is asked to.
  await Promise.all(Array.from({ length: 20 }, () => ask(sql`SELECT pg_stat_force_next_flush()`)));
  const { rows } = await ask(
    sql<{ read: string }>`SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::text AS read
      FROM pg_stat_user_tables WHERE relname = 'event'`,
  );
  return Number(rows[0]!.read);
}
