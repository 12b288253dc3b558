import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ATTRIBUTE_NAMES, ATTRIBUTES, type Attributes, attributesOf, setAttribute } from '../model/attributes.ts';
import type { ObjectClass } from '../model/object.ts';
import { CKA, CKK, CKO } from './constants.ts';
import { type Cryptoki, ulong } from './cryptoki.ts';
import { classNumber, keyTypeNumber, readObject, templateOf } from './objects.ts';
import { CryptokiFailure } from './return-values.ts';

fc.configureGlobal({ seed: 2026 });

const CLASSES: readonly ObjectClass[] = ['secret-key', 'private-key', 'public-key', 'certificate', 'data'];
const MODIFIABLE = ATTRIBUTES.modifiable.type;

const VALUES = {
  boolean: fc.boolean(),
  number: fc.nat(),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 4 }),
  date: fc.constant('20260101'),
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

  it('holds exactly what applies to the class and may be set', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CLASSES), attributes, (objectClass, given) => {
        const wanted = attributesOf(objectClass).filter(
          (name) => given[name] !== undefined && ATTRIBUTES[name].inTemplate,
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
    expect(templateOf('private-key', { ...empty, sign: false })).toEqual([[ATTRIBUTES.sign.type, false]]);
  });

  it('writes mechanisms as the machine has its numbers, and dates as text', () => {
    const template = new Map(templateOf('secret-key', { allowedMechanisms: [0x1087], startDate: '20260131' }));
    expect(template.get(ATTRIBUTES.allowedMechanisms.type)).toEqual(ulong(0x1087));
    expect(template.get(ATTRIBUTES.startDate.type)).toEqual(Buffer.from('20260131'));
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
  expect((['aes', 'generic-secret', 'rsa', 'ec'] as const).map(keyTypeNumber)).toEqual([
    CKK.AES,
    CKK.GENERIC_SECRET,
    CKK.RSA,
    CKK.EC,
  ]);
});

/** Reads an object that has these attributes, by number; a failure is what the token answers to that one. */
function read(values: Record<number, Buffer | CryptokiFailure | number | boolean>, digestKey = Buffer.alloc(32)) {
  const cryptoki = {
    attributes: (_session: bigint, _object: bigint, types: readonly number[]) => {
      const found = types.flatMap((type): [number, Buffer][] => {
        const value = values[type];
        if (value instanceof CryptokiFailure) throw value;
        if (typeof value === 'number') return [[type, ulong(value)]];
        if (typeof value === 'boolean') return [[type, Buffer.of(value ? 1 : 0)]];
        return value === undefined ? [] : [[type, value]];
      });
      return new Map(found);
    },
  } as unknown as Cryptoki;
  return readObject({ cryptoki, session: 1n, digestKey }, 7n)!;
}

const { sign, label, certificateType, startDate, endDate, allowedMechanisms } = ATTRIBUTES;

describe('an object is read', () => {
  it('as a secret with the length that the token tells', () => {
    const secret = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES };
    expect(read({ ...secret, [CKA.VALUE_LEN]: 32, [sign.type]: true, [label.type]: Buffer.from('a') })).toMatchObject({
      handle: 7n,
      objectClass: 'secret-key',
      keyType: 'aes',
      sizeBits: 256,
      attributes: { sign: true, label: new Uint8Array(Buffer.from('a')) },
    });
    expect(read(secret).sizeBits).toBe(0);
  });

  it.each([1024, 2047, 2048])('as an RSA key of %i bits, however many zeros stand before its modulus', (bits) => {
    const modulus = Buffer.alloc(Math.ceil(bits / 8), 0xff);
    modulus[0] = bits % 8 === 0 ? 0xff : 2 ** (bits % 8) - 1;
    const key = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.KEY_TYPE]: CKK.RSA, [CKA.PUBLIC_EXPONENT]: Buffer.of(1, 0, 1) };
    for (const zeros of [0, 1, 3])
      expect(read({ ...key, [CKA.MODULUS]: Buffer.concat([Buffer.alloc(zeros), modulus]) }).sizeBits).toBe(bits);
  });

  it('as an EC key with the public half that its point gives', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
    const spki = publicKey.export({ format: 'der', type: 'spki' });
    const point = spki.subarray(-97);
    const key = {
      [CKA.CLASS]: CKO.PUBLIC_KEY,
      [CKA.KEY_TYPE]: CKK.EC,
      [CKA.EC_PARAMS]: Buffer.from('06052b81040022', 'hex'),
    };
    const whole = read({ ...key, [CKA.EC_POINT]: Buffer.concat([Buffer.of(4, 97), point]) });
    expect([whole.sizeBits, whole.publicHalf]).toEqual([384, new Uint8Array(spki)]);
    expect(read(key).publicHalf).toBeUndefined();
  });

  it('as unsupported or other where it is none of ours', () => {
    expect(read({ [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: 0x13 }).keyType).toBe('unsupported');
    expect(read({ [CKA.CLASS]: 0x8000_0001 })).toMatchObject({ objectClass: 'other', attributes: {} });
    expect(read({}).objectClass).toBe('other');
  });

  it('without what the token gives in another form than the standard has', () => {
    const read1 = read({
      [CKA.CLASS]: CKO.CERTIFICATE,
      [certificateType.type]: Buffer.alloc(8, 0xff),
      [startDate.type]: Buffer.from('        '),
      [endDate.type]: new CryptokiFailure('C_GetAttributeValue', 0x12),
      [ATTRIBUTES.private.type]: Buffer.alloc(8),
    });
    expect(read1.attributes).toEqual({});
  });

  it('with its mechanisms in ascending order', () => {
    const list = Buffer.concat([0x1087, 0x40].map(ulong));
    const key = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES, [allowedMechanisms.type]: list };
    expect(read(key).attributes.allowedMechanisms).toEqual([0x40, 0x1087]);
  });

  it('with a digest that any change shows, and that tells no value to whoever has not the key of the worker', () => {
    const data = { [CKA.CLASS]: CKO.DATA, [CKA.VALUE]: Buffer.from('1234'), [label.type]: Buffer.from('a') };
    const digest = read(data).readDigest;
    expect(read({ ...data }).readDigest).toBe(digest);
    expect(read({ ...data, [CKA.VALUE]: Buffer.from('1235') }).readDigest).not.toBe(digest);
    expect(read({ ...data, [label.type]: Buffer.from('b') }).readDigest).not.toBe(digest);
    expect(read(data, Buffer.alloc(32, 1)).readDigest).not.toBe(digest);
    expect(JSON.stringify(read(data), (_, value: unknown) => (typeof value === 'bigint' ? '' : value))).not.toContain(
      '1234',
    );
  });
});
