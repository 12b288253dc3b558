import { CKA, CKK, CKO, ulong } from '@antipode/cryptoki';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kindOfType } from '../../key-kinds/kinds.ts';
import {
  ASSUMED,
  ATTRIBUTE_NAMES,
  ATTRIBUTES,
  type Attributes,
  attributesOf,
  setAttribute,
  USES,
} from '../../model/attributes.ts';
import { encodeNested } from '../../model/nested-template.ts';
import type { ObjectClass } from '../../model/object.ts';
import { classNumber, templateOf } from './objects.ts';

const CLASSES: readonly ObjectClass[] = ['secret-key', 'private-key', 'public-key', 'certificate', 'data'];
const MODIFIABLE = CKA.MODIFIABLE;

const VALUES = {
  boolean: fc.boolean(),
  number: fc.nat(),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 4 }),
  date: fc.constant('20260101'),
  template: fc.constant(encodeNested([{ type: CKA.SENSITIVE, value: Uint8Array.of(1) }])),
  mechanisms: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
};

/** Any attributes at all, also of other classes. */
const attributes = fc
  .tuple(
    ...ATTRIBUTE_NAMES.map((name) =>
      fc.option(fc.tuple(fc.constant(name), VALUES[ATTRIBUTES[name].kind]), { nil: undefined }),
    ),
  )
  .map((chosen) => {
    const set: Attributes = {};
    for (const one of chosen) if (one !== undefined) setAttribute(set, ...one);
    return set;
  });

describe('a template', () => {
  it('forbids last, and modification at the very end, and names nothing twice', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CLASSES), attributes, (objectClass, given) => {
        const types = templateOf(objectClass, given).map(([type]) => type);
        const forbidding: number[] = ['modifiable', 'copyable', 'destroyable'].map(
          (name) => ATTRIBUTES[name as 'modifiable'].type,
        );
        const first = types.findIndex((type) => forbidding.includes(type));
        if (first !== -1) for (const type of types.slice(first)) expect(forbidding).toContain(type);
        if (types.includes(MODIFIABLE)) expect(types.at(-1)).toBe(MODIFIABLE);
        expect(new Set(types).size).toBe(types.length);
      }),
    );
  });

  it('holds what applies to the class and may be set, every use, and nothing that goes without saying', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CLASSES), attributes, (objectClass, given) => {
        const wanted = attributesOf(objectClass).filter(
          (name) =>
            USES.includes(name) ||
            (given[name] !== undefined && given[name] !== ASSUMED[name] && ATTRIBUTES[name].inTemplate),
        );
        const types = templateOf(objectClass, given).map(([type]) => type);
        expect(types.sort()).toEqual(wanted.map((name) => ATTRIBUTES[name].type).sort());
      }),
    );
  });

  it('has room in SoftHSM, which takes 32 attributes, class, key type and TOKEN among them', () => {
    for (const objectClass of CLASSES) {
      const settable = attributesOf(objectClass).filter((name) => ATTRIBUTES[name].inTemplate);
      expect(settable.length + 3).toBeLessThanOrEqual(32);
    }
  });

  it('leaves out what is empty, since a token has that without being told', () => {
    const empty: Attributes = { id: new Uint8Array(), subject: new Uint8Array(), allowedMechanisms: [] };
    expect(templateOf('certificate', { ...empty, certificateType: 0 })).toEqual([[CKA.CERTIFICATE_TYPE, 0]]);
  });

  it('forbids every use that it was not told of, since a token may allow what it is not told', () => {
    const uses = (given: Attributes) => templateOf('private-key', given).map(([type, value]) => [type, value]);
    const named = (['decrypt', 'unwrap', 'sign', 'signRecover', 'derive'] as const).map(
      (name) => ATTRIBUTES[name].type,
    );
    expect(uses({})).toEqual(named.map((type) => [type, false]));
    expect(uses({ sign: true })).toEqual(named.map((type) => [type, type === CKA.SIGN]));
  });

  it('writes mechanisms as the machine has its numbers, and dates as text', () => {
    const template = new Map(templateOf('secret-key', { allowedMechanisms: [0x1087], startDate: '20260131' }));
    expect(template.get(CKA.ALLOWED_MECHANISMS)).toEqual(ulong(0x1087));
    expect(template.get(CKA.START_DATE)).toEqual(Buffer.from('20260131'));
  });
});

it('gives every class and key type the number of the standard', () => {
  expect(CLASSES.map(classNumber)).toEqual([
    CKO.SECRET_KEY,
    CKO.PRIVATE_KEY,
    CKO.PUBLIC_KEY,
    CKO.CERTIFICATE,
    CKO.DATA,
  ]);
  expect((['aes', 'generic-secret', 'rsa', 'ec'] as const).map((type) => kindOfType(type).number)).toEqual([
    CKK.AES,
    CKK.GENERIC_SECRET,
    CKK.RSA,
    CKK.EC,
  ]);
});
