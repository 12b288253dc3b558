import { expect, it } from 'vitest';
import { StoreAge } from './store-age.ts';

const stampsOf = (older: () => readonly string[]) => new StoreAge({ older, put: () => true });

it('tells the groups for which the store is an older copy', () => {
  expect(stampsOf(() => ['payments']).begin()()).toEqual(['payments']);
  expect(stampsOf(() => []).begin()()).toEqual([]);
  expect(new StoreAge(undefined).begin()()).toEqual([]);
});

it.each([
  ['an older copy', [], ['payments']],
  ['the newest', ['payments'], []],
  ['an older copy for another group', ['payments'], ['orders']],
])('ends a look during which %s has come into the place of the store', (_what, ...older) => {
  const end = stampsOf(() => older.shift() ?? []).begin();
  expect(end).toThrow(expect.objectContaining({ code: 'HSM_SESSION_VOID' }));
});
