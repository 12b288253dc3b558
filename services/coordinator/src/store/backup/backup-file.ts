/**
 * A backup of the coordinator's database as one file, compressed. Its lines: what is in it (the manifest), then each row
 * behind the name of its table, and at the end a SHA-256 over all of them. A file without its end is none.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { AntipodeError, makeFolder, placeFileOnce, requireNoFile, stagingOf } from '@antipode/runtime';
import { z } from 'zod';
import { TABLES, type TableName } from './rows.ts';

const FORMAT = 1;
const KIND = 'antipode coordinator backup';
/** A row of evidence has some hundred kilobytes. We write no row that is longer than this. */
const LINE_LENGTH_MAX = 64 << 20;

const count = z.number().int().nonnegative();
const number = z.string().regex(/^\d{1,20}$/);
const manifestSchema = z.strictObject({
  kind: z.literal(KIND),
  format: count,
  /** Of Antipode. */
  version: z.string(),
  coordinator: z.string(),
  takenAt: z.iso.datetime(),
  /** Version of the tables. */
  schema: count,
  /** Of the leader when it was taken. */
  term: number,
  groups: z.array(
    z.strictObject({
      group: z.string(),
      /** In force. */
      epoch: number,
      owner: z.string(),
      /** The highest number that was captured. */
      generation: number,
      members: z.array(z.string()),
    }),
  ),
  sites: z.array(z.string()),
  /** Rows of each table. */
  tables: z.partialRecord(z.enum(TABLES), count),
});

/** The account that a backup gives of itself. */
export type BackupManifest = z.output<typeof manifestSchema>;

const endSchema = z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/) });

export type ManifestFacts = Omit<BackupManifest, 'kind' | 'format'>;

/**
 * Writes the rows into a file that is not there yet, mode 0600, and reads it again. Nothing is left where that fails.
 * @throws FILE_EXISTS, FILE_UNWRITABLE
 */
export async function writeBackup(
  path: string,
  facts: ManifestFacts,
  rows: AsyncIterable<readonly [TableName, readonly string[]]>,
): Promise<CheckedBackup> {
  const requireNew = (): void => requireNoFile(path, { hint: 'Name a new file. A backup replaces no other one.' });
  requireNew();
  const staging = stagingOf(path);
  try {
    makeFolder(dirname(path));
    rmSync(staging, { force: true });
    const file = createWriteStream(staging, { flags: 'wx', mode: 0o600 });
    await pipeline(Readable.from(linesOf(facts, rows)), createGzip(), file);
    const written = await open(staging, 'r');
    await written.sync().finally(() => written.close());
    const checked = await checkBackup(staging);
    if (!placeFileOnce(path)) requireNew();
    return checked;
  } catch (cause) {
    if (cause instanceof AntipodeError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AntipodeError('FILE_UNWRITABLE', `cannot write ${path}: ${reason}`, { details: { path }, cause });
  } finally {
    rmSync(staging, { force: true });
  }
}

async function* linesOf(
  facts: ManifestFacts,
  rows: AsyncIterable<readonly [TableName, readonly string[]]>,
): AsyncGenerator<string> {
  const hash = createHash('sha256');
  const hashed = (lines: string): string => {
    hash.update(lines);
    return lines;
  };
  yield hashed(`${JSON.stringify({ kind: KIND, format: FORMAT, ...facts })}\n`);
  for await (const [table, some] of rows) yield hashed(some.map((row) => `${table}\t${row}\n`).join(''));
  yield `${JSON.stringify({ sha256: hash.digest('hex') })}\n`;
}

/** A backup that was read from its beginning to its end. */
export interface CheckedBackup {
  readonly manifest: BackupManifest;
  readonly sha256: string;
}

/** @throws BACKUP_INVALID, FILE_UNWRITABLE where it cannot be read */
export async function checkBackup(path: string): Promise<CheckedBackup> {
  let checked: CheckedBackup | undefined;
  for await (const part of readBackup(path)) if (part.sha256 !== undefined) checked = part;
  return checked!;
}

export type BackupPart =
  | { readonly manifest: BackupManifest; readonly sha256?: undefined; readonly rows?: undefined }
  | { readonly table: TableName; readonly rows: readonly string[]; readonly sha256?: undefined }
  | (CheckedBackup & { readonly rows?: undefined });

const ROWS_AT_ONCE = 500;

/** Manifest, rows, and at last what shows that all of it was there. @throws BACKUP_INVALID, FILE_UNWRITABLE */
export async function* readBackup(path: string): AsyncGenerator<BackupPart> {
  const invalid = (why: string, cause?: unknown): AntipodeError =>
    new AntipodeError('BACKUP_INVALID', `${path} ${why}`, { details: { path }, cause });
  const hash = createHash('sha256');
  const found = new Map<TableName, number>();
  let manifest: BackupManifest | undefined;
  let some: { table: TableName; rows: string[] } | undefined;
  let sha256: string | undefined;
  try {
    for await (const line of linesIn(path)) {
      if (sha256 !== undefined) throw invalid('goes on behind its end');
      if (manifest === undefined) {
        manifest = manifestFrom(line, invalid);
        hash.update(`${line}\n`);
        yield { manifest };
        continue;
      }
      if (line.startsWith('{')) {
        sha256 = endSchema.parse(JSON.parse(line)).sha256;
        continue;
      }
      hash.update(`${line}\n`);
      const at = line.indexOf('\t');
      const table = TABLES.find((one) => one === line.slice(0, at));
      if (table === undefined) throw invalid('has a row of an unknown table');
      found.set(table, (found.get(table) ?? 0) + 1);
      if (some !== undefined && (some.table !== table || some.rows.length === ROWS_AT_ONCE)) {
        yield some;
        some = undefined;
      }
      some ??= { table, rows: [] };
      some.rows.push(line.slice(at + 1));
    }
  } catch (thrown) {
    if (thrown instanceof AntipodeError) throw thrown;
    const { code } = thrown as NodeJS.ErrnoException;
    if (code !== undefined && ['ENOENT', 'EACCES', 'EISDIR', 'EIO'].includes(code))
      throw new AntipodeError('FILE_UNWRITABLE', `cannot read ${path}: ${code}`, { details: { path }, cause: thrown });
    throw invalid('is damaged, or not a backup of a coordinator', thrown);
  }
  if (some !== undefined) yield some;
  if (manifest === undefined || sha256 === undefined) throw invalid('ends too early');
  const { tables } = manifest;
  const differing = TABLES.filter((table) => (tables[table] ?? 0) !== (found.get(table) ?? 0));
  if (differing.length > 0)
    throw invalid(`has another number of rows than its manifest says (${differing.join(', ')})`);
  if (hash.digest('hex') !== sha256) throw invalid('does not match its SHA-256');
  yield { manifest, sha256 };
}

function manifestFrom(line: string, invalid: (why: string, cause?: unknown) => AntipodeError): BackupManifest {
  const said: unknown = JSON.parse(line);
  const { format } = Object(said) as { format?: unknown };
  if (typeof format === 'number' && format > FORMAT)
    throw invalid(`has format ${format}, expected at most ${FORMAT}: a later release made it`);
  const { data, error } = manifestSchema.safeParse(said);
  if (data === undefined) throw invalid('does not begin with the manifest of a backup', error);
  return data;
}

/** Of LF only: a text in a row may have any other character, and `readline` ends a line at some of them. */
async function* linesIn(path: string): AsyncGenerator<string> {
  const text = createGunzip();
  const passing = pipeline(createReadStream(path), text);
  // The reader of the text meets the same error.
  passing.catch(() => {});
  let rest = '';
  for await (const chunk of text.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop()!;
    if (rest.length > LINE_LENGTH_MAX) throw new RangeError('a line is too long');
    yield* lines;
  }
  await passing;
  if (rest !== '') yield rest;
}
