import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ATTRIBUTE_NAMES,
  ATTRIBUTES,
  type AttributeName,
  type AttributeValue,
  attributesOf,
  decodeAttribute,
  encodeAttribute,
} from './attributes.ts';
import { encodeNested } from './nested-template.ts';

const named = fc.constantFrom(...ATTRIBUTE_NAMES);
const word = fc.maxSafeNat();
/** Of two rules at most, each of which is true or false. */
const templates = fc
  .uniqueArray(fc.constantFrom(ATTRIBUTES.sensitive, ATTRIBUTES.sign, ATTRIBUTES.extractable), { maxLength: 3 })
  .chain((rules) => fc.tuple(...rules.map(({ type }) => fc.nat(1).map((bit) => ({ type, value: Uint8Array.of(bit) })))))
  .map((entries) => new Uint8Array(encodeNested(entries)));
const digits = fc.integer({ min: 0, max: 99_999_999 }).map((number) => String(number).padStart(8, '0'));

function valuesOf(name: AttributeName): fc.Arbitrary<AttributeValue> {
  switch (ATTRIBUTES[name].kind) {
    case 'boolean':
      return fc.boolean();
    case 'number':
      return word;
    case 'bytes':
      return fc.uint8Array({ maxLength: 40 });
    case 'template':
      return templates;
    case 'date':
      return digits;
    case 'mechanisms':
      return fc.array(word, { maxLength: 5 }).map((list) => list.sort((a, b) => a - b));
  }
}

const attribute = named.chain((name) => fc.record({ name: fc.constant(name), value: valuesOf(name) }));

describe('the canonical bytes of an attribute', () => {
  it('give back name and value', () => {
    fc.assert(
      fc.property(attribute, ({ name, value }) => {
        expect(decodeAttribute(ATTRIBUTES[name].type, encodeAttribute(name, value))).toEqual({ name, value });
      }),
    );
  });

  it('are the only bytes that give back the value', () => {
    fc.assert(
      fc.property(named, fc.uint8Array({ maxLength: 24 }), (name, bytes) => {
        const decoded = decodeAttribute(ATTRIBUTES[name].type, bytes);
        if (decoded === undefined || ATTRIBUTES[name].kind === 'mechanisms') return;
        if (typeof decoded.value === 'number' && !Number.isSafeInteger(decoded.value)) return;
        expect(Buffer.from(encodeAttribute(name, decoded.value))).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 500 },
    );
  });

  it("list mechanisms in ascending order, whatever the token's order is", () => {
    const bytes = encodeAttribute('allowedMechanisms', [0x1087, 0x40, 0x1041]);
    expect(decodeAttribute(ATTRIBUTES.allowedMechanisms.type, bytes)?.value).toEqual([0x40, 0x1041, 0x1087]);
  });
});

it.each<[string, AttributeName, number[]]>([
  ['a boolean of two bytes', 'sign', [1, 0]],
  ['a boolean of none', 'sign', []],
  ['a boolean that is neither 0 nor 1', 'sign', [2]],
  ['a number of seven bytes', 'certificateType', [0, 0, 0, 0, 0, 0, 1]],
  ['a date with a letter', 'startDate', [...Buffer.from('2026O101')]],
  ['a date of seven digits', 'startDate', [...Buffer.from('2026010')]],
  ['a date with a line after it', 'startDate', [...Buffer.from('20260101\n')]],
  ['half a mechanism', 'allowedMechanisms', [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]],
])('refuses %s', (_what, name, bytes) => {
  expect(decodeAttribute(ATTRIBUTES[name].type, Uint8Array.from(bytes))).toBeUndefined();
});

it('refuses a type that is not in the table', () => {
  expect(decodeAttribute(0x161, new Uint8Array(8))).toBeUndefined();
});

describe('the table', () => {
  it('has each number once', () => {
    const types = ATTRIBUTE_NAMES.map((name) => ATTRIBUTES[name].type);
    expect(new Set(types).size).toBe(types.length);
  });

  it.each(['secret-key', 'private-key', 'public-key', 'certificate', 'data'] as const)(
    'names what applies to a %s in the order of the numbers',
    (objectClass) => {
      const types = attributesOf(objectClass).map((name) => ATTRIBUTES[name].type);
      expect(types).toEqual([...types].sort((a, b) => a - b));
      expect(types.length).toBeGreaterThan(0);
    },
  );

  it('never reads or writes the value of a secret, of a private key or of a data object', () => {
    for (const objectClass of ['secret-key', 'private-key', 'data'] as const)
      expect(attributesOf(objectClass)).not.toContain('value');
  });

  it('puts nothing into a template that a token sets by itself', () => {
    const history = ['local', 'neverExtractable', 'alwaysSensitive', 'keyGenMechanism', 'checkValue'] as const;
    for (const name of history) expect(ATTRIBUTES[name]).toMatchObject({ inTemplate: false, fate: 'carried' });
  });
});
