import { generateKeyPairSync } from 'node:crypto';
import { CKA, CKK, CKO, ulong } from '@antipode/cryptoki';
import { describe, expect, it } from 'vitest';
import { ATTRIBUTES } from '../../model/attributes.ts';
import { NOT_CARRIED } from '../../model/not-carried.ts';
import { SimulatedAttributes, type SimulatedValue } from '../../testing/simulated-attributes.ts';
import { ObjectReader } from './object-reader.ts';

const GENERAL_ERROR = { returnValue: 0x05 };

/** A reader, and the object that it reads. */
function token(values: Record<number, SimulatedValue>, digestKey: Uint8Array = Buffer.alloc(32)) {
  const { cryptoki, objects, calls } = new SimulatedAttributes();
  objects.set(7n, values);
  return { values, objects, calls, reader: new ObjectReader({ cryptoki, session: 1n, digestKey }) };
}

const read = (values: Record<number, SimulatedValue>, digestKey?: Uint8Array) =>
  token(values, digestKey).reader.read(7n)!;

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

  it('as ever by a reader that expects keys, which asks a key for nothing of certificates', () => {
    const name = { [label.type]: Buffer.from('a') };
    const secret = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES, [CKA.VALUE_LEN]: 32, ...name };
    const certificate = { [CKA.CLASS]: CKO.CERTIFICATE, [certificateType.type]: 0, [CKA.VALUE]: Buffer.of(1), ...name };
    for (const values of [secret, certificate]) {
      const { cryptoki, objects, calls } = new SimulatedAttributes();
      objects.set(7n, values);
      const likely = ['secret-key', 'private-key'] as const;
      const reader = new ObjectReader({ cryptoki, session: 1n, digestKey: undefined, likely });
      expect(reader.read(7n)).toEqual({ ...read(values), readDigest: '' });
      expect(calls.some((types) => types.includes(certificateType.type))).toBe(values === certificate);
    }
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

  it('whole where a value is longer than most, also of an object that lacks what others have', () => {
    const point = Buffer.alloc(500, 4);
    const key = { [CKA.CLASS]: CKO.PUBLIC_KEY, [CKA.KEY_TYPE]: CKK.EC, [CKA.EC_POINT]: point };
    expect(read(key).attributes.ecPoint).toEqual(new Uint8Array(point));
  });

  it('as unsupported or other where it is none of ours', () => {
    expect(read({ [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: 0x13 }).keyType).toBe('unsupported');
    expect(read({ [CKA.CLASS]: 0x8000_0001 })).toMatchObject({ objectClass: 'other', attributes: {} });
    expect(read({}).objectClass).toBe('other');
  });

  it.each([
    ['its modulus', CKO.PRIVATE_KEY, 0x05, { [CKA.MODULUS]: Buffer.alloc(256, 0xff) }, 2048],
    ['its prime', CKO.PUBLIC_KEY, 0x04, { [CKA.PRIME]: Buffer.alloc(300, 0x7f) }, 2399],
    ['its curve', CKO.PRIVATE_KEY, 0x30, { [CKA.EC_PARAMS]: Buffer.from('06052b81040022', 'hex') }, 384],
    ['its length', CKO.SECRET_KEY, 0x25, { [CKA.VALUE_LEN]: 24 }, 192],
    ['the bits of its value', CKO.PRIVATE_KEY, 0x8000_0001, { [CKA.VALUE_BITS]: 160, [CKA.PRIME]: GENERAL_ERROR }, 160],
    ['nothing', CKO.PRIVATE_KEY, 0x8000_0001, {}, undefined],
  ] as const)('outside the model with the size that is known by %s', (_what, objectClass, type, values, sizeBits) => {
    const { keyType, outside } = read({ [CKA.CLASS]: objectClass, [CKA.KEY_TYPE]: type, ...values });
    expect([keyType, outside?.keyType, outside?.sizeBits]).toEqual(['unsupported', type, sizeBits]);
  });

  it('with the unique id that the token gives it, by which an equal object under its handle is another one', () => {
    const key = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES, [label.type]: Buffer.from('a') };
    const [one, other] = ['id 1', 'id 2'].map((id) => read({ ...key, [CKA.UNIQUE_ID]: Buffer.from(id) }));
    expect(one?.uniqueId).toEqual(new Uint8Array(Buffer.from('id 1')));
    expect(one?.readDigest).not.toBe(other?.readDigest);
    expect(read(key)).not.toHaveProperty('uniqueId');
    const failing = read({ ...key, [CKA.UNIQUE_ID]: GENERAL_ERROR });
    expect([failing.attributes, failing.isPartlyRead]).toEqual([read(key).attributes, undefined]);
  });

  it('of a post-quantum key with its parameter set', () => {
    const key = { [CKA.CLASS]: CKO.PUBLIC_KEY, [CKA.KEY_TYPE]: 0x4a, [CKA.PARAMETER_SET]: 2 };
    expect(read(key).outside).toMatchObject({ keyType: 0x4a, parameterSet: 2 });
  });

  it('without what the token gives in another form than the standard has', () => {
    const read1 = read({
      [CKA.CLASS]: CKO.CERTIFICATE,
      [certificateType.type]: Buffer.alloc(8, 0xff),
      [startDate.type]: Buffer.from('        '),
      [endDate.type]: GENERAL_ERROR,
      [CKA.PRIVATE]: Buffer.alloc(8),
    });
    expect(read1.attributes).toEqual({});
  });

  it('with its mechanisms in ascending order', () => {
    const list = Buffer.concat([0x1087, 0x40].map(ulong));
    const key = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES, [allowedMechanisms.type]: list };
    expect(read(key).attributes.allowedMechanisms).toEqual([0x40, 0x1087]);
  });

  it('with a digest that shows any change, and reveals no value without the key of the worker', () => {
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

/** What SoftHSM always tells, be it empty. */
const empty = Object.fromEntries(
  (['label', 'id', 'subject', 'checkValue', 'allowedMechanisms', 'application', 'dataObjectId'] as const).map(
    (name) => [ATTRIBUTES[name].type, Buffer.alloc(0)],
  ),
);

describe('the calls for one object', () => {
  const secret = { ...empty, [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES, [label.type]: Buffer.from('a') };
  const data = { ...empty, [CKA.CLASS]: CKO.DATA, [CKA.VALUE]: Buffer.from('value') };

  it('are one for a key, which never asks for its value, and two for data and certificates', () => {
    const { reader, calls, objects } = token({ ...secret, [CKA.VALUE]: Buffer.from('the key itself') });
    for (let pass = 0; pass < 2; pass += 1) reader.read(7n);
    expect(calls.length).toBe(2);
    objects.set(8n, data);
    reader.read(8n);
    expect(calls.slice(2).map((types) => types.includes(CKA.VALUE))).toEqual([false, true]);
    expect(calls.slice(0, 2).flat()).not.toContain(CKA.VALUE);
  });

  it('give everything but the dates of an object whose dates spoil a call, and the dates of the next one', () => {
    const spoiled = { ...secret, [startDate.type]: GENERAL_ERROR, [endDate.type]: Buffer.from('20270101') };
    const { reader, objects } = token(spoiled);
    objects.set(8n, { ...secret, [startDate.type]: Buffer.from('20260101'), [endDate.type]: Buffer.alloc(0) });
    const names = read(secret).attributes;
    for (let pass = 0; pass < 3; pass += 1) {
      expect(reader.read(7n)?.attributes).toEqual({ ...names, endDate: '20270101' });
      expect(reader.read(8n)?.attributes).toEqual({ ...names, startDate: '20260101' });
    }
  });

  it('tell what else there is when more than a date is refused, and that it is not all', () => {
    const { reader } = token({ ...secret, [label.type]: Buffer.from('a'), [sign.type]: GENERAL_ERROR });
    const partly = reader.read(7n);
    expect(partly).toMatchObject({ objectClass: 'secret-key', isPartlyRead: true });
    expect(partly?.attributes).toMatchObject({ label: new Uint8Array(Buffer.from('a')) });
    expect(partly?.attributes.sign).toBeUndefined();
  });

  it('tell nothing of an object that is gone, also between two of them', () => {
    const { reader, objects } = token(data);
    expect(reader.read(9n)).toBeUndefined();
    const { get } = objects;
    let looks = 0;
    objects.get = (handle) => (++looks === 2 ? undefined : get.call(objects, handle));
    expect(reader.readDigest(7n)).toBeUndefined();
  });
});

describe('a handle', () => {
  const key = { ...empty, [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES, [label.type]: Buffer.from('a') };
  const certificate = { ...empty, [CKA.CLASS]: CKO.CERTIFICATE, [CKA.VALUE]: Buffer.from('value') };

  it('is asked only for what its class has, once that is known, and reads the same', () => {
    const { reader, calls } = token(key);
    const first = reader.read(7n);
    expect(reader.read(7n)).toEqual(first);
    expect(calls[0]).toContain(CKA.ISSUER);
    expect(calls[1]).not.toContain(CKA.ISSUER);
  });

  it('that has come to mean an object of another class gives no value of a key, and all of what it means now', () => {
    const { reader, objects, calls } = token(certificate);
    reader.read(7n);
    calls.splice(0);
    objects.set(7n, { ...key, [CKA.VALUE]: Buffer.from('the key itself') });
    const readAsKey = reader.read(7n);
    expect(readAsKey).toEqual(read(key));
    expect(calls.flat()).not.toContain(CKA.VALUE);
    objects.set(7n, { [CKA.CLASS]: 0x8000_0001 });
    expect(reader.read(7n)).toMatchObject({ objectClass: 'other' });
    objects.set(7n, certificate);
    expect(reader.read(7n)).toEqual(read(certificate));
  });
});

describe('CKA_VALUE', () => {
  const half = { [CKA.PRIME]: Buffer.alloc(128, 0xff), [CKA.SUBPRIME]: Buffer.alloc(20, 3), [CKA.BASE]: Buffer.of(2) };
  const [secret, publicValue] = [Buffer.from('the key itself'), Buffer.from('the public value')];
  const asked = (values: Record<number, SimulatedValue>) => {
    const { reader, calls } = token(values);
    return { object: reader.read(7n)!, isAsked: calls.flat().includes(CKA.VALUE) };
  };

  it('is asked of a public key whose public half it is, and is its public half', () => {
    const { object, isAsked } = asked({
      [CKA.CLASS]: CKO.PUBLIC_KEY,
      [CKA.KEY_TYPE]: CKK.DSA,
      ...half,
      [CKA.VALUE]: publicValue,
    });
    expect([isAsked, object.keyType, object.sizeBits]).toEqual([true, 'dsa', 1024]);
    expect(Buffer.from(object.attributes.value!)).toEqual(publicValue);
    expect(Buffer.from(object.publicHalf!).includes(publicValue)).toBe(true);
  });

  it.each([
    ['a private DSA key', CKO.PRIVATE_KEY, CKK.DSA],
    ['a private DH key', CKO.PRIVATE_KEY, CKK.DH],
    ['a public RSA key', CKO.PUBLIC_KEY, CKK.RSA],
    ['a secret key', CKO.SECRET_KEY, CKK.DES3],
    ['domain parameters', CKO.DOMAIN_PARAMETERS, CKK.DSA],
  ])('is never asked of %s', (_what, objectClass, keyType) => {
    const { object, isAsked } = asked({
      [CKA.CLASS]: objectClass,
      [CKA.KEY_TYPE]: keyType,
      ...half,
      [CKA.VALUE]: secret,
    });
    expect([isAsked, object.attributes.value]).toEqual([false, undefined]);
  });
});

describe('the digest of an object', () => {
  const secret = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES };

  it('stays the same while others make more room for themselves, and shows nothing of those before it', () => {
    const { reader, objects, values } = token({ ...secret, [label.type]: Buffer.from('a'), [sign.type]: true });
    const before = reader.readDigest(7n);
    for (const bytes of [1_000, 5_000])
      objects.set(BigInt(bytes), {
        ...values,
        [label.type]: Buffer.alloc(bytes, 0x41),
        [startDate.type]: Buffer.alloc(8),
      });
    expect(reader.read(1_000n)?.attributes.label).toHaveLength(1_000);
    const large = reader.readDigest(5_000n);
    expect(reader.read(5_000n)?.attributes.label).toHaveLength(5_000);
    expect([reader.readDigest(7n), reader.readDigest(5_000n)]).toEqual([before, large]);
  });

  it('tells an empty value from none, and one attribute from its neighbour', () => {
    const { id, subject } = ATTRIBUTES;
    const digests = [
      secret,
      { ...secret, [label.type]: Buffer.alloc(0) },
      { ...secret, [label.type]: Buffer.from('ab') },
      { ...secret, [id.type]: Buffer.from('ab') },
      { ...secret, [id.type]: Buffer.from('a'), [subject.type]: Buffer.from('b') },
      { ...secret, [sign.type]: false },
      { ...secret, [startDate.type]: Buffer.alloc(0) },
    ].map((values) => read(values).readDigest);
    expect(new Set(digests).size).toBe(digests.length);
  });
});

describe('what no replica gets is named', () => {
  const USAGE_LIMIT = 0x8000_0200;
  const secret = { [CKA.CLASS]: CKO.SECRET_KEY, [CKA.KEY_TYPE]: CKK.AES, [CKA.VALUE_LEN]: 32 };
  const TRUSTED = NOT_CARRIED['CKA_TRUSTED']!.type;

  it('trust that is given, a date that cannot be read, and what the configuration names of the vendor', () => {
    const { cryptoki, objects } = new SimulatedAttributes();
    objects.set(7n, { ...secret, [TRUSTED]: true, [endDate.type]: GENERAL_ERROR, [USAGE_LIMIT]: Buffer.alloc(8, 1) });
    objects.set(8n, { ...secret, [TRUSTED]: false });
    const digestKey = Buffer.alloc(32);
    const reader = new ObjectReader({ cryptoki, session: 1n, digestKey, vendorAttributes: [USAGE_LIMIT] });
    expect(reader.read(7n)?.notCarried).toEqual(['CKA_TRUSTED', 'CKA_END_DATE', '0x80000200']);
    expect(reader.read(8n)?.notCarried).toBeUndefined();
    expect(new ObjectReader({ cryptoki, session: 1n, digestKey }).read(7n)?.notCarried).toEqual([
      'CKA_TRUSTED',
      'CKA_END_DATE',
    ]);
  });

  it('and is read alike by whoever knows the class already: a look must not take it for a change', () => {
    const full = Object.values(NOT_CARRIED).map(({ type, kind }) => [
      type,
      kind === 'boolean' ? true : kind === 'number' ? 2 : Buffer.from('something'),
    ]);
    for (const objectClass of [CKO.CERTIFICATE, CKO.PUBLIC_KEY, CKO.SECRET_KEY, CKO.PRIVATE_KEY, CKO.DATA]) {
      const { reader } = token({ ...secret, [CKA.CLASS]: objectClass, ...Object.fromEntries(full) });
      const first = reader.readDigest(7n);
      expect(reader.readDigest(7n)).toBe(first);
    }
  });
});
