import { brotliDecompressSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { Assets } from './assets.ts';

const assets = new Assets();
const BYTES_MAX = 150_000;

it('serves modules without types, and with paths for the names of packages', () => {
  const text = assets.of('/page/fleet.ts')!.plain.toString();
  expect(text).toContain("from '/vendor/lit-html.js'");
  expect(text).not.toContain('import type');
  for (const path of assets.paths.filter((one) => /\.(ts|js)$/.test(one)))
    expect(assets.of(path)!.plain.toString()).not.toMatch(/from ?['"](?![./])/);
});

it('serves nothing that is not listed, whatever the path', () => {
  for (const path of ['/page/../src/index.ts', '/page/store.test.ts', '/page/tsconfig.json', '/package.json', '/page/'])
    expect(assets.of(path)).toBeUndefined();
});

it('is smaller than its budget, compressed as browsers get it', () => {
  const bytes = assets.paths.reduce((sum, path) => sum + assets.of(path)!.brotli.length, 0);
  expect(bytes).toBeLessThan(BYTES_MAX);
  expect(bytes).toBeGreaterThan(1_000);
});

it('compresses what it serves', () => {
  const { plain, brotli } = assets.of('/')!;
  expect(brotliDecompressSync(brotli)).toEqual(plain);
});

it('has no script and no style in the page itself', () => {
  expect(assets.of('/')!.plain.toString()).not.toMatch(/<style|style=|<script(?! type="module" src=)|\son\w+="/);
});
