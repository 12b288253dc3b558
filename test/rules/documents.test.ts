/** Documents can be read at a glance: the README is one page, lines and table cells are short, and links lead somewhere. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { paths, read, root, type SourceFile } from './support/tree.ts';

const README_LINES_MAX = 110;
const COLUMNS_MAX = 120;
const CELL_MAX = 80;
/** A source seldom has more lines than this. */
const LONG = 300;
/** So that no single line has to be argued. */
const LONG_SLACK = 40;

const all = paths();
const documents = all.filter((path) => path.endsWith('.md')).map(read);
const code = all.filter((path) => path.endsWith('.ts')).map(read);

/** Lines with their numbers, without those between fences. */
function linesOf({ source }: Pick<SourceFile, 'source'>): { at: number; line: string }[] {
  let isFenced = false;
  return source.split('\n').flatMap((line, index) => {
    const isFence = /^\s*(```|~~~)/.test(line);
    if (isFence) isFenced = !isFenced;
    return isFence || isFenced ? [] : [{ at: index + 1, line }];
  });
}

const isTable = (line: string): boolean => /^\s*\|/.test(line);

/** Headings cannot be broken. */
function longLines(document: SourceFile): string[] {
  return linesOf(document)
    .filter(({ line }) => !isTable(line) && !line.startsWith('#') && line.length > COLUMNS_MAX)
    .map(({ at }) => `${document.path}:${at}`);
}

function longCells(document: SourceFile): string[] {
  return linesOf(document)
    .filter(({ line }) => isTable(line))
    .filter(({ line }) => line.split(/(?<!\\)\|/).some((cell) => cell.trim().length >= CELL_MAX))
    .map(({ at }) => `${document.path}:${at}`);
}

/** Links to files of the tree that are not there. */
function brokenLinks(document: SourceFile): string[] {
  return linesOf(document).flatMap(({ at, line }) =>
    [...line.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => !existsSync(join(root, dirname(document.path), target)))
      .map((target) => `${document.path}:${at}: ${target}`),
  );
}

/** These describe the past, or files that are yet to be written. */
const NOT_OF_NOW = /^docs\/(?:adr|howto)\/|^docs\/profiling\.md$|^CHANGELOG\.md$/;

/**
 * Whether a name leads to one file: it is a path from the root or from the page, or it is the end of one path only. A name
 * that fits two files may mean either, and a file that moves to another package must not go unnoticed.
 */
function isFound(name: string, page: string): boolean {
  if (all.includes(name) || all.includes(join(dirname(page), name))) return true;
  return all.filter((path) => path.endsWith(`/${name}`)).length === 1;
}

/** Sources in backquotes that are not there, or whose name fits several files. */
function missingFiles(document: SourceFile): string[] {
  if (NOT_OF_NOW.test(document.path)) return [];
  return linesOf(document).flatMap(({ at, line }) =>
    [...line.matchAll(/`([\w@./-]+\.(?:ts|c|proto))`/g)]
      .map(([, name]) => name!)
      .filter((name) => !isFound(name, document.path))
      .map((name) => `${document.path}:${at}: ${name}`),
  );
}

const folders = [...new Set(all.flatMap((path) => ancestorsOf(dirname(path))))];

function ancestorsOf(folder: string): string[] {
  return folder === '.' ? [] : [folder, ...ancestorsOf(dirname(folder))];
}

/** Folders in backquotes that are not there. A short name may fit several: the list around it says where it is. */
function missingFolders(document: SourceFile): string[] {
  if (NOT_OF_NOW.test(document.path)) return [];
  return linesOf(document).flatMap(({ at, line }) =>
    [...line.matchAll(/`([a-z][\w@./-]*)\/`/g)]
      .map(([, name]) => name!)
      .filter((name) => !folders.some((folder) => folder === name || folder.endsWith(`/${name}`)))
      .map((name) => `${document.path}:${at}: ${name}/`),
  );
}

/** Sources that a comment names and that are nowhere. */
function missingInComments({ path, source }: SourceFile): string[] {
  return source.split('\n').flatMap((line, index) =>
    [...(/^\s*(?:\/\/|\/?\*)/.test(line) ? line : '').matchAll(/\w[\w./-]*\.ts\b/g)]
      .map(([name]) => name)
      .filter((name) => !all.some((file) => file === name || file.endsWith(`/${name}`)))
      .map((name) => `${path}:${index + 1}: ${name}`),
  );
}

it('the README is one page', () => {
  expect(read('README.md').source.trimEnd().split('\n').length).toBeLessThanOrEqual(README_LINES_MAX);
});

/** Decisions that are written at the same time take the same number, and links by number then lead to either. */
it('no two decisions have the same number', () => {
  const numbers = all.map((path) => /^docs\/adr\/(\d{4})-/.exec(path)?.[1]).filter((number) => number !== undefined);
  expect(numbers.filter((number, index) => numbers.indexOf(number) !== index)).toEqual([]);
});

it('no line of a document is longer than 120 columns', () => {
  expect(documents.flatMap(longLines)).toEqual([]);
});

it('no table cell of a document has 80 characters or more', () => {
  expect(documents.flatMap(longCells)).toEqual([]);
});

it('links between documents lead to files that exist', () => {
  expect(documents.flatMap(brokenLinks)).toEqual([]);
});

it('documents name files that exist, each by a path that fits one file', () => {
  expect(documents.flatMap(missingFiles)).toEqual([]);
});

it('documents name folders that exist', () => {
  expect(documents.flatMap(missingFolders)).toEqual([]);
});

it('comments name files that exist', () => {
  expect(code.flatMap(missingInComments)).toEqual([]);
});

it('a source of more than 340 lines is argued in the architecture, and none of 300 or fewer', () => {
  const page = read('docs/architecture.md').source;
  const argued = page.slice(page.indexOf('### Long files'), page.indexOf('\n## ', page.indexOf('### Long files')));
  const names = [...argued.matchAll(/`([\w./-]+\.ts)`/g)].map(([, name]) => name!);
  const isNamed = (path: string): boolean => names.some((name) => `/${path}`.endsWith(`/${name}`));
  const lines = new Map(code.map(({ path, source }) => [path, source.trimEnd().split('\n').length]));
  const sources = [...lines].filter(([path]) => !/\.test\.ts$|\/gen\//.test(path));
  expect(sources.filter(([path, count]) => count > LONG + LONG_SLACK && !isNamed(path))).toEqual([]);
  expect(sources.filter(([path, count]) => count <= LONG && isNamed(path))).toEqual([]);
});

it('each of the three flows has ten steps', () => {
  const flows = read('docs/flow.md').source.split('\n## ').slice(1, 4);
  const steps = flows.map((flow) => [...flow.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number)));
  expect(steps).toEqual(Array.from({ length: 3 }, () => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
});

const sample = (source: string): SourceFile => ({ path: 'docs/a.md', source });

it('finds a long line, a long cell, a broken link and a missing name, and leaves fences alone', () => {
  const long = 'x'.repeat(COLUMNS_MAX + 1);
  expect(longLines(sample(`# ${long}\n${long}\n\`\`\`\n${long}\n\`\`\``))).toEqual(['docs/a.md:2']);
  expect(longCells(sample(`| a | ${'x'.repeat(CELL_MAX)} |\n| a | b \\| ${'x'.repeat(CELL_MAX - 9)} |`))).toEqual([
    'docs/a.md:1',
  ]);
  expect(missingFiles(sample('`import-rules.test.ts` `rules/nowhere.ts` `a.txt`'))).toEqual([
    'docs/a.md:1: rules/nowhere.ts',
  ]);
  expect(
    missingFiles(sample('`effects.ts` `failover/effects.ts` `protocol/src/return-values.ts` `a/../a.ts`')),
  ).toEqual(['docs/a.md:1: effects.ts', 'docs/a.md:1: protocol/src/return-values.ts', 'docs/a.md:1: a/../a.ts']);
  expect(missingFolders(sample('`hsm-core/src/capture/` `cryptoki/src/capture/` `/tmp/`'))).toEqual([
    'docs/a.md:1: cryptoki/src/capture/',
  ]);
  expect(missingInComments({ path: 'a.ts', source: "/** See nowhere.ts, tree.ts. */\nimport './other.ts';" })).toEqual([
    'a.ts:1: nowhere.ts',
  ]);
  expect(brokenLinks(sample('[a](errors.md#x) [b](nowhere.md) [c](https://example.org/x)'))).toEqual([
    'docs/a.md:1: nowhere.md',
  ]);
});
