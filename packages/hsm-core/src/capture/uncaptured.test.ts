import { expect, it } from 'vitest';
import type { ObservedObject } from '../model/object.ts';
import { kindNameOf } from '../model/type-name.ts';
import { nameUncaptured } from './uncaptured.ts';

it('names an object outside the model by its real type, and takes no label along', async () => {
  const object: ObservedObject = {
    handle: 1n,
    objectClass: 'other',
    sizeBits: 0,
    attributes: {},
    outside: { objectClass: 8, keyType: 0x23, label: Buffer.from('a label'), id: Uint8Array.of(1) },
    readDigest: '',
  };
  const [named] = await nameUncaptured([{ object, reason: 'unsupported-type', objectId: undefined }], async (values) =>
    values.map(() => new Uint8Array(32)),
  );
  expect(kindNameOf(named!)).toBe('otp-key/hotp');
  expect(named!.outside).toEqual({ objectClass: 8, keyType: 0x23 });
});
