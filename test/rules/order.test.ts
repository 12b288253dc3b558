import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { LONGEST } from '../support/longest-first.ts';
import { root } from './support/tree.ts';

it('the files that the tests begin with are there, each of them once', () => {
  expect(LONGEST.filter((path) => !existsSync(join(root, 'test', path)))).toEqual([]);
  expect(LONGEST).toHaveLength(new Set(LONGEST).size);
});
