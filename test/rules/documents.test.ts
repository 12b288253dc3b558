/** Documents can be read at a glance: the README is one page, lines and table cells are short, and links lead somewhere. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { paths, read, root, type SourceFile } from './support/tree.ts';

const README_LINES_MAX = 110;
const COLUMNS_MAX = 120;
const CELL_MAX = 80;

const all = paths();
const documents = all.filter((path) => path.endsWith('.md')).map(read);

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

/** Sources in backquotes, by their name or the end of their path, that are not there. */
function missingFiles(document: SourceFile): string[] {
  if (NOT_OF_NOW.test(document.path)) return [];
  return linesOf(document).flatMap(({ at, line }) =>
    [...line.matchAll(/`([\w@./-]+\.(?:ts|c|proto))`/g)]
      .map(([, name]) => name!)
      .filter((name) => !all.some((path) => path === name || path.endsWith(`/${name}`)))
      .map((name) => `${document.path}:${at}: ${name}`),
  );
}

it('the README is one page', () => {
  expect(read('README.md').source.trimEnd().split('\n').length).toBeLessThanOrEqual(README_LINES_MAX);
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

it('documents name files that exist', () => {
  expect(documents.flatMap(missingFiles)).toEqual([]);
});

it('each of the three flows has ten steps', () => {
  const flows = read('docs/flow.md').source.split('\n## ').slice(1, 4);
  const steps = flows.map((flow) => [...flow.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number)));
  expect(steps).toEqual(Array.from({ length: 3 }, () => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
});

const sample = (source: string): SourceFile => ({ path: 'docs/a.md', source });

it('finds a long line, a long cell, a broken link and a missing file, and leaves fences alone', () => {
  const long = 'x'.repeat(COLUMNS_MAX + 1);
  expect(longLines(sample(`# ${long}\n${long}\n\`\`\`\n${long}\n\`\`\``))).toEqual(['docs/a.md:2']);
  expect(longCells(sample(`| a | ${'x'.repeat(CELL_MAX)} |\n| a | b \\| ${'x'.repeat(CELL_MAX - 9)} |`))).toEqual([
    'docs/a.md:1',
  ]);
  expect(missingFiles(sample('`import-rules.test.ts` `rules/nowhere.ts` `a.txt`'))).toEqual([
    'docs/a.md:1: rules/nowhere.ts',
  ]);
  expect(brokenLinks(sample('[a](errors.md#x) [b](nowhere.md) [c](https://example.org/x)'))).toEqual([
    'docs/a.md:1: nowhere.md',
  ]);
});
