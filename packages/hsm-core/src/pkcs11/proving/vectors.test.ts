/** The form of vectors: on which messages, by which mechanisms, and of which keys none is made. */
import { createHash } from 'node:crypto';
import { CKA, CKM, CryptokiFailure, type Mechanism, returnValueNumber } from '@antipode/cryptoki';
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { expect, it } from 'vitest';
import { KEY_KINDS } from '../../key-kinds/kinds.ts';
import type { Attributes } from '../../model/attributes.ts';
import type { KeyType, ObservedObject } from '../../model/object.ts';
import { soundSession } from '../../testing/sound-session.ts';
import { VectorMaker } from './vectors.ts';

/** A token that answers every use with a digest, and tells what it was asked. */
function token({ lacks = [] }: { lacks?: readonly number[] } = {}) {
  const used: { type: number; data: Uint8Array; parameter: Uint8Array | undefined }[] = [];
  let held: Uint8Array = new Uint8Array();
  const answer = (how: Mechanism, data: Uint8Array): Buffer => {
    if (lacks.includes(how.type)) throw new CryptokiFailure('C_Sign', returnValueNumber('CKR_MECHANISM_INVALID'));
    used.push({ type: how.type, data, parameter: how.parameter });
    return createHash('sha256').update(`${how.type}`).update(data).digest();
  };
  const cryptoki = partialCryptoki({
    create: (_session, template) => {
      held = template.find(([type]) => type === CKA.VALUE)?.[1] as Uint8Array;
      return 5n;
    },
    destroy: () => true,
    wrapKey: () => createHash('sha256').update(held).digest(),
    sign: (_session, how, _key, data) => answer(how, data),
    encrypt: (_session, how, _key, data) => answer(how, data),
    decrypt: (_session, how, _key, data) => answer(how, data),
  });
  const maker = new VectorMaker({ ...soundSession(cryptoki), domainKey: 1n });
  return { used, maker };
}

const key = (attributes: Attributes, more: Partial<ObservedObject> = {}): ObservedObject => ({
  handle: 7n,
  objectClass: 'secret-key',
  keyType: 'aes',
  sizeBits: 256,
  attributes,
  readDigest: '',
  ...more,
});

const EVERYTHING: Attributes = { sign: true, verify: true, encrypt: true, decrypt: true };

it('uses a key on labelled messages only, which no block of zeros begins', () => {
  for (const keyType of ['aes', 'des3', 'generic-secret', 'sha256-hmac'] satisfies KeyType[]) {
    const { used, maker } = token();
    expect(maker.vectorsOf(key(EVERYTHING, { keyType })).length).toBeGreaterThan(0);
    for (const { data } of used) expect(Buffer.from(data).toString('latin1').slice(0, 16)).toBe('antipode vector\0');
    expect(new Set(used.map(({ data }) => Buffer.from(data).toString('hex'))).size).toBe(1);
  }
});

it('never encrypts in a stream, whatever a kind of key can do', () => {
  const context = soundSession(partialCryptoki({}));
  const types = KEY_KINDS.flatMap(({ vectors = [] }) => vectors.flatMap((way) => way.types(context)));
  const deterministic: readonly number[] = [
    ...[CKM.AES_CMAC, CKM.AES_CBC, CKM.AES_ECB, CKM.AES_KEY_WRAP_KWP, CKM.AES_ECB_ENCRYPT_DATA],
    ...[CKM.DES3_CMAC, CKM.DES3_CBC, CKM.DES3_ECB, CKM.DES3_ECB_ENCRYPT_DATA, CKM.CONCATENATE_BASE_AND_DATA],
    ...[CKM.MD5_HMAC, CKM.SHA_1_HMAC, CKM.SHA224_HMAC, CKM.SHA256_HMAC, CKM.SHA384_HMAC, CKM.SHA512_HMAC],
  ];
  expect(types.filter((type) => !deterministic.includes(type))).toEqual([]);
});

it('does not use a key that counts its uses, nor one half of a pair', () => {
  const { used, maker } = token();
  expect(maker.vectorsOf(key(EVERYTHING, { notCarried: ['0x80000101'] }))).toEqual([]);
  expect(maker.vectorsOf(key({ sign: true }, { objectClass: 'private-key', keyType: 'ec' }))).toEqual([]);
  expect(maker.vectorsOf(undefined)).toEqual([]);
  expect(used).toEqual([]);
  expect(maker.vectorsOf(key(EVERYTHING, { notCarried: ['CKA_TRUSTED'] }))).toHaveLength(2);
});

it('goes by the mechanisms that a key allows and a token has', () => {
  const uses = (attributes: Attributes, lacks: readonly number[] = []) =>
    token({ lacks })
      .maker.vectorsOf(key(attributes))
      .map(({ use, mechanism }) => [use, mechanism]);
  expect(uses(EVERYTHING)).toEqual([
    ['sign', CKM.AES_CMAC],
    ['encrypt', CKM.AES_CBC],
  ]);
  expect(uses(EVERYTHING, [CKM.AES_CBC])).toEqual([
    ['sign', CKM.AES_CMAC],
    ['encrypt', CKM.AES_ECB],
  ]);
  expect(uses({ ...EVERYTHING, allowedMechanisms: [CKM.AES_GCM, CKM.AES_CTR] })).toEqual([]);
  expect(uses({ ...EVERYTHING, allowedMechanisms: [CKM.AES_ECB] })).toEqual([['encrypt', CKM.AES_ECB]]);
  expect(uses({ decrypt: true })).toEqual([['decrypt', CKM.AES_CBC]]);
});

it('does not say that a key repeats what its token does not do', () => {
  const [vector] = token().maker.vectorsOf(key({ sign: true }));
  expect(token().maker.repeats(key({ sign: true }), vector!)).toBe(true);
  expect(token({ lacks: [CKM.AES_CMAC] }).maker.repeats(key({ sign: true }), vector!)).toBeUndefined();
  expect(token().maker.repeats(key({ encrypt: true }), vector!)).toBeUndefined();
  const other = { ...vector!, nonce: vector!.nonce.map((byte) => byte ^ 1) };
  expect(token().maker.repeats(key({ sign: true }), other)).toBe(false);
});
