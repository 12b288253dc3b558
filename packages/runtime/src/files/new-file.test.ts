import { type linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { thrown } from '../testing/index.ts';
import { stagingOf } from './files.ts';
import { placeFileOnce, requireNoFile, writeFileOnce, writeNewFile } from './new-file.ts';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-new-file-'));
  path = join(folder, 'site.crt');
});

afterEach(() => rmSync(folder, { recursive: true }));

const text = (): string => readFileSync(path, 'utf8');

it('writes a file with its mode, and leaves nothing beside it', () => {
  expect(writeFileOnce(path, 'first', { mode: 0o644 })).toBe(true);
  expect([text(), statSync(path).mode & 0o777, readdirSync(folder)]).toEqual(['first', 0o644, ['site.crt']]);
});

it('keeps a file that exists', () => {
  writeFileSync(path, 'theirs');
  expect(writeFileOnce(path, 'ours')).toBe(false);
  expect(thrown(() => writeNewFile(path, 'ours'))).toMatchObject({ code: 'FILE_EXISTS', details: { path } });
  expect([text(), readdirSync(folder)]).toEqual(['theirs', ['site.crt']]);
});

it('keeps a file that another process makes while this one writes', () => {
  const staging = stagingOf(path);
  writeFileSync(staging, 'ours');
  writeFileSync(path, 'theirs');
  expect(placeFileOnce(path)).toBe(false);
  expect([text(), readdirSync(folder)]).toEqual(['theirs', ['site.crt']]);
});

/** As FAT answers. */
const withoutLinks = ((): never => {
  throw Object.assign(new Error('operation not permitted'), { code: 'EPERM' });
}) as typeof linkSync;

it('copies where the file system has no links, and replaces nothing there either', () => {
  const staging = stagingOf(path);
  writeFileSync(staging, 'first');
  expect(placeFileOnce(path, withoutLinks)).toBe(true);
  writeFileSync(staging, 'second');
  expect(placeFileOnce(path, withoutLinks)).toBe(false);
  expect([text(), readdirSync(folder)]).toEqual(['first', ['site.crt']]);
});

it('throws FILE_UNWRITABLE where it cannot write', () => {
  writeFileSync(path, 'a file');
  const below = join(path, 'below');
  expect(thrown(() => writeNewFile(below, 'x'))).toMatchObject({ code: 'FILE_UNWRITABLE', details: { path: below } });
});

it('refuses a file that exists before the work for it begins, with the hint of the caller', () => {
  requireNoFile(path);
  writeFileSync(path, 'theirs');
  expect(thrown(() => requireNoFile(path, { hint: 'Name another.' }))).toMatchObject({
    code: 'FILE_EXISTS',
    hint: 'Name another.',
  });
});
