/** Keys of every kind that the conformance suite plants, and the proofs that it asks for. */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { sha256 } from '@antipode/runtime';
import type { Attributes } from '../../model/attributes.ts';
import type { Handle } from '../../model/object.ts';
import { curveIn } from '../../model/public-half.ts';
import type { ProofItem } from '../../provider/provider.ts';
import { type Planted, plantedKey, type SoftwareDomain, secretKey } from '../software-domain.ts';
import type { Chapter } from './device.ts';

export const AES: Attributes = { encrypt: true, decrypt: true };

export const ecPair = (namedCurve: 'P-256' | 'P-384'): { privateKey: KeyObject; publicKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve });

/** Three parts of 8 bytes. Each byte has seven bits of the key, and one that makes its parity odd (FIPS 46-3). */
const des3Value = (): Uint8Array =>
  randomBytes(24).map((byte) => {
    const ones = (byte >> 1).toString(2).replaceAll('0', '').length;
    return (byte & 0xfe) | (ones % 2 === 0 ? 1 : 0);
  });

/** A name, a fresh key and one use that such a key has. */
type Kind = readonly [name: string, planted: Planted, use: keyof Attributes];

/** Fresh keys of every kind that the device has. */
export const kindsOf = ({ has }: Pick<Chapter, 'has'>): Kind[] => [
  ['AES', secretKey('aes', randomBytes(32), {}), 'encrypt'],
  ['a generic secret', secretKey('generic-secret', randomBytes(32), {}), 'sign'],
  ...(has('des3') ? [['DES3', secretKey('des3', des3Value(), {}), 'encrypt'] as const] : []),
  ...(has('hmac-keys') ? [['a key for HMAC', secretKey('sha256-hmac', randomBytes(32), {}), 'sign'] as const] : []),
  ['EC P-256', plantedKey(ecPair('P-256'), {}), 'sign'],
  ...(has('p-384') ? [['EC P-384', plantedKey(ecPair('P-384'), {}), 'derive'] as const] : []),
  ...(has('rsa')
    ? [['RSA', plantedKey(generateKeyPairSync('rsa', { modulusLength: 2048 }), {}), 'decrypt'] as const]
    : []),
];

export const proofOf = (
  domain: SoftwareDomain,
  handle: Handle,
  { objectClass, keyType, secret, publicHalf, attributes }: Planted,
): ProofItem => ({
  handle,
  objectClass,
  keyType,
  sizeBits: (publicHalf && curveIn(publicHalf)?.bits) ?? 0,
  attributes,
  blobSha256: sha256(domain.wrap(secret)),
  ...(publicHalf === undefined ? {} : { publicHalf }),
});
