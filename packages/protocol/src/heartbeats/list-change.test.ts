import { thrown } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LIST_MAX, type ListPart, putTogether, toldSince } from './list-change.ts';

interface Item {
  readonly key: string;
  readonly value: number;
}

const likeness = {
  keyOf: ({ key }: Item) => key,
  isSame: (one: Item, other: Item) => one.key === other.key && one.value === other.value,
};
const items = fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd', 'e'), value: fc.nat(2) }), {
  maxLength: 8,
});

it('puts exactly the same list together, in its order, even if keys repeat', () => {
  fc.assert(
    fc.property(items, items, (now, earlier) => {
      const told = toldSince(now, earlier, likeness);
      expect(putTogether(told, earlier, 'members')).toEqual(now);
    }),
  );
});

it('tells of a long list only what has changed', () => {
  const earlier = Array.from({ length: 250 }, (_, at) => ({ key: `g${at}`, value: 0 }));
  const gone = earlier.toSpliced(10, 1);
  const now = [...gone.with(100, { key: 'g101', value: 1 }), { key: 'new', value: 0 }];
  const told = toldSince(now, earlier, likeness);
  expect(told.items).toEqual([
    { key: 'g101', value: 1 },
    { key: 'new', value: 0 },
  ]);
  expect(told.parts).toEqual([
    { from: 0, count: 10 },
    { from: 11, count: 90 },
    { count: 1 },
    { from: 102, count: 148 },
    { count: 1 },
  ]);
});

it('gives the earlier list itself where nothing has changed', () => {
  const earlier = [{ key: 'a', value: 1 }];
  expect(putTogether(toldSince([{ key: 'a', value: 1 }], earlier, likeness), earlier, 'members')).toBe(earlier);
});

it.each<[string, readonly ListPart[]]>([
  ['items that the earlier list does not have', [{ from: 1, count: 2 }, { count: 1 }]],
  ['more new items than there are', [{ count: 2 }]],
  ['fewer new items than there are', [{ from: 0, count: 2 }]],
  ['more items than a list can have', Array.from({ length: LIST_MAX / 2 + 1 }, () => ({ from: 0, count: 2 }))],
])('refuses a list made of %s', (_what, parts) => {
  const earlier = ['a', 'b'];
  const error = thrown(() => putTogether({ parts, items: ['c'] }, earlier, 'members'));
  expect([error.code, error.details]).toEqual(['REQUEST_INVALID', { field: 'members' }]);
});
