import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { paths, read, root } from './support/tree.ts';

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly scripts?: Record<string, string>;
  readonly license?: string;
}

/** What docs/dependencies.md says of a package. */
interface Row {
  readonly version: string;
  readonly license: string;
  readonly reason: string;
}

const manifests = paths()
  .filter((path) => path === 'package.json' || path.endsWith('/package.json'))
  .map((path) => JSON.parse(read(path).source) as Manifest);

const direct = manifests
  .flatMap(({ dependencies, devDependencies, optionalDependencies }) => [
    ...Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies }),
  ])
  .filter(([name]) => !name.startsWith('@antipode/'));

const rows = new Map<string, Row>(
  [...read('docs/dependencies.md').source.matchAll(/^\| `(.+?)` +\| (.+?) +\| (.+?) +\| (.+?) +\|$/gm)].map(
    ([, name = '', version = '', license = '', reason = '']) => [name, { version, license, reason }],
  ),
);

it('every direct dependency is listed, and nothing else', () => {
  expect([...rows.keys()].sort()).toEqual([...new Set(direct.map(([name]) => name))].sort());
});

it.each(direct)('%s has one exact version, %s, and the list says it', (name, version) => {
  expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  expect(rows.get(name)?.version).toBe(version);
});

it.each([...rows])('%s has the licence that the list says', (name, { license }) => {
  const file = join(root, 'node_modules', name, 'package.json');
  // The Node for the other architecture is not here.
  if (!existsSync(file)) return expect(name).toMatch(/^node-linux-/);
  expect((JSON.parse(readFileSync(file, 'utf8')) as Manifest).license).toBe(license);
});

it('no package of ours runs a script on installation', () => {
  const onInstall = ['preinstall', 'install', 'postinstall', 'prepare'];
  expect(
    manifests.flatMap(({ scripts }) => Object.keys(scripts ?? {})).filter((name) => onInstall.includes(name)),
  ).toEqual([]);
});
