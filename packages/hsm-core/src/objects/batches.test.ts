import { expect, it } from 'vitest';
import { BATCH, BATCH_BYTES, bytesIn, inBatches } from './batches.ts';

const sizes = (items: readonly number[], bytesOf?: (item: number) => number): number[] =>
  [...inBatches(items, bytesOf)].map(({ length }) => length);

it('cuts by count, leaves none out, and keeps the order', () => {
  const items = Array.from({ length: 2 * BATCH + 1 }, (_, index) => index);
  expect(sizes(items)).toEqual([BATCH, BATCH, 1]);
  expect([...inBatches(items)].flat()).toEqual(items);
  expect(sizes([])).toEqual([]);
});

it('cuts by another count where that is asked', () => {
  expect([...inBatches([1, 2, 3, 4, 5], undefined, 2)]).toEqual([[1, 2], [3, 4], [5]]);
});

it('cuts by what the items bring along, and lets one that is larger by itself pass alone', () => {
  const quarter = BATCH_BYTES / 4;
  const bytesOf = (item: number): number => item;
  expect(sizes([quarter, quarter, quarter, quarter, quarter], bytesOf)).toEqual([4, 1]);
  expect(sizes([1, 2 * BATCH_BYTES, 1], bytesOf)).toEqual([1, 1, 1]);
});

it('counts the bytes of a value however deep they are, so that large public objects are cut too', () => {
  const certificate = (bytes: number) => ({
    handle: 1n,
    objectClass: 'certificate',
    attributes: { value: new Uint8Array(bytes), label: Buffer.from('large'), private: false },
  });
  expect([bytesIn(certificate(9)), bytesIn([certificate(1), new Uint8Array(3)]), bytesIn(undefined)]).toEqual([
    14, 9, 0,
  ]);
  const half = BATCH_BYTES / 2;
  expect([...inBatches([half, half, 9, half].map(certificate), bytesIn)].map((batch) => batch.length)).toEqual([
    1, 2, 1,
  ]);
});
