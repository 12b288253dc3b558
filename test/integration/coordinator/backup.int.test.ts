/** A backup of the coordinator's database, against a real PostgreSQL: what is in it, and what is refused as one. */
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  checkBackup,
  continueEvents,
  countRows,
  EmbeddedPostgres,
  insertGroup,
  insertRows,
  MIGRATIONS,
  PostgresStore,
  readBackup,
  readSchemaVersion,
  readSummary,
  recordSite,
  rowsOf,
  SPEC,
  TABLES,
  type TableName,
  writeBackup,
} from '@antipode/coordinator/testing';
import { seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';

const folder = temporaryFolder('backup');
let postgres: EmbeddedPostgres;
let host: string;
let source: PostgresStore;
let path: string;
let files = 0;
const opened: PostgresStore[] = [];

const at = (database: string): PostgresStore => {
  const store = new PostgresStore({ connection: { host, user: 'antipode', database }, clock: systemClock });
  opened.push(store);
  return store;
};
async function emptyDatabase(name: string): Promise<PostgresStore> {
  await source.query((db) => sql`CREATE DATABASE ${sql.table(name)}`.execute(db));
  return at(name);
}

beforeAll(async () => {
  chmodSync(folder, 0o711);
  postgres = new EmbeddedPostgres({
    dataFolder: folder,
    clock: systemClock,
    prng: seededPrng('backup'),
    log: silentLog,
  });
  host = String((await postgres.start()).host);
  source = at('postgres');
  await source.found();
  await source.write(0n, async (trx, record) => {
    await insertGroup(trx, SPEC, 0);
    await recordSite(trx, { name: 'a', address: 'localhost:1', version: '0.1.0', partitions: '[]' });
    // A format loses these first: great numbers, bytes, and characters at which some readers end a line.
    await trx
      .insertInto('drill')
      .values({
        id: 'one',
        grp: SPEC.name,
        site: 'c',
        number: 9_223_372_036_854_775_807n,
        passed: true,
        proof: '{"a":"\\n\\t\u2028\u2029\r\u0085\\u0000"}',
        error_code: '',
        started_ms: 9_007_199_254_740_993n,
        recovery_time_ms: -1n,
        evidence: '"\'\\x\u{1f511}\t\n',
        signature: Buffer.from([0, 1, 10, 13, 92, 255]),
        signer: Buffer.alloc(0),
      })
      .execute();
    for (let number = 0; number < 1_200; number += 1) record({ kind: 'test', details: { number } });
  });
});
afterEach(() => {
  files += 1;
});
afterAll(async () => {
  for (const store of opened) await store.close();
  await postgres?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** As the command does it. */
const take = (store = source) => {
  path = join(folder, `${files}.backup`);
  return store.snapshot(async (db) => {
    const tables = await countRows(db);
    const facts = {
      ...(await readSummary(db)),
      version: 'x',
      coordinator: 'main',
      takenAt: new Date(0).toISOString(),
      schema: await readSchemaVersion(db),
      tables: Object.fromEntries(tables),
    };
    return writeBackup(
      path,
      facts,
      (async function* all() {
        for (const table of tables.keys()) for await (const rows of rowsOf(db, table)) yield [table, rows] as const;
      })(),
    );
  });
};
const put = (store: PostgresStore, schema = MIGRATIONS.length) =>
  store.refill({
    schema,
    fill: async (trx) => {
      for await (const part of readBackup(path))
        if (part.rows !== undefined) await insertRows(trx, part.table, part.rows);
      await continueEvents(trx);
    },
    end: async (_trx, record) => record({ kind: 'database-restored' }),
  });
const contents = (store: PostgresStore) =>
  store.snapshot(async (db) => {
    const all = new Map<TableName, string[]>();
    for (const table of TABLES) {
      const rows: string[] = [];
      for await (const some of rowsOf(db, table)) rows.push(...some);
      all.set(table, rows.sort());
    }
    return all;
  });
/** The same file with other lines. */
const rewritten = (change: (text: string) => string): void =>
  writeFileSync(path, gzipSync(change(gunzipSync(readFileSync(path)).toString())));

it('has every table of the database', async () => {
  const { rows } = await source.query((db) =>
    sql<{ name: string }>`SELECT tablename::text AS name FROM pg_tables WHERE schemaname = current_schema()`.execute(
      db,
    ),
  );
  expect(rows.map(({ name }) => name).sort()).toEqual([...TABLES, 'migration'].sort());
});

it('brings every value back as it was, and events go on behind the last one', async () => {
  const { manifest } = await take();
  expect(manifest).toMatchObject({
    groups: [{ group: SPEC.name, epoch: '1', owner: SPEC.members[0]!.site, generation: '0' }],
    sites: ['a'],
    tables: { event: 1_200, drill: 1 },
  });
  expect((statSync(path).mode & 0o777).toString(8)).toBe('600');
  const before = await contents(source);
  const target = await emptyDatabase('whole');
  await put(target);
  const after = await contents(target);
  expect(after.get('event')).toHaveLength(1_201);
  for (const table of TABLES.filter((one) => one !== 'event'))
    expect([table, after.get(table)]).toEqual([table, before.get(table)]);
  expect(new Set(after.get('event'))).toEqual(new Set([...before.get('event')!, expect.any(String)]));
  await target.write(0n, async (_trx, record) => record({ kind: 'next' }));
});

it('is of one moment, whatever is written meanwhile', async () => {
  let isWriting = true;
  let written = 0;
  const writing = (async () => {
    for (; isWriting; written += 1)
      await source.write(0n, async (trx) => {
        // Two tables, always together: the table that is read last knows no more than the first one.
        await recordSite(trx, { name: 'w', address: String(written), version: '', partitions: '[]' });
        await trx.deleteFrom('schedule_fire').execute();
        await trx
          .insertInto('schedule_fire')
          .values({ schedule: 'w', fire_ms: BigInt(written) })
          .execute();
      });
  })();
  try {
    while (written === 0) await systemClock.sleep(1);
    for (let round = 0; round < 5; round += 1) {
      await take();
      files += 1;
      const lines = gunzipSync(readFileSync(path)).toString().split('\n');
      const of = (table: string) =>
        JSON.parse(lines.findLast((line) => line.startsWith(`${table}\t`))!.split('\t')[1]!);
      const [site, fire] = [of('site'), of('schedule_fire')] as [{ address: string }, { fire_ms: number }];
      expect(String(fire.fire_ms)).toBe(site.address);
    }
  } finally {
    isWriting = false;
    await writing;
  }
  expect(written).toBeGreaterThan(5);
});

it.each<[string, () => void]>([
  ['was cut off', () => writeFileSync(path, readFileSync(path).subarray(0, -40))],
  ['was cut off between two rows', () => rewritten((text) => text.slice(0, text.lastIndexOf('event\t')))],
  ['has a changed row', () => rewritten((text) => text.replace('localhost:1', 'localhost:2'))],
  ['lacks a row', () => rewritten((text) => text.replace(/^site\t.*\n/m, ''))],
  ['goes on behind its end', () => rewritten((text) => `${text}site\t{}\n`)],
  ['has a row of another table', () => rewritten((text) => text.replace(/^site\t/m, 'pg_authid\t'))],
  ['is of a later format', () => rewritten((text) => text.replace('"format":1', '"format":2'))],
  ['is another file', () => writeFileSync(path, 'no backup')],
  ['is another file, compressed', () => writeFileSync(path, gzipSync('{"kind":"something"}\n'))],
  ['is empty', () => writeFileSync(path, '')],
])('is refused where it %s, and nothing of it is put back', async (_what, change) => {
  await take();
  change();
  expect((await rejection(checkBackup(path))).code).toBe('BACKUP_INVALID');
  const target = await emptyDatabase(`part${files}`);
  expect((await rejection(put(target))).code).toBe('BACKUP_INVALID');
  expect(await target.query(readSchemaVersion)).toBe(0);
});

it('of a later release is refused', async () => {
  await take();
  const target = await emptyDatabase('later');
  expect((await rejection(put(target, MIGRATIONS.length + 1))).code).toBe('CONFIG_INVALID');
  expect(await target.query(readSchemaVersion)).toBe(0);
});

it('is not put over the records of a coordinator', async () => {
  await take();
  const before = await contents(source);
  expect((await rejection(put(source))).code).toBe('RESTORE_REFUSED');
  expect(await contents(source)).toEqual(before);
});

it('replaces no file, and leaves none where it fails', async () => {
  path = join(folder, `${files}.backup`);
  writeFileSync(path, 'older');
  expect((await rejection(take())).code).toBe('FILE_EXISTS');
  expect(readFileSync(path, 'utf8')).toBe('older');
  files += 1;
  const failing = writeBackup(
    join(folder, 'never.backup'),
    { ...(await checkBackup(join(folder, '1.backup'))).manifest },
    (async function* none() {
      yield ['site', ['{}']] as const;
      throw new Error('gone');
    })(),
  );
  expect((await rejection(failing)).code).toBe('FILE_UNWRITABLE');
  expect(existsSync(join(folder, 'never.backup'))).toBe(false);
});
