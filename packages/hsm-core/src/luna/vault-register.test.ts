import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededPrng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import type { Vault } from './parse/archives.ts';
import { expiredIn, inTheWay, type OwnBackup, reviewOf, VaultRegister } from './vault-register.ts';

const own = (name: string, atMs: number, objects?: number): OwnBackup =>
  objects === undefined ? { name, atMs, state: 'begun' } : { name, atMs, state: 'complete', objects };

const vaultOf = (archives: Record<string, number>, freeBytes = 1_000): Vault => ({
  freeBytes,
  archives: Object.entries(archives).map(([name, objectCount]) => ({
    ...{ name, objectCount, totalBytes: 100 * objectCount + 10 },
    usedBytes: 100 * objectCount,
  })),
});

const OWN = [own('a', 1, 2), own('b', 2, 2), own('c', 3), own('d', 4, 2), own('e', 5), own('f', 6)];

it('names what is in a vault, by whom it was made', () => {
  const review = reviewOf(vaultOf({ a: 2, b: 3, c: 1, e: 0, x: 1, y: 0 }), OWN);
  expect({ ...review, holders: undefined }).toMatchObject({
    complete: [{ name: 'a' }],
    changed: [{ name: 'b' }],
    cutShort: [{ name: 'e' }, { name: 'c' }],
    lost: ['d'],
    neverMade: ['f'],
    foreign: [{ name: 'x' }, { name: 'y' }],
    orphans: ['y'],
  });
});

it.each([
  ['complete ones beyond the newest', { a: 2, b: 2, d: 2 }, 1, ['b', 'a']],
  ['incomplete ones that a complete one has followed', { c: 1, d: 2 }, 2, ['c']],
  ['no incomplete one that no complete one has followed', { a: 2, c: 1 }, 1, []],
  ['incomplete ones beyond as many', { c: 1, e: 1, f: 1 }, 2, ['c']],
  ['nothing that was changed, or made by others', { b: 9, x: 1, y: 0, d: 2 }, 1, []],
])('retention ends %s', (_what, archives, keep, expired) => {
  expect(expiredIn(reviewOf(vaultOf(archives), OWN), keep)).toEqual(expired);
});

it.each([
  ['an empty one', { e: 0 }, 1_000, ['e']],
  ['one that holds all the space', { c: 1 }, 0, ['c']],
  ['no other one without a successor', { c: 1 }, 1_000, []],
  ['one with a complete successor', { c: 1, d: 2 }, 1_000, ['c']],
  ['nothing of others', { x: 0 }, 0, []],
])('%s is in the way of the next backup', (_what, archives, free, names) => {
  expect(inTheWay(reviewOf(vaultOf(archives, free), OWN))).toEqual(names);
});

it('remembers a name before it is used, and in the next process', () => {
  const folder = mkdtempSync(join(tmpdir(), 'antipode-register-'));
  try {
    const open = () => new VaultRegister({ folder, serial: '../1', clock: new FakeClock(), prng: seededPrng('a') });
    const name = open().begin();
    expect(name).toMatch(/^antipode-\d{8}T\d{4}-[0-9a-f]{8}$/);
    expect(open().read()).toMatchObject([{ name, state: 'begun' }]);
    open().completed(name, 3);
    expect(open().read()).toMatchObject([{ name, state: 'complete', objects: 3 }]);
    open().forget([name]);
    expect(open().read()).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
