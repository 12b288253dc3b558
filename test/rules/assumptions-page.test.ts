/** The page of what Antipode assumes of tokens names files and tests. All of them must exist. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const PAGE = 'docs/devices/assumptions.md';
const text = readFileSync(PAGE, 'utf8');

it('names only files that are in the tree', () => {
  const paths = [...text.matchAll(/`((?:packages|services|test)\/[^`\s]+)`/g)].map(([, path]) => path!);
  expect(paths.length).toBeGreaterThan(40);
  expect(paths.filter((path) => !existsSync(path))).toEqual([]);
});

it('names only test titles that their file has', () => {
  const tried = [...text.matchAll(/`([^`\s]+\.ts)`[^`\n]*: "([^"]+)"/g)].map(([, path, title]) => ({ path, title }));
  expect(tried.length).toBeGreaterThan(20);
  const missing = tried.filter(({ path, title }) => !readFileSync(path!, 'utf8').includes(title!));
  expect(missing).toEqual([]);
});
