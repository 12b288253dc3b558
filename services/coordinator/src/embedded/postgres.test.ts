import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { postgresFolders } from './postgres.ts';

const root = mkdtempSync(join(tmpdir(), 'antipode-postgres-'));
afterAll(() => rmSync(root, { recursive: true }));

it('the newest PostgreSQL comes first', () => {
  for (const version of ['9.6', '15', 'common', '100']) mkdirSync(join(root, 'pg', version), { recursive: true });
  expect(postgresFolders(join(root, 'pg'))).toEqual(['100', '15', '9.6'].map((one) => join(root, 'pg', one, 'bin')));
  expect(postgresFolders(join(root, 'nowhere'))).toEqual([]);
});
