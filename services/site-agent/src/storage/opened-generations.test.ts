import type { SealedGeneration } from '@antipode/hsm-core';
import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import { OpenedGenerations } from './opened-generations.ts';

let opened: string[];
let generations: OpenedGenerations<Sealed>;

beforeEach(() => {
  opened = [];
  generations = new OpenedGenerations<Sealed>({ keptBytesMax: 100 });
});

type Sealed = Pick<SealedGeneration, 'digest' | 'signed'>;
const sealed = (digest: string, bytes: number): Sealed => ({ digest, signed: new Uint8Array(bytes) });

const open = (digest: string, bytes = 40): Promise<Sealed> =>
  generations.get(digest, async () => {
    opened.push(digest);
    return sealed(digest, bytes);
  });

it('opens a generation once, also when several ask before it is open', async () => {
  const [one, other] = await Promise.all([open('a'), open('a')]);
  expect(one).toBe(other);
  expect(await open('a')).toBe(one);
  expect(opened).toEqual(['a']);
});

it('keeps the latest used, by their bytes', async () => {
  for (const digest of ['a', 'b', 'a', 'c']) await open(digest);
  expect(generations.kept).toEqual(['a', 'c']);
});

it('keeps one that is larger than everything that may be kept, until the next', async () => {
  await open('a');
  await open('large', 1_000);
  expect(generations.kept).toEqual(['large']);
  await open('b');
  expect(generations.kept).toEqual(['b']);
});

it('finds what somebody else still uses, although it is not kept', async () => {
  const used = await open('a');
  await open('large', 1_000);
  expect(await open('a')).toBe(used);
  expect(opened).toEqual(['a', 'large']);
});

it('tells everybody who waits why one cannot be opened, and tries again for the next', async () => {
  const fail = () => generations.get('a', () => Promise.reject(new AntipodeError('MANIFEST_INVALID', 'refused')));
  expect((await Promise.all([rejection(fail()), rejection(fail())])).map(({ code }) => code)).toEqual([
    'MANIFEST_INVALID',
    'MANIFEST_INVALID',
  ]);
  expect((await open('a')).digest).toBe('a');
});
