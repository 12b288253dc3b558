import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeFileDurably } from './files.ts';
import { thrown } from './testing/index.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-files-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

it('replaces a file as a whole, for its owner only, and leaves nothing beside it', () => {
  const path = join(folder, 'deep', 'record.json');
  writeFileDurably(path, 'a much longer first record');
  writeFileDurably(path, Buffer.from('second'));
  expect(readFileSync(path, 'utf8')).toBe('second');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(folder, 'deep'))).toEqual(['record.json']);
});

it('gives the file the mode that is asked for', () => {
  const path = join(folder, 'certificate.pem');
  writeFileDurably(path, 'public', { mode: 0o644 });
  expect(statSync(path).mode & 0o777).toBe(0o644);
});

it('throws FILE_UNWRITABLE where the path cannot be written, and leaves what was there', () => {
  const file = join(folder, 'file');
  writeFileSync(file, 'kept');
  const path = join(file, 'below');
  expect(thrown(() => writeFileDurably(path, 'x'))).toMatchObject({ code: 'FILE_UNWRITABLE', details: { path } });
  const inner = join(folder, 'inner');
  mkdirSync(inner);
  expect(thrown(() => writeFileDurably(inner, 'x')).code).toBe('FILE_UNWRITABLE');
  expect(readFileSync(file, 'utf8')).toBe('kept');
});
