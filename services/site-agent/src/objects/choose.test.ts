import { thrown } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { chooseObjects } from './choose.ts';

const one = { objectId: '4f0c'.repeat(8), label: 'signing', ckaId: 'a1' };
const two = { objectId: '4f0d'.repeat(8), label: 'kek', ckaId: 'a1' };
const three = { objectId: 'a1'.repeat(16), label: 'kek', ckaId: '' };
const fresh = { label: 'fresh', ckaId: 'b2' };
const all = [one, two, three, fresh];
const list = 'antipode partition objects main';
const choose = (...words: string[]) => chooseObjects(all, words, { list });

it.each([
  ['a whole id', one.objectId, one],
  ['the first digits of an id', '4f0d', two],
  ['an id in capitals', '4F0C', one],
  ['a label', 'signing', one],
  ['a CKA_ID', 'b2', fresh],
  ['the label of an object without an id', 'fresh', fresh],
  ['a whole id, although another object has it as its CKA_ID', 'a1'.repeat(16), three],
])('finds an object by %s', (_, word, found) => {
  expect(choose(word)).toEqual([found]);
});

it('gives all objects without words, and each object once', () => {
  expect(choose()).toEqual(all);
  expect(choose('signing', '4f0c', 'fresh')).toEqual([one, fresh]);
});

it.each([
  ['a label that two objects have', 'kek'],
  ['digits that begin an id and are a CKA_ID', 'a1'],
  ['the beginning of two ids', '4f0'],
  ['a part of a label', 'sign'],
  ['nothing', ''],
  ['an unknown id', 'ffff'],
])('takes nobody for %s', (_, word) => {
  expect(thrown(() => choose('signing', word))).toMatchObject({ code: 'NOT_FOUND' });
});

it('repeats no label in an error, and shows where to copy an id', () => {
  const error = thrown(() => choose('signing', 'kek'));
  expect(JSON.stringify([error.message, error.details, error.hint])).not.toContain('kek');
  expect(error).toMatchObject({ details: { place: 2 }, hint: expect.stringContaining(list) });
  const hexadecimal = { objectId: '77'.repeat(16), label: 'feed', ckaId: '' };
  const twice = thrown(() => chooseObjects([hexadecimal, { label: 'feed', ckaId: '' }], ['feed'], { list }));
  expect(JSON.stringify([twice.message, twice.details])).not.toContain('feed');
});

it('keeps the rows of one object together', () => {
  const again = { ...one, state: 'set-aside' };
  expect(chooseObjects([one, again, two], ['4f0c'], { list })).toEqual([one, again]);
});
