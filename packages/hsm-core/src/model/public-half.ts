/** Public halves of key pairs as SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), whatever form a token gives them in. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { bytesEqual, hex } from '@antipode/runtime';

export interface Curve {
  readonly name: 'P-256' | 'P-384' | 'P-521';
  /** The name by which OpenSSL knows it. */
  readonly openssl: string;
  readonly bits: number;
  readonly fieldBytes: number;
  /** Namedcurve object identifier, DER (RFC 5480 section 2.1.1.1). */
  readonly params: string;
  /** Hash of a size that fits, for ECDSA over a digest. */
  readonly hash: 'sha256' | 'sha384' | 'sha512';
}

export const CURVES: readonly Curve[] = [
  { name: 'P-256', openssl: 'prime256v1', bits: 256, fieldBytes: 32, params: '06082a8648ce3d030107', hash: 'sha256' },
  { name: 'P-384', openssl: 'secp384r1', bits: 384, fieldBytes: 48, params: '06052b81040022', hash: 'sha384' },
  { name: 'P-521', openssl: 'secp521r1', bits: 521, fieldBytes: 66, params: '06052b81040023', hash: 'sha512' },
];

/** The curve of CKA_EC_PARAMS; undefined for one that does not move. */
export function curveOf(ecParams: Uint8Array | undefined): Curve | undefined {
  if (ecParams === undefined) return undefined;
  const digits = hex(ecParams);
  return CURVES.find(({ params }) => params === digits);
}

/** The curve of a key of this size; those that do not move have size 0 in our model. */
export const curveOfBits = (bits: number): Curve | undefined => CURVES.find((curve) => curve.bits === bits);

/** CKA_EC_POINT is a DER OCTET STRING by the standard and a bare point on some tokens; both give the bare point. */
export function barePoint(curve: Curve, ecPoint: Uint8Array): Uint8Array | undefined {
  const length = 2 * curve.fieldBytes + 1;
  if (ecPoint.length < length) return undefined;
  const point = ecPoint.subarray(ecPoint.length - length);
  return point[0] === 0x04 && ecPoint.length - length <= 3 ? new Uint8Array(point) : undefined;
}

const EC_PUBLIC_KEY = Buffer.from('06072a8648ce3d0201', 'hex');
const RSA_ENCRYPTION = tagged(0x30, Buffer.from('06092a864886f70d010101', 'hex'), Buffer.from('0500', 'hex'));
const NO_UNUSED_BITS = Uint8Array.of(0);

export function ecPublicHalf(curve: Curve, point: Uint8Array): Uint8Array {
  const algorithm = tagged(0x30, EC_PUBLIC_KEY, Buffer.from(curve.params, 'hex'));
  return tagged(0x30, algorithm, tagged(0x03, NO_UNUSED_BITS, point));
}

export function rsaPublicHalf(modulus: Uint8Array, publicExponent: Uint8Array): Uint8Array {
  const key = tagged(0x30, integer(modulus), integer(publicExponent));
  return tagged(0x30, RSA_ENCRYPTION, tagged(0x03, NO_UNUSED_BITS, key));
}

/** The fingerprint by which people and pins know a key: SHA-256 of its SubjectPublicKeyInfo, hexadecimal. */
export function fingerprint(publicHalf: Uint8Array): string {
  return createHash('sha256').update(publicHalf).digest('hex');
}

/** For use in software; undefined where it is none, such as a point that is off its curve. */
export function openedKey(publicHalf: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(publicHalf), format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

/** The curve of an EC public half made by {@link ecPublicHalf}; undefined of any other. */
export function curveIn(publicHalf: Uint8Array): Curve | undefined {
  return CURVES.find((curve) => bytesEqual(ecPublicHalf(curve, pointOf(curve, publicHalf)), publicHalf));
}

/** The point of an EC public half made by {@link ecPublicHalf}. */
export function pointOf(curve: Curve, publicHalf: Uint8Array): Uint8Array {
  return publicHalf.subarray(publicHalf.length - (2 * curve.fieldBytes + 1));
}

function integer(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const magnitude = bytes.subarray(start);
  return (magnitude[0] ?? 0) >= 0x80 ? tagged(0x02, Uint8Array.of(0), magnitude) : tagged(0x02, magnitude);
}

/** DER: tag, length, and these parts one behind the other. */
function tagged(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const lengthBytes: number[] = [];
  if (length < 0x80) lengthBytes.push(length);
  else {
    for (let rest = length; rest > 0; rest >>= 8) lengthBytes.unshift(rest & 0xff);
    lengthBytes.unshift(0x80 | lengthBytes.length);
  }
  const encoded = new Uint8Array(1 + lengthBytes.length + length);
  encoded[0] = tag;
  encoded.set(lengthBytes, 1);
  let at = 1 + lengthBytes.length;
  for (const part of parts) {
    encoded.set(part, at);
    at += part.length;
  }
  return encoded;
}
