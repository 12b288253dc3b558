import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readPhrases } from './phrases.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-phrases-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Raw = Record<string, unknown>;

function readWith(change: (phrases: Raw) => void): unknown {
  const phrases = JSON.parse(readFileSync(join(import.meta.dirname, 'phrases.json'), 'utf8')) as Raw;
  change(phrases);
  const path = join(folder, 'phrases.json');
  writeFileSync(path, JSON.stringify(phrases));
  return readPhrases(path);
}

it('a file replaces a phrase', () => {
  const phrases = readWith((raw) => {
    raw['wrongPassword'] = { pattern: 'NOT SO', mark: 'C', source: 'a capture' };
  });
  expect(phrases).toMatchObject({ wrongPassword: { mark: 'C', pattern: /NOT SO/i } });
});

it.each<[string, (raw: Raw) => void]>([
  ['is missing', (raw) => delete raw['trailer']],
  ['is unknown', (raw) => (raw['trailler'] = raw['trailer'])],
  ['has no mark', (raw) => (raw['trailer'] = { pattern: 'x', source: 'y' })],
  ['has no source', (raw) => (raw['trailer'] = { pattern: 'x', mark: 'C' })],
  ['is not a regular expression', (raw) => (raw['trailer'] = { pattern: '(', mark: 'C', source: 'y' })],
])('a file is refused in which a phrase %s', (_what, change) => {
  expect(thrown(() => readWith((raw) => void change(raw))).code).toBe('CONFIG_INVALID');
});
