/** The page of what Antipode assumes of tokens names files and tests. All of them must exist. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const PAGE = 'docs/devices/assumptions.md';
/** On one line, since a title may be wrapped. */
const text = readFileSync(PAGE, 'utf8').replaceAll(/\s+/g, ' ');

it('names only files that are in the tree', () => {
  const paths = [...text.matchAll(/`((?:packages|services|test)\/[^`\s]+)`/g)].map(([, path]) => path!);
  expect(paths.length).toBeGreaterThan(40);
  expect(paths.filter((path) => !existsSync(path))).toEqual([]);
});

it('names only test titles, or parts of them, that their file has', () => {
  const tried = [...text.matchAll(/`([^`\s]+\.ts)`[^`]*?: "([^"]+)"/g)].map(([, path, title]) => ({ path, title }));
  expect(tried.length).toBeGreaterThan(20);
  const missing = tried.filter(({ path, title }) => !readFileSync(path!, 'utf8').includes(title!));
  expect(missing).toEqual([]);
});
