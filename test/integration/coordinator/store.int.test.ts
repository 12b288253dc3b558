/** The coordinator's SQL, against a real PostgreSQL. */
import { chmodSync, rmSync } from 'node:fs';
import type { Generation, IntentKind, IntentStatus, Write } from '@antipode/coordinator/testing';
import {
  activateEpoch,
  EmbeddedPostgres,
  endIntent,
  findIntent,
  type Intent,
  insertEpoch,
  insertGroup,
  insertIntent,
  lockGroup,
  lowerLeaseLength,
  MIGRATIONS,
  PostgresStore,
  raiseLeaseLength,
  readAcknowledged,
  readAhead,
  readDone,
  readFailed,
  readFailing,
  readGeneration,
  readGroup,
  readGroups,
  readIntent,
  readKnown,
  readNewest,
  readOpenIntents,
  readPlace,
  readRecent,
  readRefused,
  readScrubs,
  readSites,
  readTenures,
  recordAcknowledgement,
  recordCapture,
  recordRefused,
  recordScrub,
  recordSite,
  releaseNumber,
  renameOpenKinds,
  requireOpen,
  reserveNumber,
  SCHEMA_OF_PREVIOUS_RELEASE,
  SPEC,
  storeConformance,
  updateIntent,
  withdrawAcknowledgements,
} from '@antipode/coordinator/testing';
import { AntipodeError, seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';

const folder = temporaryFolder('store');
const clock = new FakeClock();
let postgres: EmbeddedPostgres;
let store: PostgresStore;
const GROUP = 'payments';

beforeAll(async () => {
  chmodSync(folder, 0o711);
  postgres = new EmbeddedPostgres({
    dataFolder: folder,
    clock: systemClock,
    prng: seededPrng('store'),
    log: silentLog,
  });
  store = new PostgresStore({ connection: await postgres.start(), clock });
  await store.found();
});
afterAll(async () => {
  await store?.close();
  await postgres?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The leader of these tests is of epoch 0, which the migrations leave behind. */
const write = <T>(work: (trx: Write) => Promise<T>): Promise<T> => store.write(0n, work);

beforeEach(async () => {
  await write(async (trx) => {
    for (const table of [
      'member_refused',
      'scrub',
      'acknowledgement',
      'generation',
      'intent',
      'site',
      'epoch',
      'member',
    ] as const)
      await trx.deleteFrom(table).execute();
    await trx.deleteFrom('replication_group').execute();
    await insertGroup(trx, SPEC, 0);
    const seats = [...SPEC.members, ...SPEC.scratch].map((seat) => ({ ...seat, serial: `cards-${seat.serial}` }));
    await insertGroup(trx, { ...SPEC, name: 'cards', members: seats.slice(0, 3), scratch: seats.slice(3) }, 0);
  });
});

storeConformance('the store in PostgreSQL', () => store);

it('is not opened where a newer program has changed its schema, and says that nothing is wrong with it', async () => {
  await write((trx) => sql`INSERT INTO migration VALUES (99)`.execute(trx));
  try {
    expect(await rejection(store.found())).toMatchObject({
      code: 'CONFIG_INVALID',
      ownHint: expect.stringContaining('Do not remove it'),
    });
  } finally {
    await write((trx) => sql`DELETE FROM migration WHERE version = 99`.execute(trx));
  }
});

it('is opened where the next release has added to its schema, and nothing is changed then', async () => {
  const next = MIGRATIONS.length + 1;
  const add = (...rows: number[]) =>
    write(async (trx) => {
      for (const row of rows) await sql`INSERT INTO migration VALUES (${row})`.execute(trx);
    });
  const rows = () =>
    store.query((db) => sql<{ version: number }>`SELECT version FROM migration ORDER BY version`.execute(db));
  try {
    // It leaves the tables so that this release can use them, and has done so before for its own predecessor.
    await add(next, -(next * 10_000 + MIGRATIONS.length));
    const before = await rows();
    for (const work of [store.found(), store.examine(), store.migrate(0n)]) await work;
    expect(await rows()).toEqual(before);
    // The release behind that one does not care for this one any more.
    await add(next + 1, -((next + 1) * 10_000 + next));
    for (const work of [() => store.found(), () => store.examine(), () => store.migrate(0n)])
      expect(await rejection(work())).toMatchObject({
        code: 'CONFIG_INVALID',
        details: { version: next + 1, needed: next },
      });
  } finally {
    await write((trx) =>
      sql`DELETE FROM migration WHERE version > ${MIGRATIONS.length} OR version <= ${-next * 10_000}`.execute(trx),
    );
  }
});

it('tells the previous release that it can use the tables', async () => {
  const { rows } = await store.query((db) =>
    sql<{ lowest: number }>`SELECT min(version) AS lowest FROM migration`.execute(db),
  );
  expect(rows).toEqual([{ lowest: -(MIGRATIONS.length * 10_000 + SCHEMA_OF_PREVIOUS_RELEASE) }]);
});

const generation = (epoch: bigint, number: bigint, rest: Partial<Generation> = {}): Generation => ({
  epoch,
  number,
  manifestDigest: `m${epoch}.${number}`,
  contentDigest: `c${epoch}.${number}`,
  objectCount: 3,
  domainKeyVersion: 1,
  uncaptured: [{ objectId: '0b', kind: 'private-key', reason: 'unextractable' }],
  recoveryPointMs: 1_000,
  trace: { traceparent: '00-1' },
  ...rest,
});
const capture = (one: Generation, group = GROUP): Promise<void> => write((trx) => recordCapture(trx, group, one));
const acknowledge = (epoch: bigint, number: bigint, site: string, group = GROUP): Promise<void> =>
  write((trx) => recordAcknowledgement(trx, group, { epoch, number, site, nowMs: 5 }));

describe('scrubs', () => {
  const record = (
    site: string,
    startedMs: number,
    errorCode = '',
    { group = GROUP, hasLooked = true }: { group?: string; hasLooked?: boolean } = {},
  ): Promise<void> => write((trx) => recordScrub(trx, { group, site, startedMs, errorCode, hasLooked }));
  const scrubs = async () =>
    (await store.query((db) => readScrubs(db, GROUP))).map((one) => [
      one.site,
      one.startedMs,
      one.errorCode,
      one.failures,
    ]);

  it('are the last of each member, whatever order they are recorded in', async () => {
    await record('b', 10);
    await record('a', 7.4);
    await record('b', 30, 'OBJECT_UNPROVEN');
    await record('b', 20);
    await record('a', 99, '', { group: 'cards' });
    expect(await scrubs()).toEqual([
      ['a', 7, '', 0],
      ['b', 30, 'OBJECT_UNPROVEN', 0],
    ]);
  });

  it('count those in a row that could not look', async () => {
    const count = async () => (await scrubs()).map(([, , , failures]) => failures);
    await record('a', 10, 'HSM_UNAVAILABLE', { hasLooked: false });
    expect(await count()).toEqual([1]);
    await record('a', 20, 'FILE_UNWRITABLE', { hasLooked: false });
    // It began before: it is no more than an answer that came late.
    await record('a', 15, 'FILE_UNWRITABLE', { hasLooked: false });
    expect(await count()).toEqual([2]);
    await record('a', 30, 'OBJECT_UNPROVEN');
    expect(await count()).toEqual([0]);
    await record('a', 40, 'PIN_REFUSED', { hasLooked: false });
    expect(await count()).toEqual([1]);
    await record('a', 50);
    expect(await count()).toEqual([0]);
  });

  it('are due a week apart in a group of before there were any', async () => {
    const { scrubMs: _later, ...spec } = SPEC;
    await write((trx) =>
      trx
        .updateTable('replication_group')
        .set({ spec: JSON.stringify(spec) })
        .where('name', '=', GROUP)
        .execute(),
    );
    expect((await store.query((db) => readGroup(db, GROUP))).spec.scrubMs).toBe(7 * 86_400_000);
  });
});

it('keeps what each member said last that it could not restore', async () => {
  const refused = [
    { objectId: 'a1', kind: 'private-key/ec', code: 'HSM_REFUSED', returnValue: 'CKR_CURVE_NOT_SUPPORTED' },
  ];
  const said = { group: GROUP, site: 'b', refused, objects: 7, atMs: 5 };
  await write((trx) => recordRefused(trx, [said]));
  await write((trx) => recordRefused(trx, [{ ...said, site: 'c', refused: [], objects: 0 }]));
  await write((trx) => recordRefused(trx, [{ ...said, objects: 8, atMs: 6 }]));
  const kept = await store.query((db) => readRefused(db, GROUP));
  expect(kept.find(({ site }) => site === 'b')).toEqual({ site: 'b', refused, objects: 8, atMs: 6 });
  expect(kept).toHaveLength(2);
});

describe('generations', () => {
  const reserve = (group = GROUP, seen = 0n) => write((trx) => reserveNumber(trx, group, { seen }));
  const known = () => store.query((db) => readKnown(db, GROUP));

  it('have numbers above every one that was ever reserved, under whatever epoch, and each group its own', async () => {
    expect([await reserve(), await reserve()]).toEqual([1n, 2n]);
    await capture(generation(1n, 9_007_199_254_740_993n));
    await capture(generation(2n, 4n));
    expect([await reserve(), await reserve('cards')]).toEqual([9_007_199_254_740_994n, 1n]);
    expect((await store.query((db) => readNewest(db, GROUP)))?.number).toBe(4n);
  });

  it('have numbers above what members speak of, where the database knows less', async () => {
    expect([await reserve(GROUP, 41n), await reserve(GROUP, 7n)]).toEqual([42n, 43n]);
  });

  it('give a number back that was not needed, unless a later one is on its way', async () => {
    const release = (number: bigint): Promise<void> => write((trx) => releaseNumber(trx, GROUP, number));
    await release(await reserve());
    expect(await reserve()).toBe(1n);
    expect(await reserve()).toBe(2n);
    await release(1n);
    expect(await reserve()).toBe(3n);
  });

  it('are ahead of another by epoch before number', async () => {
    for (const [epoch, number] of [
      [1n, 9n],
      [1n, 10n],
      [2n, 3n],
    ] as const)
      await capture(generation(epoch, number));
    await acknowledge(2n, 3n, 'b');
    const ahead = async (base?: { epoch: bigint; number: bigint }) =>
      (await store.query((db) => readAhead(db, GROUP, base))).map((one) => [one.number, one.isAcknowledged]);
    expect(await ahead({ epoch: 1n, number: 9n })).toEqual([
      [10n, false],
      [3n, true],
    ]);
    expect(await ahead({ epoch: 2n, number: 3n })).toEqual([]);
    expect((await ahead()).length).toBe(3);
  });

  it('are known newest last, by epoch before number, with whether anybody has acknowledged them', async () => {
    expect(await known()).toEqual([]);
    for (const [epoch, number] of [
      [2n, 3n],
      [1n, 10n],
      [1n, 9n],
    ] as const)
      await capture(generation(epoch, number));
    await capture(generation(1n, 9n), 'cards');
    await acknowledge(1n, 9n, 'b', 'cards');
    await acknowledge(1n, 10n, 'b');
    await acknowledge(1n, 10n, 'c');
    expect(await known()).toEqual([
      { epoch: 1n, number: 9n, manifestDigest: 'm1.9', isAcknowledged: false },
      { epoch: 1n, number: 10n, manifestDigest: 'm1.10', isAcknowledged: true },
      { epoch: 2n, number: 3n, manifestDigest: 'm2.3', isAcknowledged: false },
    ]);
  });

  it('are acknowledged no more by a site that was found not to hold them, up to that one', async () => {
    for (const [epoch, number] of [
      [1n, 9n],
      [2n, 3n],
      [2n, 4n],
    ] as const) {
      await capture(generation(epoch, number));
      for (const site of ['b', 'c']) await acknowledge(epoch, number, site);
    }
    const newest = async () =>
      (await store.query((db) => readAcknowledged(db, GROUP))).map((one) => `${one.site} ${one.number}`);
    await write((trx) => withdrawAcknowledgements(trx, GROUP, { epoch: 2n, number: 3n, site: 'b' }));
    expect(await newest()).toEqual(['b 4', 'c 4']);
    await write((trx) => withdrawAcknowledgements(trx, GROUP, { epoch: 2n, number: 4n, site: 'b' }));
    expect(await newest()).toEqual(['c 4']);
  });

  it('are acknowledged in their own epoch and number only', async () => {
    for (const [epoch, number] of [
      [1n, 3n],
      [2n, 3n],
      [2n, 4n],
    ] as const)
      await capture(generation(epoch, number));
    await acknowledge(2n, 3n, 'b');
    expect((await known()).filter(({ isAcknowledged }) => isAcknowledged)).toMatchObject([{ epoch: 2n, number: 3n }]);
    await acknowledge(1n, 3n, 'b');
    const newest = await store.query((db) => readAcknowledged(db, GROUP));
    expect(newest.map(({ site, epoch, number }) => [site, epoch, number])).toEqual([['b', 2n, 3n]]);
  });

  it('come back as they were recorded', async () => {
    await capture(generation(1n, 3n));
    const target = { epoch: 1n, number: 3n };
    expect(await store.query((db) => readGeneration(db, GROUP, target))).toEqual(generation(1n, 3n));
    await capture(generation(1n, 4n, { keyCount: 0 }));
    expect(await store.query((db) => readNewest(db, GROUP))).toEqual(generation(1n, 4n, { keyCount: 0 }));
  });

  it('that are captured again without a change move only their recovery point', async () => {
    await capture(generation(1n, 3n));
    await capture(generation(1n, 3n, { recoveryPointMs: 9_000, objectCount: 99, trace: {} }));
    const newest = await store.query((db) => readNewest(db, GROUP));
    expect(newest).toEqual(generation(1n, 3n, { recoveryPointMs: 9_000 }));
  });

  it('of another manifest are refused under a number that is taken, and change nothing', async () => {
    await capture(generation(1n, 3n));
    const other = generation(1n, 3n, { manifestDigest: 'other', recoveryPointMs: 9_000 });
    const error = await rejection(capture(other));
    expect([error.code, error.details['number']]).toEqual(['MANIFEST_INVALID', 3n]);
    expect(await store.query((db) => readNewest(db, GROUP))).toEqual(generation(1n, 3n));
    await capture({ ...other, epoch: 2n });
    await capture(other, 'cards');
    expect((await known()).length).toBe(2);
  });
});

describe('intents', () => {
  const insert = (
    {
      id,
      kind = 'capture',
      site = 'a',
      group = GROUP,
    }: { id: string; kind?: IntentKind; site?: string; group?: string },
    nowMs = 100,
  ) => write((trx) => insertIntent(trx, { id, kind, group, site, state: { phase: 'due' }, trace: {} }, nowMs));
  const change = (id: string, to: Partial<Intent>, nowMs = 200): Promise<boolean> =>
    write((trx) => updateIntent(trx, id, to, nowMs));
  const read = (id: string) => store.query((db) => readIntent(db, id));
  const end = async (id: string, status: IntentStatus, kind: IntentKind, nowMs: number): Promise<void> => {
    await insert({ id, kind, site: id }, nowMs);
    await change(id, { status }, nowMs);
  };
  const ids = (intents: readonly Intent[]): string[] => intents.map(({ id }) => id);

  it('are found by the beginning of their id, unless several begin so', async () => {
    await insert({ id: 'abc-1' });
    await insert({ id: 'abc-2', site: 'b' });
    const find = (id: string) => store.query((db) => findIntent(db, id));
    expect((await find('abc-2')).id).toBe('abc-2');
    expect((await rejection(find('abc'))).code).toBe('REQUEST_INVALID');
    for (const none of ['xyz', '', '%', '_bc-1']) expect((await rejection(find(none))).code).toBe('NOT_FOUND');
  });

  it('are ended by a person in the phase that was seen only, and change no more after that', async () => {
    await insert({ id: 'i' });
    const seen = (await read('i'))!;
    const end = (phase: string) =>
      write((trx) => endIntent(trx, { ...seen, state: { phase } }, { status: 'cancelled', from: ['open'] }, 300));
    await write((trx) => requireOpen(trx, seen));
    expect([await end('another'), await end('due')]).toEqual([false, true]);
    expect(await change('i', { state: { phase: 'capturing' } })).toBe(false);
    expect(await read('i')).toMatchObject({ status: 'cancelled', state: { phase: 'due' } });
    expect((await rejection(write((trx) => requireOpen(trx, seen)))).code).toBe('ROLE_REFUSED');
    // Another one of its kind may be made now.
    await insert({ id: 'j' });
    expect(await read('j')).toMatchObject({ status: 'open' });
  });

  it('keep the last failure with all that leads to it', async () => {
    await insert({ id: 'i' });
    const failure = {
      code: 'HSM_REFUSED',
      message: 'no',
      site: 'b',
      returnValue: 'CKR_DEVICE_ERROR',
      atMs: 5,
      requestId: 'i.1',
    } as const;
    await change('i', { failure });
    expect((await read('i'))?.failure).toEqual(failure);
  });

  it('are made once for a group, kind and site while one is open', async () => {
    expect(await insert({ id: 'one' })).toEqual({ id: 'one', isNew: true });
    expect(await insert({ id: 'two' }, 300)).toEqual({ id: 'one', isNew: false });
    expect(await read('two')).toBeUndefined();
    expect(await read('one')).toMatchObject({ status: 'open', nextAttemptMs: 100, updatedMs: 100 });
    for (const other of [{ site: 'b' }, { kind: 'rejoin' as const }, { group: 'cards' }])
      expect((await insert({ id: JSON.stringify(other), ...other })).isNew).toBe(true);
  });

  it('that wait for their next attempt are not hurried by whoever asks for the same', async () => {
    await insert({ id: 'one' });
    await change('one', { attempts: 3, nextAttemptMs: 5_000 });
    await insert({ id: 'two' }, 300);
    expect(await read('one')).toMatchObject({ status: 'open', attempts: 3, nextAttemptMs: 5_000, updatedMs: 200 });
  });

  it('that wait for a person are opened again by whoever asks for the same', async () => {
    await insert({ id: 'one', kind: 'domain-key', site: '' });
    await change('one', { status: 'parked', state: { phase: 'incomplete' }, nextAttemptMs: 99 });
    await insert({ id: 'other', kind: 'rejoin' });
    await change('other', { status: 'parked' });
    expect(await insert({ id: 'two', kind: 'domain-key', site: '' }, 300)).toEqual({ id: 'one', isNew: false });
    expect(await read('one')).toMatchObject({
      status: 'open',
      state: { phase: 'incomplete' },
      nextAttemptMs: 300,
      updatedMs: 300,
    });
    expect((await read('other'))?.status).toBe('parked');
  });

  it.each(['done', 'failed'] as const)(
    'that are %s leave room for the next, and stay as they ended',
    async (status) => {
      await insert({ id: 'one' });
      await change('one', { status, errorCode: 'HSM_FULL' });
      expect(await insert({ id: 'two' }, 300)).toEqual({ id: 'two', isNew: true });
      expect(await read('one')).toMatchObject({ status, errorCode: 'HSM_FULL', updatedMs: 200 });
    },
  );

  it('keep their states, BigInts included', async () => {
    const state = { phase: 'applying', epoch: 9_007_199_254_740_993n, lost: [1n], text: '12', none: null };
    await insert({ id: 'one' });
    await change('one', { state });
    expect((await read('one'))?.state).toEqual(state);
  });

  it('are shown while they are open, however old, and the latest fifty, newest first', async () => {
    await insert({ id: 'open' }, 1);
    await insert({ id: 'parked', kind: 'domain-key' }, 2);
    await change('parked', { status: 'parked' });
    await end('old', 'done', 'drill', 3);
    for (let count = 0; count < 50; count += 1)
      await end(`d${count}`, count % 2 ? 'done' : 'failed', 'drill', 10 + count);
    const recent = ids(await store.query(readRecent));
    expect(recent).toHaveLength(52);
    expect(recent[0]).toBe('d49');
    expect(recent.slice(-2)).toEqual(['parked', 'open']);
    expect(ids(await store.query((db) => readOpenIntents(db)))).toEqual(['open', 'parked']);
    const failed = Array.from({ length: 25 }, (_, at) => `d${48 - 2 * at}`);
    expect(ids(await store.query((db) => readFailed(db, GROUP)))).toEqual(failed);
    expect(ids(await store.query((db) => readFailed(db, 'cards')))).toEqual([]);
  });

  it('tell what has been failing since it last ended well, by kind and site', async () => {
    const places = [
      { kind: 'replication', site: 'b' },
      { kind: 'replication', site: 'c' },
      { kind: 'capture', site: 'a' },
    ] as const;
    const failing = () =>
      store
        .query((db) => readFailing(db, GROUP, { places, noFailure: ['EPOCH_STALE'] }))
        .then((all) => all.map(({ intent, sinceMs }) => [intent.id, intent.errorCode, sinceMs]));
    const ended = async (id: string, site: string, status: 'done' | 'failed', atMs: number, errorCode = 'HSM_FULL') => {
      await insert({ id, kind: 'replication', site }, atMs);
      await change(id, { status, errorCode }, atMs + 5);
    };
    await ended('b0', 'b', 'failed', 10);
    await ended('b1', 'b', 'done', 20, '');
    await ended('c1', 'c', 'done', 20, '');
    expect(await failing()).toEqual([]);
    await ended('b2', 'b', 'failed', 30);
    await ended('b3', 'b', 'failed', 40, 'HSM_REFUSED');
    await ended('b4', 'b', 'failed', 50, 'EPOCH_STALE');
    await insert({ id: 'b5', kind: 'replication', site: 'b' }, 60);
    expect(await failing()).toEqual([['b3', 'HSM_REFUSED', 35]]);
    await change('b5', { status: 'done' }, 65);
    expect(await failing()).toEqual([]);
    expect(await store.query((db) => readFailing(db, 'cards', { places, noFailure: ['EPOCH_STALE'] }))).toEqual([]);
  });

  describe('of a kind that had another name in an earlier release', () => {
    const FORMER = 'enrolment' as IntentKind;
    const kindIn = async (id: string): Promise<string> => {
      const { rows } = await store.query((db) =>
        sql<{ kind: string }>`SELECT kind FROM intent WHERE id = ${id}`.execute(db),
      );
      return rows[0]!.kind;
    };

    it('are read by its name of today, whatever the row says', async () => {
      await insert({ id: 'one', kind: FORMER, site: '' });
      expect(await kindIn('one')).toBe('enrolment');
      expect((await read('one'))?.kind).toBe('domain-key');
    });

    it('are renamed by the migration when they have ended, so that an earlier leader goes on with the others', async () => {
      await end('done', 'done', FORMER, 1);
      await end('failed', 'failed', FORMER, 2);
      await end('parked', 'parked', FORMER, 3);
      await insert({ id: 'open', kind: FORMER, site: '' });
      const migration = MIGRATIONS.find((one) => one.includes(`'${FORMER}'`))!;
      await write(async (trx) => void (await sql.raw(migration).execute(trx)));
      expect(await Promise.all(['done', 'failed', 'parked', 'open'].map(kindIn))).toEqual([
        'domain-key',
        'domain-key',
        'enrolment',
        'enrolment',
      ]);
    });

    it('are renamed by a new leader while they are under way: the same is not begun twice', async () => {
      await end('parked', 'parked', FORMER, 1);
      await insert({ id: 'open', kind: FORMER, site: '' });
      await write(renameOpenKinds);
      expect(await Promise.all(['parked', 'open'].map(kindIn))).toEqual(['domain-key', 'domain-key']);
      expect(await insert({ id: 'again', kind: 'domain-key', site: '' })).toEqual({ id: 'open', isNew: false });
    });

    it('keep a new leader from nothing when one is under way by both names', async () => {
      await insert({ id: 'former', kind: FORMER, site: '' });
      await insert({ id: 'today', kind: 'domain-key', site: '' });
      await write(renameOpenKinds);
      expect(await Promise.all(['former', 'today'].map(kindIn))).toEqual(['enrolment', 'domain-key']);
      await change('former', { status: 'done' });
      expect(await read('former')).toMatchObject({ kind: 'domain-key', status: 'done' });
    });
  });

  it('tell which failovers of a group came to their end lately', async () => {
    await end('before', 'done', 'failover', 99);
    await end('then', 'done', 'failover', 100);
    await end('refused', 'failed', 'failover', 200);
    await end('drill', 'done', 'drill', 200);
    await insert({ id: 'cards', kind: 'failover', group: 'cards' }, 200);
    await change('cards', { status: 'done' });
    await insert({ id: 'open', kind: 'failover' }, 200);
    expect(ids(await store.query((db) => readDone(db, { group: GROUP, kinds: ['failover'], sinceMs: 99.6 })))).toEqual([
      'then',
    ]);
  });
});

describe('a row that cannot be read', () => {
  it.each(['{', '{}', '{"name":"other"}', 'null'])('keeps only its own group from being read: %s', async (spec) => {
    await write((trx) => trx.updateTable('replication_group').set({ spec }).where('name', '=', GROUP).execute());
    const unreadable: string[] = [];
    const groups = await store.query((db) => readGroups(db, (group) => unreadable.push(group)));
    expect([groups.map(({ spec }) => spec.name), unreadable]).toEqual([['cards'], [GROUP]]);
    expect((await store.query((db) => readGroup(db, 'cards'))).spec.name).toBe('cards');
    expect((await rejection(store.query((db) => readGroup(db, GROUP)))).code).toBe('DATABASE_UNAVAILABLE');
  });

  it('hides none of the operations of others', async () => {
    const of = (id: string, group: string) =>
      ({ id, group, kind: 'capture', site: 'a', state: { phase: 'due' }, trace: {} }) as const;
    await write((trx) => insertIntent(trx, of('broken', GROUP), 1));
    await write((trx) => insertIntent(trx, of('whole', 'cards'), 2));
    await write((trx) => trx.updateTable('intent').set({ state: '{' }).where('id', '=', 'broken').execute());
    const unreadable: string[] = [];
    const open = await store.query((db) => readOpenIntents(db, { onUnreadable: (group) => unreadable.push(group) }));
    expect([open.map(({ id }) => id), unreadable]).toEqual([['whole'], [GROUP]]);
  });
});

describe('sites', () => {
  const announce = (address: string, partitions: object[]): Promise<void> =>
    write((trx) => recordSite(trx, { name: 'a', address, version: '1', partitions: JSON.stringify(partitions) }));
  const place = (serial: string, site = 'a') => store.query((db) => readPlace(db, { site, serial }));
  const main = { serial: 's1', module: 'm.so', tokenLabel: 'main' };

  it('are as they last announced themselves, and tell where each partition is', async () => {
    await announce('a:1', [{ ...main, module: 'old.so' }]);
    await announce('a:2', [{ serial: 's2', module: 'x.so', tokenLabel: 'x' }, main]);
    expect(await store.query(readSites)).toEqual([{ site: 'a', address: 'a:2' }]);
    expect(await place('s1')).toEqual(main);
    expect([await place('s3'), await place('s1', 'b')]).toEqual([undefined, undefined]);
  });
});

describe('groups', () => {
  it('are read as of one moment, while another epoch is put in force', async () => {
    await write((trx) =>
      insertEpoch(trx, GROUP, { epoch: 2n, owner: 'b', reason: 'automatic', isActive: false, nowMs: 1 }),
    );
    const seen = await store.snapshot(async (db) => {
      const before = await readGroup(db, GROUP);
      await write((trx) =>
        activateEpoch(trx, GROUP, { epoch: 2n, owner: 'b', recoveryTimeMs: 7, base: { epoch: 1n, number: 9n } }),
      );
      return [before, await readGroup(db, GROUP)];
    });
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[0]).toMatchObject({ epoch: 1n, owner: 'a', highestEpoch: 2n, highestOwner: 'b' });
    const now = await store.query((db) => readGroup(db, GROUP));
    expect(now).toMatchObject({ epoch: 2n, owner: 'b', recoveryTimeMs: 7 });
    expect(now.members.map(({ role }) => role)).toEqual(['fenced', 'active', 'standby']);
    expect(await store.query((db) => readTenures(db, GROUP))).toEqual([
      { epoch: 1n, base: undefined },
      { epoch: 2n, base: { epoch: 1n, number: 9n } },
    ]);
  });

  it('that are locked hold up whoever locks them too, and nobody else', async () => {
    const [locked, order] = [Promise.withResolvers<void>(), [] as string[]];
    const release = Promise.withResolvers<void>();
    const first = write(async (trx) => {
      await lockGroup(trx, GROUP);
      locked.resolve();
      await release.promise;
      await insertEpoch(trx, GROUP, { epoch: 2n, owner: 'b', reason: 'automatic', isActive: false, nowMs: 1 });
      order.push('issued');
    });
    await locked.promise;
    const second = write(async (trx) => {
      const { highestEpoch } = await lockGroup(trx, GROUP);
      order.push(`sees ${highestEpoch}`);
    });
    const third = write(async (trx) => {
      await insertEpoch(trx, GROUP, { epoch: 3n, owner: 'a', reason: 'reseat', isActive: false, nowMs: 1 });
      order.push('issues another');
    });
    await write((trx) => lockGroup(trx, 'cards'));
    order.push('cards');
    release.resolve();
    await Promise.all([first, second, third]);
    expect(order.slice(0, 2)).toEqual(['cards', 'issued']);
    expect(order.slice(2).sort()).toEqual(['issues another', expect.stringMatching(/^sees [23]$/)]);
  });
});

describe('the longest lease that may be held', () => {
  it('is on record before it is granted, and is lowered only by the leader', async () => {
    const raise = (leaseMs: number): Promise<number> => write((trx) => raiseLeaseLength(trx, leaseMs));
    expect([await raise(20_000), await raise(4_000), await raise(40_000)]).toEqual([20_000, 20_000, 40_000]);
    const late = store.write(7n, (trx) => lowerLeaseLength(trx, 4_000));
    expect((await rejection(late)).code).toBe('LEADERSHIP_LOST');
    expect(await raise(4_000)).toBe(40_000);
    await write((trx) => lowerLeaseLength(trx, 20_000));
    await write((trx) => lowerLeaseLength(trx, 40_000));
    expect(await raise(4_000)).toBe(20_000);
  });
});

describe('a change of state', () => {
  it('is whole or nothing, with the events that tell of it', async () => {
    const events = () => store.query((db) => db.selectFrom('event').select('kind').execute());
    const before = (await events()).length;
    const failing = store.write(0n, async (trx, record) => {
      record({ kind: 'lost' });
      await recordCapture(trx, GROUP, generation(1n, 3n));
      throw new AntipodeError('GROUP_BUSY', 'no');
    });
    expect((await rejection(failing)).code).toBe('GROUP_BUSY');
    expect(await store.query((db) => readNewest(db, GROUP))).toBeUndefined();
    await store.write(0n, async (_trx, record) => record({ kind: 'kept', group: GROUP, details: { number: 3n } }));
    expect((await events()).slice(before)).toEqual([{ kind: 'kept' }]);
  });

  it('whose connection breaks under it is away, and the next one is not', async () => {
    const broken = write(async (trx) => {
      const { rows } = await sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(trx);
      await store.query((db) => sql`SELECT pg_terminate_backend(${rows[0]?.pid})`.execute(db));
      await recordCapture(trx, GROUP, generation(1n, 3n));
    });
    expect((await rejection(broken)).code).toBe('DATABASE_UNAVAILABLE');
    await capture(generation(1n, 4n));
    expect((await store.query((db) => readNewest(db, GROUP)))?.number).toBe(4n);
  });

  it('is refused under a leadership that is over', async () => {
    const late = store.write(7n, (trx) => recordCapture(trx, GROUP, generation(1n, 3n)));
    expect((await rejection(late)).code).toBe('LEADERSHIP_LOST');
    expect(await store.query((db) => readNewest(db, GROUP))).toBeUndefined();
  });
});
