/** The names that real programs give (test/integration tries them with the programs themselves). */
import { createHash, generateKeyPairSync } from 'node:crypto';
import type { ObservedObject } from '@antipode/hsm-core';
import { expect, it } from 'vitest';
import { makersOf, PROGRAMS } from './programs.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const key = (id: Uint8Array, label = '', more: Partial<ObservedObject> = {}): ObservedObject => ({
  handle: 1n,
  objectClass: 'private-key',
  keyType: 'rsa',
  sizeBits: 2048,
  attributes: { id, label: bytes(label) },
  readDigest: '',
  ...more,
});
const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const publicHalf = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
const modulus = Buffer.from(publicKey.export({ format: 'jwk' }).n!, 'base64url');
const nssId = new Uint8Array(createHash('sha1').update(modulus).digest());
const certificateOf = (id: Uint8Array): ObservedObject => key(id, 'web', { handle: 2n, objectClass: 'certificate' });

it.each([
  ['certutil, by the digest of the modulus', key(nssId, '', { publicHalf }), ['certutil']],
  ['certutil, under a nickname', key(nssId, 'nickname', { publicHalf }), ['certutil']],
  ['Knot DNS, by 20 bytes and no label', key(new Uint8Array(20).fill(7)), ['Knot DNS']],
  ['p11tool, by 20 bytes and a label', key(new Uint8Array(20).fill(7), 'web'), ['p11tool']],
  ['OpenDNSSEC, by an id that is the label', key(new Uint8Array(16).fill(7), '07'.repeat(16)), ['OpenDNSSEC']],
  ['tools that give no id', key(new Uint8Array(), 'web'), ['pkcs11-tool', 'python-pkcs11']],
  ['anybody, by any other id', key(bytes('a1'), 'web'), PROGRAMS],
])('tells %s', (_, object, makers) => {
  expect(makersOf(object, [object])).toEqual(makers);
});

it('tells SunPKCS11 by an alias for an id, and the certificate beside it', () => {
  const object = key(bytes('web'));
  expect(makersOf(object, [object, certificateOf(bytes('web'))])).toEqual(['SunPKCS11']);
  expect(makersOf(object, [object, certificateOf(bytes('other'))])).toEqual(PROGRAMS);
});

it('finds the public half of a private key that does not show it', () => {
  const object = key(nssId);
  const half = key(nssId, '', { objectClass: 'public-key', publicHalf });
  expect(makersOf(object, [object, half])).toEqual(['certutil']);
});

it('tells the programs that make secret keys', () => {
  expect(makersOf(key(bytes('1'), 'kek', { objectClass: 'secret-key' }), [])).not.toContain('certutil');
});

it('bears a public half that is not a key', () => {
  const object = key(nssId, '', { publicHalf: bytes('no key') });
  expect(makersOf(object, [object])).toEqual(['Knot DNS']);
});
