import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { thrown } from '../testing/index.ts';
import { isOpenToAll, temporaryBase } from './temporary-base.ts';

const root = mkdtempSync('/tmp/antipode-place-');
const [open, closed, inside, deep] = [
  join(root, 'open'),
  join(root, 'closed'),
  join(root, 'closed/open'),
  join(root, 'd'.repeat(60)),
];
beforeAll(() => {
  chmodSync(root, 0o711);
  for (const folder of [open, closed, inside, deep]) {
    mkdirSync(folder);
    chmodSync(folder, 0o711);
  }
  chmodSync(closed, 0o700);
});
afterAll(() => rmSync(root, { recursive: true }));

it('a folder is open to all only if all above it are', () => {
  expect([open, closed, inside].map(isOpenToAll)).toEqual([true, false, false]);
});

it('root takes the first folder that the user of PostgreSQL can reach', () => {
  expect(temporaryBase({ isRoot: true, candidates: [closed, inside, open] })).toBe(open);
});

it('an ordinary user takes its own, however private', () => {
  expect(temporaryBase({ isRoot: false, candidates: [inside, open] })).toBe(inside);
});

it('a folder that is missing, or too deep for a socket, is passed over', () => {
  expect(temporaryBase({ isRoot: true, candidates: [join(root, 'missing'), deep, open] })).toBe(open);
});

it('where none will do, the message says what would', () => {
  const error = thrown(() => temporaryBase({ isRoot: true, candidates: [closed] }));
  expect([error.code, error.details]).toEqual(['CONFIG_INVALID', { path: closed }]);
});
