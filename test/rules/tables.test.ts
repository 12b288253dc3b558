/** A table of the coordinator that grows without a bound fills a disk years later. So each one says what bounds it. */
import { expect, it } from 'vitest';
import { read } from './support/tree.ts';

const schema = read('services/coordinator/src/store/schema.ts').source;
const page = read('docs/architecture.md').source;

/** By the migrations. The table of migrations itself is made before them. */
const tables = [...schema.matchAll(/CREATE TABLE (\w+)/g)].map(([, name]) => name!);
const typed = [...(/interface Schema \{(.*?)\n\}/s.exec(schema)?.[1] ?? '').matchAll(/^ {2}(\w+): \{/gm)].map(
  ([, name]) => name!,
);
/** The rows of the page, with the name of a table and what bounds it. */
const bounded = [...page.matchAll(/^\| `(\w+)` +\| +(\S[^|]*)\|/gm)].map(([, name]) => name!);

it('every table of the coordinator is on the page with what bounds it', () => {
  expect(tables.length).toBeGreaterThan(20);
  expect([...tables].sort()).toEqual([...typed].sort());
  expect([...bounded].sort()).toEqual([...tables, 'migration'].sort());
});
