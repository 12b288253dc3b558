import { expect, it } from 'vitest';
import { ATTRIBUTES, attributesOf } from '../model/attributes.ts';
import { KEY_KINDS, kindOfNumber, kindOfObject, kindOfType } from './kinds.ts';

it.each(KEY_KINDS.map((kind) => [kind.type, kind] as const))('finds %s by its type and by its number', (type, kind) => {
  expect([kindOfType(type), kindOfNumber(kind.number), kindOfObject({ keyType: type })]).toEqual([kind, kind, kind]);
});

/** A number that a vendor may define. */
const CKK_OF_NOBODY = 0x8000_0001;

it('knows no kind of a key that does not move', () => {
  expect(kindOfNumber(CKK_OF_NOBODY)).toBeUndefined();
  expect(kindOfObject({ keyType: 'unsupported' })).toBeUndefined();
  expect(kindOfObject({})).toBeUndefined();
});

it('makes public halves of attributes that a public key brings with it', () => {
  const brought = new Set<number>(attributesOf('public-key').map((name) => ATTRIBUTES[name].type));
  for (const { pair } of KEY_KINDS)
    for (const part of [...(pair?.publicParts ?? []), ...(pair?.privateParts ?? [])]) expect(brought).toContain(part);
});
