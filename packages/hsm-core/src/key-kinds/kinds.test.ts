import { CKA, CKK } from '@antipode/cryptoki';
import { expect, it } from 'vitest';
import { ATTRIBUTES, attributesOf } from '../model/attributes.ts';
import { KEY_KINDS, kindOfNumber, kindOfObject, kindOfType } from './kinds.ts';

/** Curves by their identifiers: two kinds share a number, and their curves tell them. */
const PARAMS: Partial<Record<string, string>> = {
  ed25519: '06032b6570',
  ed448: '06032b6571',
  x25519: '06032b656e',
  x448: '06032b656f',
};
const shownBy = (type: string) => (attribute: number) =>
  attribute === CKA.EC_PARAMS && PARAMS[type] !== undefined ? Buffer.from(PARAMS[type], 'hex') : undefined;

it.each(KEY_KINDS.map((kind) => [kind.type, kind] as const))('finds %s by its type and by its number', (type, kind) => {
  const numbers = [kind.number, kind.alsoNumber ?? []].flat();
  expect([kindOfType(type), kindOfObject({ keyType: type })]).toEqual([kind, kind]);
  for (const number of numbers) expect(kindOfNumber(number, shownBy(type))?.type).toBe(type);
});

it('knows no kind of an Edwards key on a curve that nobody knows', () => {
  expect(kindOfNumber(CKK.EC_EDWARDS, () => undefined)).toBeUndefined();
});

/** A number that a vendor may define. */
const CKK_OF_NOBODY = 0x8000_0001;

it('knows no kind of a key that does not move', () => {
  expect(kindOfNumber(CKK_OF_NOBODY, () => undefined)).toBeUndefined();
  expect(kindOfObject({ keyType: 'unsupported' })).toBeUndefined();
  expect(kindOfObject({})).toBeUndefined();
});

it('makes public halves of attributes that a public key brings with it', () => {
  const brought = new Set<number>(attributesOf('public-key').map((name) => ATTRIBUTES[name].type));
  for (const { pair } of KEY_KINDS)
    for (const part of [...(pair?.publicParts ?? []), ...(pair?.privateParts ?? [])]) expect(brought).toContain(part);
});
