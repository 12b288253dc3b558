import { beforeEach, expect, it } from 'vitest';
import { ByteBudget } from './byte-budget.ts';

let budget: ByteBudget;
let got: string[];
const take = (name: string, bytes: number) => budget.take(bytes, () => got.push(name));

beforeEach(() => {
  budget = new ByteBudget(10);
  got = [];
});

it('gives at once what is free, and the rest in the order asked when it comes back', () => {
  const first = take('a', 6);
  take('b', 6);
  take('c', 2);
  expect(got).toEqual(['a']);
  first.end();
  expect(got).toEqual(['a', 'b', 'c']);
});

it('gives back what a holder does not need after all', () => {
  const first = take('a', 10);
  take('b', 9);
  first.shrink(1);
  expect(got).toEqual(['a', 'b']);
  first.shrink(8);
  first.end();
  first.end();
  take('c', 1);
  expect(got).toEqual(['a', 'b', 'c']);
});

it('forgets who stops waiting', () => {
  const first = take('a', 10);
  const second = take('b', 10);
  take('c', 10);
  second.end();
  first.end();
  expect(got).toEqual(['a', 'c']);
});

it('counts more than the whole as the whole, and is idle when nobody holds or waits', () => {
  const first = take('a', 1_000);
  expect([got, budget.isIdle]).toEqual([['a'], false]);
  first.end();
  expect(budget.isIdle).toBe(true);
});
