import { CKA, CKK, CKO } from '@antipode/cryptoki';
import { expect, it } from 'vitest';
import type { NativeObject } from '../provider/native-cloner.ts';
import { differs } from './object-blob.ts';
import type { StoredValue } from './object-file.ts';

const STORED: readonly (readonly [number, StoredValue])[] = [
  [CKA.CLASS, { kind: 'number', value: BigInt(CKO.SECRET_KEY) }],
  [CKA.LABEL, { kind: 'bytes', value: Buffer.from('key') }],
  [CKA.KEY_TYPE, { kind: 'number', value: BigInt(CKK.AES) }],
  [CKA.EXTRACTABLE, { kind: 'boolean', value: false }],
  [CKA.KEY_GEN_MECHANISM, { kind: 'number', value: 0x1080n }],
];
const SAID: NativeObject = {
  objectClass: 'secret-key',
  keyType: 'aes',
  sizeBits: 256,
  attributes: { label: Buffer.from('key'), extractable: false, keyGenMechanism: 0x1080 },
};

const stored = (type?: number, value?: StoredValue): ReadonlyMap<number, StoredValue> =>
  new Map([...STORED, ...(type === undefined || value === undefined ? [] : [[type, value] as const])]);

it('passes a blob that makes what the manifest says', () => {
  expect(differs(SAID, stored())).toBe(false);
});

it.each([
  ['class', CKA.CLASS, { kind: 'number', value: BigInt(CKO.PRIVATE_KEY) }],
  ['type', CKA.KEY_TYPE, { kind: 'number', value: BigInt(CKK.GENERIC_SECRET) }],
  ['flag', CKA.EXTRACTABLE, { kind: 'boolean', value: true }],
  ['flag of another form', CKA.EXTRACTABLE, { kind: 'number', value: 0n }],
  ['name', CKA.LABEL, { kind: 'bytes', value: Buffer.from('kez') }],
  ['history', CKA.KEY_GEN_MECHANISM, { kind: 'number', value: 0x1081n }],
] as const)('refuses a blob that makes an object with another %s', (_what, type, value) => {
  expect(differs(SAID, stored(type, value))).toBe(true);
});
