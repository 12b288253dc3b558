/** The comparison behind a cloner, whatever that has let through. */
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { expect, it } from 'vitest';
import type { Attributes } from '../../model/attributes.ts';
import type { Handle, ObservedObject } from '../../model/object.ts';
import type { NativeCloner, NativeItem } from '../../provider/native-cloner.ts';
import { soundSession } from '../../testing/sound-session.ts';
import { Pkcs11NativeSealer } from './native-sealer.ts';

const ATTRIBUTES: Attributes = { label: Buffer.from('key'), extractable: false, neverExtractable: true, local: true };
const ITEM: NativeItem = {
  objectClass: 'secret-key',
  keyType: 'aes',
  sizeBits: 256,
  attributes: ATTRIBUTES,
  ciphertext: Buffer.alloc(40),
  aad: Buffer.from('a place'),
};
const AS_SAID: Omit<ObservedObject, 'handle' | 'readDigest'> = {
  objectClass: 'secret-key',
  keyType: 'aes',
  sizeBits: 256,
  attributes: ATTRIBUTES,
};

/** A device whose cloner makes anything, and a token that decrypts everything. */
function sealer(made: readonly (Omit<ObservedObject, 'handle' | 'readDigest'> | undefined)[]) {
  const destroyed: Handle[] = [];
  const blobs: Uint8Array[] = [];
  const cryptoki = partialCryptoki({ decrypt: (_session, _how, _key, data) => Buffer.from(data).fill(7) });
  const cloner: NativeCloner = {
    shape: 'blobs',
    kind: 'lying',
    domain: async () => new Uint8Array(32),
    take: async () => [],
    place: async (items) => {
      blobs.push(...items.map(({ blob }) => blob));
      return { handles: items.map((_item, index) => BigInt(index)) };
    },
    discard: async (handles) => void destroyed.push(...handles),
  };
  const read = (handle: Handle): ObservedObject | undefined => {
    const one = made[Number(handle)];
    return one && { ...one, handle, readDigest: '' };
  };
  const native = new Pkcs11NativeSealer(soundSession(cryptoki), {
    cloner,
    read,
    readShown: read,
    shows: async () => true,
  });
  const put = () => native.putNative({ dataKey: 9n, items: made.map(() => ITEM) });
  return { put, destroyed, blobs };
}

it('keeps what is as its item says, and wipes the blobs', async () => {
  const { put, destroyed, blobs } = sealer([AS_SAID, AS_SAID]);
  expect(await put()).toEqual({ handles: [0n, 1n] });
  expect([destroyed, blobs.every((blob) => blob.every((byte) => byte === 0))]).toEqual([[], true]);
});

it.each<[string, Omit<ObservedObject, 'handle' | 'readDigest'> | undefined]>([
  ['can be extracted', { ...AS_SAID, attributes: { ...ATTRIBUTES, extractable: true } }],
  ['may wrap', { ...AS_SAID, attributes: { ...ATTRIBUTES, wrap: true } }],
  ['has another label', { ...AS_SAID, attributes: { ...ATTRIBUTES, label: Buffer.from('other') } }],
  ['has another history', { ...AS_SAID, attributes: { ...ATTRIBUTES, neverExtractable: false } }],
  ['is of another class', { ...AS_SAID, objectClass: 'data' }],
  ['is of another type', { ...AS_SAID, keyType: 'generic-secret' }],
  ['has another size', { ...AS_SAID, sizeBits: 128 }],
  ['cannot be read', { ...AS_SAID, isPartlyRead: true }],
  ['is not there', undefined],
])('destroys an object that %s, and stops there', async (_how, wrong) => {
  const { put, destroyed } = sealer([AS_SAID, wrong]);
  expect(await put()).toEqual({ handles: [0n], failure: { index: 1, code: 'NATIVE_MISMATCH' } });
  expect(destroyed).toEqual([1n]);
});
