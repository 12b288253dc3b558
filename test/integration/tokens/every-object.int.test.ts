/**
 * Every kind of object that an application may keep in a real token: which of it moves, what survives, and what is refused
 * and why. One pair of tokens, emptied between the tests.
 */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, P256_PARAMS, type Template } from '@antipode/cryptoki';
import type { SealedGeneration } from '@antipode/hsm-core';
import { kindOf, type ObservedObject } from '@antipode/hsm-core';
import { ATTRIBUTES, type Attributes, attributesOf } from '@antipode/hsm-core/testing';
import { hex, sha256 } from '@antipode/runtime';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { refusalOf } from '../../attacks/support/raw-token.ts';
import { flags, id, label } from '../../attacks/support/templates.ts';
import {
  certificateOf,
  dataOf,
  makeAes,
  makePair,
  makeRsa,
  makeSecret,
  PORTABLE,
  secretOf,
  TokenPair,
} from '../../support/token-pair.ts';

const DATA_BYTES_MAX = 8 * 1024 * 1024;
const EDWARDS_KEY_PAIR_GEN = 0x1055;
/** Object identifiers of curves, DER. Of others tells curves.int.test.ts. */
const ED25519 = Buffer.from('06032b6570', 'hex');
const X25519 = Buffer.from('06032b656e', 'hex');

let pair: TokenPair;

beforeAll(async () => {
  pair = await TokenPair.make();
});
afterEach(() => pair.empty());
afterAll(() => pair?.close());

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();
const reasonsIn = ({ generation }: SealedGeneration): string[] =>
  generation.uncaptured.map((one) => `${kindOf(one)} ${one.reason}`).sort();

describe('names', () => {
  const namesOf = ({ objectClass, attributes }: ObservedObject): string =>
    [objectClass, hex(attributes.id ?? new Uint8Array()), hex(attributes.label ?? new Uint8Array())].join(' ');

  it('of any length and in any script, none at all, and the same ones again and again, come as they are', async () => {
    const { a, b, source, group } = pair;
    const twin = randomBytes(32);
    for (const name of [
      label(''),
      [...label('same'), ...id(Uint8Array.of(1))],
      [...label('same'), ...id(Uint8Array.of(1))],
      label('x'.repeat(255)),
      label('y'.repeat(3_000)),
      label('Schlüssel 鍵 🔑'),
      [[ATTRIBUTES.label.type, Uint8Array.of(0xff, 0x00, 0xc3)]] as const,
      id(randomBytes(255)),
    ])
      await makeAes(source, ...name);
    // Equal in everything: two objects at the source, two at the standby.
    for (const _ of [1, 2]) await source.create(secretOf(twin, ...label('twin'), ...id(Uint8Array.of(2))));
    // Equal in value and names, and told apart by their uses alone.
    const shared = randomBytes(32);
    for (const sign of [true, false])
      for (const verify of [true, false])
        await source.create(secretOf(shared, ...label('shared'), ...flags({ sign, verify, modifiable: sign })));
    await makePair(source, P256_PARAMS, ...label('same'), ...id(Uint8Array.of(1)));
    for (const name of ['same', '']) await source.create(certificateOf(randomBytes(900), ...label(name)));
    for (const name of ['same', '']) await source.create(dataOf(Buffer.from('one value'), ...label(name)));

    const { generation } = await pair.replicate();
    expect([generation.entries.length, generation.uncaptured]).toEqual([20, []]);
    expect(new Set(generation.entries.map(({ objectId }) => objectId)).size).toBe(20);
    expect((await pair.objects(b)).map(namesOf).sort()).toEqual((await pair.objects(a)).map(namesOf).sort());
    await pair.restart();
    expect((await group.capture(a)).sealed).toBeUndefined();
    expect(await pair.apply(group.newest!)).toMatchObject({ applied: [], unaccounted: 0, divergent: 0 });
  });

  it('tell nothing of 2,000 keys that have the same: each is captured once, restored once, and proved', async () => {
    // Tokens of their own: emptying one takes longer than removing it.
    const large = await TokenPair.make();
    try {
      const name = [...label('card key'), ...id(Uint8Array.of(7))];
      for (let index = 0; index < 2_000; index += 1) await makeAes(large.source, ...name);
      const { generation } = await large.replicate();
      expect(new Set(generation.entries.map(({ blobSha256 }) => blobSha256)).size).toBe(2_000);
      expect(await large.objects(large.b)).toHaveLength(2_000);
      large.group.captures.forget();
      expect((await large.group.capture(large.a)).sealed).toBeUndefined();
    } finally {
      await large.close();
    }
  });
});

describe('what survives', () => {
  /** Attributes that an unwrap loses, and dates. Other tests cover them. */
  const LOST: readonly string[] = [
    ...['local', 'neverExtractable', 'alwaysSensitive', 'keyGenMechanism', 'checkValue'],
    ...['startDate', 'endDate'],
  ];
  const shown = (object: ObservedObject, without: readonly string[] = []): [string, unknown][] =>
    attributesOf(object.objectClass as 'data').flatMap((name) => {
      const read = object.attributes[name];
      const isEmpty = read === undefined || (typeof read === 'object' && read.length === 0);
      return isEmpty || without.includes(name) ? [] : [[name, read instanceof Uint8Array ? hex(read) : read]];
    });
  const called = (objects: readonly ObservedObject[], name: string): ObservedObject =>
    objects.find(({ attributes }) => text(attributes.label) === name)!;
  /** The object at the source and its replica. */
  const both = async (name: string): Promise<[ObservedObject, ObservedObject]> => [
    called(await pair.objects(pair.a), name),
    called(await pair.objects(pair.b), name),
  ];
  const dates: Template = [
    [ATTRIBUTES.startDate.type, Buffer.from('20260101')],
    [ATTRIBUTES.endDate.type, Buffer.from('20301231')],
  ];
  const rules: Template = flags({ copyable: false, modifiable: false });

  it('of a secret key is every attribute that the token shows after an unwrap, and the token keeps to them', async () => {
    const allowed = Buffer.alloc(16);
    allowed.writeBigUInt64LE(BigInt(CKM.AES_CMAC));
    allowed.writeBigUInt64LE(BigInt(CKM.AES_CBC), 8);
    const uses = { encrypt: true, decrypt: false, sign: true, verify: false, wrap: false, unwrap: false, derive: true };
    await makeAes(
      pair.source,
      ...label('secret'),
      ...id(Uint8Array.of(1)),
      ...flags(uses),
      [ATTRIBUTES.allowedMechanisms.type, allowed],
      ...rules,
    );
    await pair.replicate();
    const [here, there] = await both('secret');
    expect(shown(there, LOST)).toEqual(shown(here, LOST));
    expect(there.attributes).toMatchObject({ ...uses, allowedMechanisms: [CKM.AES_CBC, CKM.AES_CMAC] });
    const { standby } = pair;
    const [key] = await standby.find(label('secret'));
    const block = Buffer.alloc(16);
    expect(await standby.encrypt(mechanism(CKM.AES_CBC, block), key!, block)).toHaveLength(16);
    expect(await refusalOf(standby.encrypt(mechanism(CKM.AES_ECB), key!, block))).toBe('CKR_MECHANISM_INVALID');
    expect(await refusalOf(standby.setAttributeValue(key!, label('mine')))).toBe('CKR_ACTION_PROHIBITED');
    expect(await refusalOf(standby.copyObject(key!, label('mine')))).toBe('CKR_ACTION_PROHIBITED');
  });

  it('of a private key is that too, and that it asks for the PIN at each use', async () => {
    const subject: Template = [[ATTRIBUTES.subject.type, Buffer.from('3000', 'hex')]];
    const asks: Template = [[ATTRIBUTES.alwaysAuthenticate.type, true]];
    await makeRsa(pair.source, label('rsa'), ...flags({ sign: true, unwrap: true }), ...subject, ...asks, ...rules);
    await pair.replicate();
    const halves = (objects: readonly ObservedObject[]) =>
      objects.map((object) => [object.objectClass, shown(object, LOST)]).sort();
    expect(halves(await pair.objects(pair.b))).toEqual(halves(await pair.objects(pair.a)));
    const [key] = await pair.standby.find([[CKA.CLASS, CKO.PRIVATE_KEY], ...label('rsa')]);
    const signing = pair.standby.sign(mechanism(CKM.SHA256_RSA_PKCS), key!, Buffer.from('m'));
    expect(await refusalOf(signing)).toBe('CKR_USER_NOT_LOGGED_IN');
  });

  it('of certificates and data is everything, their dates included', async () => {
    const { source } = pair;
    const names: Template = [
      [ATTRIBUTES.issuer.type, Buffer.from('3000', 'hex')],
      [ATTRIBUTES.serialNumber.type, Buffer.from('020101', 'hex')],
      [ATTRIBUTES.certificateCategory.type, 2],
    ];
    const certificate = [...label('certificate'), ...id(Uint8Array.of(3)), ...names, ...dates, ...rules];
    await source.create(certificateOf(randomBytes(100_000), ...certificate));
    const application: Template = [
      [ATTRIBUTES.application.type, Buffer.from('app')],
      [ATTRIBUTES.dataObjectId.type, Buffer.from('06032a0304', 'hex')],
    ];
    const data = [...label('data'), ...flags({ private: true }), ...application, ...rules];
    await source.create(dataOf(randomBytes(20), ...data));
    await source.create(dataOf(randomBytes(20), ...label('public data'), ...flags({ private: false })));
    await source.create(dataOf(Buffer.alloc(0), ...label('empty data')));
    await pair.replicate();
    for (const name of ['certificate', 'data', 'public data', 'empty data']) {
      const [here, there] = await both(name);
      expect(shown(there)).toEqual(shown(here));
    }
  });

  it('of the dates of keys is what the token shows of them: nothing of a private object', async () => {
    await makeAes(pair.source, ...label('private'), ...dates);
    const open = PORTABLE.map(([type, set]) => [type, type === ATTRIBUTES.private.type ? false : set] as const);
    const length: Template = [[CKA.VALUE_LEN, 32]];
    await pair.source.generateKey(mechanism(CKM.AES_KEY_GEN), [...length, ...open, ...label('open'), ...dates]);
    const { generation } = await pair.replicate();
    const captured = (name: string): Attributes =>
      generation.entries.find(({ attributes }) => text(attributes.label) === name)!.attributes;
    const [, there] = await both('open');
    for (const attributes of [captured('open'), there.attributes])
      expect(attributes).toMatchObject({ startDate: '20260101', endDate: '20301231' });
    expect([captured('private').startDate, captured('private').endDate]).toEqual([undefined, undefined]);
  });
});

describe('what does not move', () => {
  it('is named with its reason, and what it stands beside moves', async () => {
    const { source } = pair;
    const fixed = flags({ extractable: false });
    const unextractable = PORTABLE.map(([type, set]) => (type === fixed[0]![0] ? fixed[0]! : ([type, set] as const)));
    await makeAes(source, ...label('moves'));
    const template = [...unextractable, ...label('x')];
    await source.generateKey(mechanism(CKM.AES_KEY_GEN), [[CKA.VALUE_LEN, 32], ...template]);
    const p256: Template = [
      [CKA.TOKEN, false],
      [CKA.EC_PARAMS, P256_PARAMS],
    ];
    await source.generateKeyPair(mechanism(CKM.EC_KEY_PAIR_GEN), p256, [...template, ...flags({ sign: true })]);
    await makeAes(source, [ATTRIBUTES.wrapWithTrusted.type, true]);
    // The exact way carries 470 bytes, and nothing that only a trusted key may wrap.
    for (const bytes of [471, 500]) await makeSecret(source, bytes);
    await makeSecret(source, 20, [ATTRIBUTES.wrapWithTrusted.type, true]);
    const kek = await makeAes(source, ...flags({ wrap: true, unwrap: true }), [
      CKA.UNWRAP_TEMPLATE,
      flags({ sensitive: true }),
    ]);
    // It has a rule that the model does not know.
    await makeAes(source, ...flags({ wrap: true }), [CKA.WRAP_TEMPLATE, [[CKA.TRUSTED, false]]]);
    // One that came by unwrapping tells no length.
    const known = await makeSecret(source, 480);
    const wrapped = await source.wrapKey(mechanism(CKM.AES_KEY_WRAP_PAD), kek, known);
    const unwrapped: Template = [[CKA.CLASS, CKO.SECRET_KEY], [CKA.KEY_TYPE, CKK.GENERIC_SECRET], ...PORTABLE];
    await source.unwrapKey(mechanism(CKM.AES_KEY_WRAP_PAD), kek, wrapped, unwrapped);
    await source.destroy(known);
    for (const params of [ED25519, X25519])
      await source.generateKeyPair(
        mechanism(EDWARDS_KEY_PAIR_GEN),
        [
          [CKA.TOKEN, false],
          [CKA.EC_PARAMS, params],
        ],
        [...PORTABLE, ...flags(params === ED25519 ? { sign: true } : { derive: true })],
      );
    await source.create(dataOf(Buffer.alloc(DATA_BYTES_MAX + 1)));

    const sealed = await pair.replicate();
    expect(reasonsIn(sealed)).toEqual([
      'data too-large',
      'private-key/ec unextractable',
      'private-key/ed25519 not-wrappable',
      'private-key/x25519 not-wrappable',
      'secret-key/aes unextractable',
      'secret-key/aes unsupported-attribute',
      'secret-key/aes wrap-with-trusted',
      ...[343, 500].map(() => 'secret-key/generic-secret length-not-multiple-of-8'),
      'secret-key/generic-secret length-unknown',
      'secret-key/generic-secret wrap-with-trusted',
    ]);
    expect(sealed.generation.entries.map(kindOf)).toEqual(['secret-key/aes', 'secret-key/aes']);
    await pair.restart();
    expect((await pair.group.capture(pair.a)).sealed).toBeUndefined();
  });

  it('is a secret whose padded blob is that of a longer one: neither is taken for the other', async () => {
    const { source, standby, a, b } = pair;
    const short = randomBytes(20);
    const long = Buffer.concat([short, Buffer.alloc(4)]);
    const names = [...label('pepper'), ...id(Uint8Array.of(9))];
    await source.create(secretOf(long, ...names));
    await standby.create(secretOf(short, ...names));
    const first = await pair.group.captured(a);
    expect(await pair.apply(first)).toMatchObject({ applied: [expect.any(String)], unaccounted: 1 });
    const lengths = (await pair.objects(b)).map(({ sizeBits }) => sizeBits).sort();
    expect(lengths).toEqual([0, 160]);
    // Nor at the source, where the one takes the other's place.
    await source.destroy((await source.find(names))[0]!);
    await source.create(secretOf(short, ...names));
    const second = await pair.group.captured(a);
    expect(second.generation).toMatchObject({ uncaptured: [], entries: [{ sizeBits: 160 }] });
    expect(second.generation.tombstones.map(({ entry }) => entry.objectId)).toEqual([
      first.generation.entries[0]!.objectId,
    ]);
  });
});

describe('data objects and certificates of some 8 MiB', () => {
  it('move, however many: no message to a worker carries more than 16 MiB of them', async () => {
    const { source, a, b, group } = pair;
    const values = Array.from({ length: 5 }, () => randomBytes(DATA_BYTES_MAX));
    const certificates = Array.from({ length: 3 }, () => randomBytes(8_000_000));
    for (const [index, one] of certificates.entries())
      await source.create(certificateOf(one, ...label('large'), ...id(Uint8Array.of(index))));
    const carried: number[] = [];
    const real = { a: a.provider, b: b.provider };
    const size = (list: readonly object[]): number =>
      list.reduce((sum, one) => sum + ('ciphertext' in one ? (one.ciphertext as Uint8Array).length : 0), 0);
    const valuesIn = (items: readonly { attributes: Attributes }[]): number =>
      items.reduce((sum, { attributes }) => sum + (attributes.value?.length ?? 0), 0);
    a.provider = {
      ...real.a,
      sealData: async (options) => {
        const sealed = await real.a.sealData(options);
        carried.push(size(sealed));
        return sealed;
      },
    };
    b.provider = {
      ...real.b,
      createData: (options) => {
        carried.push(size(options.items));
        return real.b.createData(options);
      },
      create: (items) => {
        carried.push(valuesIn(items));
        return real.b.create(items);
      },
      prove: (domainKey, items) => {
        carried.push(valuesIn(items));
        return real.b.prove(domainKey, items);
      },
    };
    try {
      // One kind after the other: a data object between two certificates would cut the messages too.
      await pair.replicate();
      for (const one of values) await source.create(dataOf(one, ...label('large'), ...flags({ private: false })));
      await pair.replicate();
    } finally {
      [a.provider, b.provider] = [real.a, real.b];
    }
    expect(Math.max(...carried)).toBeLessThan(2 * (DATA_BYTES_MAX + 100));
    const restored = await pair.standby.find(label('large'));
    const digests = new Set<string>();
    for (const one of restored)
      digests.add(hex(sha256((await pair.standby.attributes(one, [CKA.VALUE])).get(CKA.VALUE)!)));
    expect(digests).toEqual(new Set([...values, ...certificates].map((one) => hex(sha256(one)))));
    expect((await group.capture(a)).sealed).toBeUndefined();
  });
});
