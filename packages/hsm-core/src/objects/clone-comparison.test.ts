import { expect, it } from 'vitest';
import type { Attributes } from '../model/attributes.ts';
import { differencesOf, historyDifferences } from './clone-comparison.ts';

const KEY: Attributes = {
  label: Buffer.from('key'),
  sensitive: true,
  extractable: false,
  sign: true,
  local: true,
  neverExtractable: true,
  keyGenMechanism: 0x350,
  startDate: '20260101',
  allowedMechanisms: [0x251, 0x350],
};

const key = (attributes: Attributes) => ({
  objectClass: 'secret-key' as const,
  keyType: 'generic-secret' as const,
  sizeBits: 256,
  attributes,
});

const differences = (said: Attributes, seen: Attributes) =>
  differencesOf(key(said), { ...key(seen), handle: 1n, readDigest: '' });

const without = (name: keyof Attributes): Attributes => {
  const { [name]: _, ...rest } = KEY;
  return rest;
};

it('finds no difference between equal objects', () => {
  expect(differences(KEY, { ...KEY, label: Buffer.from('key'), allowedMechanisms: [0x350, 0x251] })).toEqual([]);
});

it.each([
  ['label', Buffer.from('kez')],
  ['extractable', true],
  ['sensitive', false],
  ['local', false],
  ['keyGenMechanism', 0x351],
  ['startDate', '20260102'],
  ['allowedMechanisms', [0x251]],
] as const)('names the attribute %s where its value differs', (name, value) => {
  expect(differences(KEY, { ...KEY, [name]: value })).toEqual([name]);
  expect(differences({ ...KEY, [name]: value }, KEY)).toEqual([name]);
});

it.each(['label', 'sensitive', 'extractable', 'local', 'keyGenMechanism', 'startDate', 'allowedMechanisms'] as const)(
  'names the attribute %s where one side does not have it',
  (name) => {
    expect(differences(KEY, without(name))).toEqual([name]);
    expect(differences(without(name), KEY)).toEqual([name]);
  },
);

it('takes an attribute that is absent for the default of the standard', () => {
  expect(differences(KEY, { ...KEY, encrypt: false, modifiable: true })).toEqual([]);
  expect(differences(KEY, { ...KEY, encrypt: true, modifiable: false })).toEqual(['encrypt', 'modifiable']);
  expect(differences(KEY, without('sign'))).toEqual(['sign']);
});

it('takes an empty value for an absent one', () => {
  expect(differences(KEY, { ...KEY, id: Buffer.alloc(0) })).toEqual([]);
  expect(differences(without('allowedMechanisms'), { ...without('allowedMechanisms'), allowedMechanisms: [] })).toEqual(
    [],
  );
});

it('names the history in which they differ, and nothing else', () => {
  const seen = { ...KEY, label: Buffer.from('other'), local: false };
  expect(historyDifferences(key(KEY), { ...key(seen), handle: 1n, readDigest: '' })).toEqual(['local']);
});
