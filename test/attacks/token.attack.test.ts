/**
 * An attacker with the PIN of a member and raw PKCS#11 calls: Clulow 2003, Bortolozzo et al. 2010, and our own ideas.
 */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, P256_PARAMS, rsaOaep, type Template, ulong } from '@antipode/cryptoki';
import { openKeyring, type Protection } from '@antipode/hsm-core';
import { ATTRIBUTES, openingKeyPolicy, SealedGroup } from '@antipode/hsm-core/testing';
import { bytesEqual, hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { enrolTogether } from '../support/members.ts';
import { attack, DEVICES, type Member, makeMember } from './support/device.ts';
import { openRawToken, type RawToken, refusalOf } from './support/raw-token.ts';
import { openExactInSoftware, unwrapByBlocks, unwrapInSoftware } from './support/software.ts';
import {
  AES_SESSION_KEY,
  AES_TOKEN_KEY,
  APPLICATION_KEY,
  flags,
  GENERIC_SESSION_KEY,
  id,
  label,
  NEW_AES,
  value,
} from './support/templates.ts';

const GROUP = 'payments';
const ECB = mechanism(CKM.AES_ECB);
const CBC = mechanism(CKM.AES_CBC, Buffer.alloc(16));

describe.each(DEVICES)('the holder of the PIN, on $name', (device) => {
  const KWP = mechanism(device.keyWrap);
  const NOT_PERMITTED = [...device.notPermitted];
  const keeps = (protection: Protection): boolean => !device.unenforced.includes(protection);
  const secret = randomBytes(32);
  let member: Member;
  let raw: RawToken;
  let domainKey: bigint;
  let identity: bigint;
  /** An application's key, whose value only this test knows, and the blob that a capture makes of it. */
  let application: bigint;
  let sealed: Uint8Array;

  beforeAll(async () => {
    member = await makeMember(device, 'held');
    await enrolTogether([member], { group: GROUP, version: 1 });
    raw = await openRawToken(member.token);
    [domainKey, identity] = (
      await Promise.all([
        raw.find([[CKA.CLASS, CKO.SECRET_KEY], ...id(member.domainKeys[0]!.ckaId)]),
        raw.find([[CKA.CLASS, CKO.PRIVATE_KEY], [CKA.KEY_TYPE, CKK.EC], ...id(member.identity.ckaId)]),
      ])
    ).map(([handle]) => handle!) as [bigint, bigint];
    application = await raw.create([...APPLICATION_KEY, ...label('application'), ...value(secret)]);
    sealed = await raw.wrapKey(KWP, domainKey, application);
  });

  afterAll(async () => {
    await raw?.close();
    await member?.close();
  });

  const readValue = async (key: bigint): Promise<Uint8Array | undefined> =>
    (await raw.attributes(key, [CKA.VALUE])).get(CKA.VALUE);
  const tokenObjects = async (): Promise<bigint[]> => (await raw.find([[CKA.TOKEN, true]])).sort();
  /** A wrapping key as a careless operator makes it. */
  const naiveKey = (more: Template = []): Promise<bigint> =>
    raw.generateKey(mechanism(CKM.AES_KEY_GEN), [
      ...NEW_AES,
      ...flags({ sensitive: true, wrap: true, unwrap: true }),
      ...more,
    ]);
  /** Keys of which the attacker knows everything. */
  const knownValue = randomBytes(32);
  const knownKey = (): Promise<bigint> =>
    raw.create([...AES_SESSION_KEY, ...flags({ wrap: true, unwrap: true }), ...value(knownValue)]);

  attack(device, 'wrap-decrypt', async () => {
    const naive = await naiveKey(flags({ decrypt: true }));
    const blob = await raw.wrapKey(KWP, naive, application);
    expect(await unwrapByBlocks(blob, (block) => raw.decrypt(ECB, naive, block))).toEqual(secret);
    expect(await raw.decrypt(CBC, naive, await raw.wrapKey(CBC, naive, application))).toEqual(secret);

    expect(await refusalOf(raw.decrypt(ECB, domainKey, sealed.subarray(0, 16)))).toBeOneOf(NOT_PERMITTED);
    expect(await refusalOf(raw.decrypt(CBC, domainKey, sealed.subarray(0, 32)))).toBeOneOf(NOT_PERMITTED);
    expect(await refusalOf(raw.decrypt(KWP, domainKey, sealed))).not.toBe('CKR_OK');
    return 'refused';
  });

  attack(device, 'other-use', async () => {
    const naive = await naiveKey(flags({ encrypt: true, decrypt: true, sign: true, derive: true }));
    const block = randomBytes(16);
    const encrypted = await raw.encrypt(ECB, naive, block);
    expect(await raw.decrypt(ECB, naive, encrypted)).toEqual(block);
    // A value of one's choice under the wrapping key, as a key that can be read: encryption by another name.
    const deriveFrom = (base: bigint): Promise<bigint> =>
      raw.deriveKey({ type: CKM.AES_ECB_ENCRYPT_DATA, data: Buffer.concat([block, block]) }, base, [
        ...AES_SESSION_KEY,
        [CKA.VALUE_LEN, 32],
        ...flags({ sensitive: false, extractable: true }),
      ]);
    expect(await readValue(await deriveFrom(naive))).toEqual(Buffer.concat([encrypted, encrypted]));
    expect(await refusalOf(raw.sign(mechanism(CKM.AES_CMAC), naive, block))).toBe('CKR_OK');
    expect(await refusalOf(raw.wrapKey(CBC, naive, application))).toBe('CKR_OK');

    expect(await refusalOf(raw.encrypt(ECB, domainKey, block))).toBeOneOf(NOT_PERMITTED);
    expect(await refusalOf(raw.sign(mechanism(CKM.AES_CMAC), domainKey, block))).toBeOneOf(NOT_PERMITTED);
    if (keeps('derive')) expect(await refusalOf(deriveFrom(domainKey))).toBeOneOf(NOT_PERMITTED);
    else expect(await readValue(await deriveFrom(domainKey))).toHaveLength(32);
    if (!keeps('allowed-mechanisms')) {
      // Unwrapping by ECB is decrypting, block by block, into keys that can be read.
      const readable = [...GENERIC_SESSION_KEY, ...flags({ sensitive: false, extractable: true })];
      const open = async (one: Uint8Array) => (await readValue(await raw.unwrapKey(ECB, domainKey, one, readable)))!;
      expect(await unwrapByBlocks(sealed, open)).toEqual(secret);
      return 'documented';
    }
    const RFC_3394 = mechanism(0x2109);
    for (const other of [CBC, RFC_3394])
      expect(await refusalOf(raw.wrapKey(other, domainKey, application))).toBe('CKR_MECHANISM_INVALID');
    expect(await refusalOf(raw.unwrapKey(RFC_3394, domainKey, sealed, APPLICATION_KEY))).toBe('CKR_MECHANISM_INVALID');
    return 'refused';
  });

  attack(device, 'wrap-under-known-key', async () => {
    const naive = await naiveKey(flags({ extractable: true }));
    const known = await knownKey();
    const naiveValue = unwrapInSoftware(knownValue, await raw.wrapKey(KWP, known, naive));
    expect(unwrapInSoftware(naiveValue, await raw.wrapKey(KWP, naive, application))).toEqual(secret);

    if (!keeps('extractable')) {
      const stolen = unwrapInSoftware(knownValue, await raw.wrapKey(KWP, known, domainKey));
      expect(unwrapInSoftware(stolen, sealed)).toEqual(secret);
      expect(await refusalOf(raw.wrapKey(KWP, known, identity))).toBe('CKR_OK');
      return 'documented';
    }
    const { publicKey } = await raw.generateKeyPair(
      mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
      [[CKA.MODULUS_BITS, 2048], [CKA.PUBLIC_EXPONENT, Buffer.from([1, 0, 1])], ...flags({ wrap: true })],
      flags({ private: true, sensitive: false }),
    );
    for (const own of [domainKey, identity]) {
      for (const under of [known, naive, domainKey])
        expect(await refusalOf(raw.wrapKey(KWP, under, own))).toBe('CKR_KEY_UNEXTRACTABLE');
      expect(await refusalOf(raw.wrapKey(mechanism(CKM.RSA_PKCS), publicKey, own))).toMatch(
        /^CKR_KEY_(UNEXTRACTABLE|NOT_WRAPPABLE)$/,
      );
      expect(await readValue(own)).toBeUndefined();
    }
    return 'refused';
  });

  attack(device, 'open-elsewhere', async () => {
    const known = await knownKey();
    const template = [...AES_SESSION_KEY, ...flags({ sensitive: false, extractable: true })];
    const blob = await raw.wrapKey(KWP, known, application);
    expect(await readValue(await raw.unwrapKey(KWP, known, blob, template))).toEqual(secret);
    expect(unwrapInSoftware(knownValue, blob)).toEqual(secret);

    expect(await refusalOf(raw.unwrapKey(KWP, known, sealed, template))).not.toBe('CKR_OK');
    expect(() => unwrapInSoftware(knownValue, sealed)).toThrow();
    return 'refused';
  });

  /** Changes that would each undo the hardening of a wrapping key. */
  const WIDER: Template = [
    ...flags({ encrypt: true, decrypt: true, sign: true, verify: true, derive: true, extractable: true }),
    ...flags({ sensitive: false, private: false, modifiable: true, copyable: true }),
    [ATTRIBUTES.allowedMechanisms.type, Buffer.concat([ulong(device.keyWrap), ulong(CKM.AES_ECB)])],
    [CKA.UNWRAP_TEMPLATE, flags({ sensitive: false })],
    ...label('antipode domain key payments 1'),
    ...id(randomBytes(16)),
  ];

  attack(device, 'change-domain-key', async () => {
    const naive = await naiveKey(flags({ decrypt: false }));
    const blob = await raw.wrapKey(KWP, naive, application);
    const open = () => unwrapByBlocks(blob, (block) => raw.decrypt(ECB, naive, block));
    expect(await refusalOf(open())).toBeOneOf(NOT_PERMITTED);
    await raw.setAttributeValue(naive, flags({ decrypt: true }));
    expect(await open()).toEqual(secret);

    for (const change of WIDER)
      expect([change[0], await refusalOf(raw.setAttributeValue(domainKey, [change]))]).toEqual([
        change[0],
        device.notModifiable,
      ]);
    return 'refused';
  });

  attack(device, 'copy-domain-key', async () => {
    const naive = await naiveKey(flags({ decrypt: false }));
    const wider = await raw.copyObject(naive, flags({ decrypt: true }));
    const blob = await raw.wrapKey(KWP, naive, application);
    expect(await unwrapByBlocks(blob, (block) => raw.decrypt(ECB, wider, block))).toEqual(secret);

    if (!keeps('copyable')) {
      const copied = await raw.copyObject(domainKey, [[CKA.TOKEN, false], ...flags({ decrypt: true })]);
      expect(await unwrapByBlocks(sealed, (block) => raw.decrypt(ECB, copied, block))).toEqual(secret);
      return 'documented';
    }
    for (const token of [true, false]) {
      for (const change of [...WIDER, ...label('copy')])
        expect([change[0], await refusalOf(raw.copyObject(domainKey, [[CKA.TOKEN, token], change]))]).toEqual([
          change[0],
          'CKR_ACTION_PROHIBITED',
        ]);
    }
    return 'refused';
  });

  attack(device, 'change-identity', async () => {
    const { privateKey: naive } = await raw.generateKeyPair(
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [
        [CKA.EC_PARAMS, P256_PARAMS],
        [CKA.TOKEN, false],
      ],
      [[CKA.TOKEN, true], ...flags({ private: true, sensitive: true, extractable: false, sign: true, derive: false })],
    );
    const point = Buffer.from(member.identity.publicHalf.slice(26, 91));
    const agree = (key: bigint) =>
      raw.deriveKey({ type: CKM.ECDH1_DERIVE, point }, key, [
        ...GENERIC_SESSION_KEY,
        [CKA.VALUE_LEN, 32],
        ...flags({ sensitive: false, extractable: true }),
      ]);
    if (keeps('derive')) expect(await refusalOf(agree(naive))).toBeOneOf(NOT_PERMITTED);
    await raw.setAttributeValue(naive, flags({ derive: true }));
    expect(await readValue(await agree(naive))).toHaveLength(32);
    expect(await refusalOf(raw.copyObject(naive, [[CKA.TOKEN, false]]))).toBe('CKR_OK');

    if (keeps('derive')) expect(await refusalOf(agree(identity))).toBeOneOf(NOT_PERMITTED);
    const changes = [...flags({ derive: true, decrypt: true, unwrap: true, extractable: true, sensitive: false })];
    for (const change of [...changes, ...flags({ modifiable: true, copyable: true }), ...label('x'), ...id(point)]) {
      expect(await refusalOf(raw.setAttributeValue(identity, [change]))).toBe(device.notModifiable);
      if (keeps('copyable')) expect(await refusalOf(raw.copyObject(identity, [change]))).toBe('CKR_ACTION_PROHIBITED');
    }
    if (keeps('copyable')) return 'refused';
    const copied = await raw.copyObject(identity, [[CKA.TOKEN, false], ...flags({ derive: true })]);
    expect(await readValue(await agree(copied))).toHaveLength(32);
    return 'documented';
  });

  attack(device, 'unwrap-readable', async () => {
    const naive = await naiveKey();
    const readable = [...AES_SESSION_KEY, ...flags({ sensitive: false, extractable: true })];
    const blob = await raw.wrapKey(KWP, naive, application);
    expect(await readValue(await raw.unwrapKey(KWP, naive, blob, readable))).toEqual(secret);

    if (!keeps('unwrap-template')) {
      expect(await readValue(await raw.unwrapKey(KWP, domainKey, sealed, readable))).toEqual(secret);
      return 'documented';
    }
    const silent = [...AES_SESSION_KEY, ...flags({ extractable: true })];
    for (const template of [readable, silent, [...GENERIC_SESSION_KEY, ...flags({ sensitive: false })]])
      expect(await refusalOf(raw.unwrapKey(KWP, domainKey, sealed, template))).toBe('CKR_TEMPLATE_INCONSISTENT');
    const sensitive = await raw.unwrapKey(KWP, domainKey, sealed, [...silent, ...flags({ sensitive: true })]);
    expect(await readValue(sensitive)).toBeUndefined();
    for (const call of [raw.setAttributeValue, raw.copyObject])
      expect(await refusalOf(call(sensitive, flags({ sensitive: false })))).toBe('CKR_ATTRIBUTE_READ_ONLY');
    return 'refused';
  });

  attack(device, 'unwrap-and-export', async () => {
    const template = [...AES_SESSION_KEY, ...flags({ sensitive: true, extractable: true })];
    const restored = await raw.unwrapKey(KWP, domainKey, sealed, template);
    expect(unwrapInSoftware(knownValue, await raw.wrapKey(KWP, await knownKey(), restored))).toEqual(secret);
    return 'documented';
  });

  attack(device, 'unwrap-other-use', async () => {
    // At the source it may wrap and unwrap only, as a domain key of somebody else's.
    const wrapping = await raw.create([
      ...APPLICATION_KEY,
      ...flags({ wrap: true, unwrap: true, decrypt: false, modifiable: false }),
      ...value(randomBytes(32)),
    ]);
    const stolen = await raw.wrapKey(KWP, wrapping, application);
    expect(await refusalOf(raw.decrypt(ECB, wrapping, stolen.subarray(0, 16)))).toBeOneOf(NOT_PERMITTED);
    const blob = await raw.wrapKey(KWP, domainKey, wrapping);
    const wider = await raw.unwrapKey(KWP, domainKey, blob, [
      ...AES_SESSION_KEY,
      ...flags({ sensitive: true, decrypt: true }),
    ]);
    expect(await unwrapByBlocks(stolen, (block) => raw.decrypt(ECB, wider, block))).toEqual(secret);
    const mistyped = [...GENERIC_SESSION_KEY, ...flags({ sensitive: true, sign: true })];
    expect(await refusalOf(raw.unwrapKey(KWP, domainKey, blob, mistyped))).toBe('CKR_OK');
    return 'documented';
  });

  /** A secret of 20 bytes, sealed byte for byte; undefined where the device does not offer that. */
  const sealedExactly = async () => {
    const { provider, keyring } = member;
    const { handle: under } = keyring.domainKey(GROUP, 1);
    const made = await provider.generateExactKey(under, 3072);
    if (made === undefined) return undefined;
    const odd = randomBytes(20);
    const application = [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      [CKA.TOKEN, true],
    ] as const;
    const uses = flags({ private: true, sensitive: true, extractable: true });
    const name = `odd ${hex(randomBytes(8))}`;
    await raw.create([...application, ...uses, ...label(name), ...value(odd)]);
    const { handle } = (await provider.inventory()).find(
      ({ attributes }) => Buffer.from(attributes.label ?? []).toString() === name,
    )!;
    const { blob: keyBlob, ...exactKey } = made;
    const aad = Buffer.from(`place of ${name}`);
    const [outcome] = await provider.sealSecrets({ domainKey: under, exactKey, items: [{ handle, aad }] });
    await provider.forget(Object.values(exactKey));
    if (outcome === undefined || 'reason' in outcome) throw new Error('the secret was not sealed');
    return { odd, under, keyBlob, aad, ciphertext: outcome.ciphertext };
  };
  const RSA_SESSION_KEY: Template = [
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.KEY_TYPE, CKK.RSA],
    [CKA.TOKEN, false],
    ...flags({ private: true }),
  ];

  attack(device, 'open-exact', async () => {
    const sealedOdd = await sealedExactly();
    if (sealedOdd === undefined) return 'not-applicable';
    const { odd, keyBlob } = sealedOdd;
    const known = await knownKey();
    const wide = flags({ sensitive: true, extractable: true });
    const takeOut = async (blob: Uint8Array, template: Template): Promise<Buffer> =>
      unwrapInSoftware(knownValue, await raw.wrapKey(KWP, known, await raw.unwrapKey(KWP, domainKey, blob, template)));
    const dataKey = await takeOut(keyBlob.subarray(0, 40), [...AES_SESSION_KEY, ...wide]);
    const privateHalf = await takeOut(keyBlob.subarray(40), [...RSA_SESSION_KEY, ...wide]);
    expect(openExactInSoftware({ dataKey, privateHalf }, sealedOdd)).toEqual(odd);
    // Neither of the two is enough, and nothing opens without the domain key.
    const other = randomBytes(32);
    expect(() => openExactInSoftware({ dataKey: other, privateHalf }, sealedOdd)).toThrow();
    expect(() => unwrapInSoftware(other, keyBlob.subarray(0, 40))).toThrow();
    return 'documented';
  });

  attack(device, 'use-opening-key', async () => {
    const sealedOdd = await sealedExactly();
    if (sealedOdd === undefined) return 'not-applicable';
    const policy = openingKeyPolicy({ keyWrap: KWP, unenforced: device.unenforced });
    const opening = await raw.unwrapKey(KWP, domainKey, sealedOdd.keyBlob.subarray(40), policy);
    const half = await raw.attributes(opening, [CKA.MODULUS, CKA.PUBLIC_EXPONENT]);
    const publicKey = await raw.create([
      [CKA.CLASS, CKO.PUBLIC_KEY],
      [CKA.KEY_TYPE, CKK.RSA],
      [CKA.TOKEN, false],
      ...half,
      ...flags({ wrap: true, encrypt: true }),
    ]);
    const carried = await raw.wrapKey(rsaOaep(), publicKey, application);
    const sensitive = [...AES_SESSION_KEY, ...flags({ sensitive: true, extractable: true })];
    expect(await refusalOf(raw.unwrapKey(rsaOaep(), opening, carried, sensitive))).toBe('CKR_OK');
    for (const template of [AES_SESSION_KEY, [...AES_SESSION_KEY, ...flags({ sensitive: false, extractable: true })]])
      expect(await refusalOf(raw.unwrapKey(rsaOaep(), opening, carried, template))).toBe('CKR_TEMPLATE_INCONSISTENT');
    const known = await knownKey();
    const attempts: (() => Promise<unknown>)[] = [
      () => raw.decrypt(rsaOaep(), opening, carried),
      () => raw.decrypt(mechanism(CKM.RSA_PKCS), opening, carried),
      () => raw.sign(mechanism(CKM.RSA_PKCS), opening, randomBytes(32)),
      () => raw.unwrapKey(mechanism(CKM.RSA_PKCS), opening, carried, sensitive),
      () => raw.wrapKey(KWP, known, opening),
      () => raw.setAttributeValue(opening, flags({ decrypt: true })),
      () => raw.copyObject(opening, flags({ extractable: true })),
    ];
    for (const attempt of attempts) expect(await refusalOf(attempt())).not.toBe('CKR_OK');
    return 'refused';
  });

  attack(device, 'exchange-exact', async () => {
    const sealedOdd = await sealedExactly();
    if (sealedOdd === undefined) return 'not-applicable';
    const { under: domainKey, keyBlob, aad, ciphertext } = sealedOdd;
    const before = await tokenObjects();
    const attributes = { label: new Uint8Array(Buffer.from('planted')) };
    const item = { objectClass: 'secret-key', keyType: 'generic-secret', attributes, blob: ciphertext, aad } as const;
    const flipped = Array.from({ length: 8 }, (_, at) =>
      ciphertext.map((byte, index) => (index === at * 50 ? byte ^ 1 : byte)),
    );
    const wrong = [
      { ...item, aad: Buffer.from('place of another') },
      { ...item, blob: ciphertext.subarray(0, -1) },
      ...flipped.map((blob) => ({ ...item, blob })),
    ];
    const opened = await member.provider.openExactKey(domainKey, keyBlob);
    if ('failure' in opened) throw new Error(opened.failure.code);
    for (const one of wrong) {
      const outcome = await member.provider.unwrapSecrets({ exactKey: opened.key, items: [one] });
      expect(outcome).toMatchObject({ handles: [], failure: { code: 'BLOB_INVALID' } });
    }
    await member.provider.forget(Object.values(opened.key));
    expect(await tokenObjects()).toEqual(before);
    return 'refused';
  });

  attack(device, 'conjure', async () => {
    const pair = await raw.generateKeyPair(
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [
        [CKA.EC_PARAMS, P256_PARAMS],
        [CKA.TOKEN, false],
      ],
      [[CKA.TOKEN, false], ...flags({ private: true, sensitive: true, extractable: true, sign: true })],
    );
    const sealedPair = await raw.wrapKey(KWP, domainKey, pair.privateKey);
    const before = await tokenObjects();
    const flipped = Array.from({ length: sealed.length }, (_, at) =>
      sealed.map((byte, index) => (index === at ? byte ^ (1 << (at % 8)) : byte)),
    );
    const blobs = [
      ...flipped,
      randomBytes(sealed.length),
      new Uint8Array(sealed.length),
      sealed.subarray(0, -8),
      sealed.subarray(8),
      Buffer.concat([sealed, sealed]),
    ];
    const key = { objectClass: 'secret-key', keyType: 'aes', attributes: { encrypt: true } } as const;
    const mistyped = [
      { objectClass: 'private-key', keyType: 'rsa', attributes: {}, blob: sealedPair },
      { objectClass: 'private-key', keyType: 'ec', attributes: {}, blob: sealed },
      { objectClass: 'private-key', keyType: 'rsa', attributes: {}, blob: sealed },
    ] as const;
    for (const item of [...blobs.map((blob) => ({ ...key, blob })), ...mistyped]) {
      const outcome = await member.provider.unwrap(member.keyring.domainKey(GROUP, 1).handle, [item]);
      expect(outcome).toMatchObject({ handles: [], failure: { code: 'BLOB_INVALID' } });
    }
    for (const blob of [sealed.subarray(0, 8), sealed.subarray(0, 39), new Uint8Array(0)])
      expect(await refusalOf(raw.unwrapKey(KWP, domainKey, blob, APPLICATION_KEY))).not.toBe('CKR_OK');
    expect(await tokenObjects()).toEqual(before);
    return 'refused';
  });

  attack(device, 'conjure-malleable', async () => {
    const naive = await naiveKey();
    const conjure = (type: number, under: bigint) => {
      const how = mechanism(type, Buffer.alloc(type === CKM.AES_ECB ? 0 : 16));
      const template = [...AES_SESSION_KEY, ...flags({ sensitive: true, encrypt: true })];
      return refusalOf(raw.unwrapKey(how, under, randomBytes(32), template));
    };
    for (const [type, isMalleable] of device.malleableWraps) {
      const works = isMalleable ? 'CKR_OK' : 'CKR_MECHANISM_INVALID';
      expect([type, await conjure(type, naive)]).toEqual([type, works]);
      const kept = keeps('allowed-mechanisms') ? 'CKR_MECHANISM_INVALID' : works;
      expect([type, await conjure(type, domainKey)]).toEqual([type, kept]);
    }
    if (![...device.malleableWraps.values()].includes(true)) return 'not-applicable';
    return keeps('allowed-mechanisms') ? 'refused' : 'documented';
  });
});

describe.each(DEVICES)('who meddles with our own keys, on $name', (device) => {
  let member: Member;
  let raw: RawToken;

  beforeAll(async () => {
    member = await makeMember(device, 'meddled');
    await enrolTogether([member], { group: GROUP, version: 1 });
    raw = await openRawToken(member.token);
  });

  afterAll(async () => {
    await raw?.close();
    await member?.close();
  });

  const LABEL = 'antipode domain key payments 1';
  const usable = flags({ sensitive: true, extractable: true, wrap: true, unwrap: true });
  const decoy = (...more: Template[]): Promise<bigint> =>
    raw.create([...AES_TOKEN_KEY, ...usable, ...label(LABEL), ...value(randomBytes(32)), ...more.flat()]);
  const byLabel = () => raw.find([[CKA.CLASS, CKO.SECRET_KEY], ...label(LABEL)]);

  attack(device, 'decoy-domain-key', async () => {
    const [real] = await byLabel();
    const wrong = await decoy();
    // A search by label finds both.
    expect((await byLabel()).sort()).toEqual([real!, wrong].sort());

    const before = hex(member.keyring.domainKey(GROUP, 1).checkTag);
    await member.reopen();
    expect(hex(member.keyring.domainKey(GROUP, 1).checkTag)).toBe(before);
    expect(member.keyring.missing).toEqual([]);
    // It is a key like any other: captured, and under the real one.
    const group = new SealedGroup();
    const { generation } = await group.captured(member);
    expect(generation.entries.map(({ attributes }) => Buffer.from(attributes.label ?? []).toString())).toEqual([LABEL]);
    expect(hex(generation.domainKeyCheckTag)).toBe(before);
    await raw.destroy(wrong);
    return 'refused';
  });

  attack(device, 'repeat-own-id', async () => {
    if (device.keepsOnePerId) {
      const shared = id(randomBytes(16));
      const [first, second] = [await decoy(shared), await decoy(shared)];
      expect(await raw.find([[CKA.CLASS, CKO.SECRET_KEY], ...shared])).toEqual([first]);
      expect(second).toBe(first);
      await raw.destroy(first);
      return 'not-applicable';
    }
    const { ckaId } = member.domainKeys[0]!;
    // Which of two a search gives first is up to the token: tried until each has been the first.
    for (let attempt = 0; attempt < 8; attempt += 1) {
      const twin = await decoy(id(ckaId));
      expect(await raw.find([[CKA.CLASS, CKO.SECRET_KEY], ...id(ckaId)])).toHaveLength(2);
      const keyring = await openKeyring(member);
      expect([keyring.missing, keyring.ownHandles.has(keyring.domainKey(GROUP, 1).handle)]).toEqual([[], true]);
      expect(await new SealedGroup().captured(member)).toMatchObject({ generation: { entries: [{ keyType: 'aes' }] } });
      await raw.destroy(twin);
    }

    const { privateKey } = await pairUnder(member.identity.ckaId);
    expect((await openKeyring(member)).identity.sha256).toBe(member.fingerprint);
    await raw.destroy(privateKey);
    await member.reopen();
    return 'refused';
  });

  const pairUnder = (ckaId: Uint8Array) =>
    raw.generateKeyPair(
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [[CKA.EC_PARAMS, P256_PARAMS], [CKA.TOKEN, false], ...flags({ verify: true })],
      [[CKA.TOKEN, true], ...id(ckaId), ...label('antipode identity'), ...flags({ sign: true, sensitive: true })],
    );

  attack(device, 'hide-under-own-id', async () => {
    const hidden = await raw.generateKeyPair(
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [[CKA.EC_PARAMS, P256_PARAMS], [CKA.TOKEN, true], ...flags({ verify: true })],
      [[CKA.TOKEN, false], ...flags({ sign: true })],
    );
    /** Everything that a capture tells of, captured or not. */
    const told = async (): Promise<string[]> => {
      const { entries, uncaptured } = (await new SealedGroup().captured(member)).generation;
      return [...entries, ...uncaptured].map(({ objectClass }) => objectClass).sort();
    };
    // As in a journal: what is recorded is not announced any more.
    member.announced.length = 0;
    await member.reopen();
    expect(await told()).toEqual(['public-key']);
    await raw.setAttributeValue(hidden.publicKey, id(member.identity.ckaId));
    // Whatever bears the id would pass for a key of our own.
    const ofTheId = await raw.find([[CKA.CLASS, CKO.PUBLIC_KEY], ...id(member.identity.ckaId)]);
    expect(ofTheId).toHaveLength(1);
    await member.reopen();
    expect(await told()).toEqual(['public-key']);
    await raw.destroy(hidden.publicKey);
    // A key that can sign or decrypt does not disappear like this.
    const { ckaId } = member.domainKeys[0]!;
    const pair = await pairUnder(ckaId);
    const secret = await decoy(id(member.identity.ckaId));
    await member.reopen();
    expect(await told()).toEqual(['private-key', 'secret-key']);
    await raw.destroy(pair.privateKey);
    await raw.destroy(secret);
    return 'refused';
  });

  attack(device, 'replace-domain-key', async () => {
    const { ckaId } = member.domainKeys[0]!;
    const [real] = await raw.find([[CKA.CLASS, CKO.SECRET_KEY], ...id(ckaId)]);
    await raw.destroy(real!);
    const wrong = await decoy(id(ckaId));
    expect(await raw.find([[CKA.CLASS, CKO.SECRET_KEY], ...label(LABEL), ...id(ckaId)])).toEqual([wrong]);

    await member.reopen();
    expect(member.keyring.missing).toEqual(member.domainKeys);
    expect((await rejection(new SealedGroup().capture(member))).code).toBe('DOMAIN_KEY_MISSING');
    expect(bytesEqual(member.domainKeys[0]!.checkTag, new Uint8Array(32))).toBe(false);
    return 'refused';
  });

  attack(device, 'replace-identity', async () => {
    const [real] = await raw.find([[CKA.CLASS, CKO.PRIVATE_KEY], [CKA.KEY_TYPE, CKK.EC], ...id(member.identity.ckaId)]);
    await raw.destroy(real!);
    const { privateKey } = await pairUnder(member.identity.ckaId);
    // It signs, and it has the label and the id.
    expect(await raw.sign(mechanism(CKM.ECDSA), privateKey, randomBytes(32))).toHaveLength(64);
    expect(await rejection(openKeyring(member))).toMatchObject({
      code: 'IDENTITY_MISSING',
      details: { identity: member.fingerprint },
    });
    return 'refused';
  });
});
