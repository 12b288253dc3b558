import { expect, it } from 'vitest';
import { keyTypeNameOf, kindNameOf } from './type-name.ts';

it.each([
  [{ objectClass: 'private-key', keyType: 'rsa' }, 'private-key/rsa'],
  [{ objectClass: 'certificate' }, 'certificate'],
  [{ objectClass: 'private-key', keyType: 'unsupported', outside: { keyType: 0x30 } }, 'private-key/gost-r-34-10'],
  [{ objectClass: 'secret-key', keyType: 'unsupported', outside: { keyType: 0x13 } }, 'secret-key/des'],
  [{ objectClass: 'secret-key', keyType: 'unsupported', outside: { keyType: 0x80000001 } }, 'secret-key/0x80000001'],
  [{ objectClass: 'other', outside: { objectClass: 8, keyType: 0x23 } }, 'otp-key/hotp'],
  [{ objectClass: 'other', outside: { objectClass: 5 } }, 'hardware-feature'],
] as const)('calls %o by its real class and type', (object, name) => {
  expect(kindNameOf(object)).toBe(name);
});

it.each([
  [{ keyType: 0x4a, parameterSet: 2 }, 'ML-DSA, parameter set 2'],
  [{ keyType: 0x44 }, 'HMAC SHA-512/256'],
  [{ keyType: 0x8000_0001 }, '0x80000001'],
  [{}, 'unknown'],
])('names a key type outside the model: %o', (outside, name) => {
  expect(keyTypeNameOf({ objectClass: 'private-key', keyType: 'unsupported', outside })).toBe(name);
});
