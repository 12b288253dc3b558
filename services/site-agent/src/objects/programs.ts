/**
 * Which program has probably made a key, by the names and the id that it gave it. Only a guess, to show a person the
 * setting of that program first: where several programs give such names, all of them are named.
 */
import { createHash, createPublicKey } from 'node:crypto';
import type { ObservedObject } from '@antipode/hsm-core';
import { bytesEqual, hex } from '@antipode/runtime';

/** Programs whose settings docs/clients.md tells. */
export const PROGRAMS = [
  'pkcs11-tool',
  'SunPKCS11',
  'certutil',
  'p11tool',
  'Knot DNS',
  'OpenDNSSEC',
  'python-pkcs11',
] as const;

export type Program = (typeof PROGRAMS)[number];

/** Those of them that make secret keys. */
const SECRET_MAKERS: readonly Program[] = ['pkcs11-tool', 'SunPKCS11', 'python-pkcs11'];

const SHA1_BYTES = 20;

/** `others` are the objects of the partition, among them the public half and the certificate of the key. */
export function makersOf(key: ObservedObject, others: readonly ObservedObject[]): readonly Program[] {
  const { id = new Uint8Array(), label = new Uint8Array() } = key.attributes;
  if (key.objectClass === 'secret-key') return SECRET_MAKERS;
  if (id.length === 0) return ['pkcs11-tool', 'python-pkcs11'];
  if (id.length === 16 && Buffer.from(label).toString() === hex(id)) return ['OpenDNSSEC'];
  const named = others.filter(({ attributes }) => attributes.id !== undefined && bytesEqual(attributes.id, id));
  const hasCertificate = named.some(({ objectClass }) => objectClass === 'certificate');
  if (label.length === 0 && hasCertificate && isText(id)) return ['SunPKCS11'];
  if (id.length !== SHA1_BYTES) return PROGRAMS;
  const publicHalf = key.publicHalf ?? named.find(({ objectClass }) => objectClass === 'public-key')?.publicHalf;
  if (publicHalf !== undefined && bytesEqual(nssIdOf(publicHalf) ?? new Uint8Array(), id)) return ['certutil'];
  return label.length === 0 ? ['Knot DNS'] : ['p11tool'];
}

/** SunPKCS11 makes the id of a private key from its alias. */
const isText = (id: Uint8Array): boolean => /^[\x20-\x7e]+$/.test(Buffer.from(id).toString('latin1'));

/** The CKA_ID that NSS gives a key: SHA-1 of its modulus or point. */
function nssIdOf(publicHalf: Uint8Array): Uint8Array | undefined {
  try {
    const { kty, n, x, y } = createPublicKey({ key: Buffer.from(publicHalf), format: 'der', type: 'spki' }).export({
      format: 'jwk',
    });
    const bytes = (part: string | undefined): Buffer => Buffer.from(part ?? '', 'base64url');
    const value = kty === 'RSA' ? bytes(n) : Buffer.concat([Uint8Array.of(4), bytes(x), bytes(y)]);
    return new Uint8Array(createHash('sha1').update(value).digest());
  } catch {
    return undefined;
  }
}
