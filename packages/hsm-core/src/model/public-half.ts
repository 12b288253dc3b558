/** Public halves of key pairs as SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), from any form that a token gives. */
import { createHash, createPublicKey, ECDH, type KeyObject } from 'node:crypto';
import { bytesEqual } from '@antipode/runtime';
import { type Curve, curveOf, ecSubject, paramsIn } from './curve.ts';
import { OCTET_STRING, tagged, tlvOf } from './der.ts';
import { pointAt } from './ecdsa-recovery.ts';

/**
 * The point of CKA_EC_POINT, bare and uncompressed, or undefined. By the standard it is in an OCTET STRING, and on some
 * tokens it is bare. An application can give it in any form of SEC 1, section 2.3.3.
 */
export function barePoint(curve: Curve, ecPoint: Uint8Array): Uint8Array | undefined {
  const length = 2 * curve.fieldBytes + 1;
  const head = ecPoint.length - length;
  if (head >= 0 && head <= 3) {
    const point = new Uint8Array(ecPoint.subarray(head));
    const isHybrid = curve.domain !== undefined && point[0] === 6 + (point.at(-1)! & 1);
    if (isHybrid) point[0] = 4;
    return point[0] === 4 ? point : undefined;
  }
  const compressed = tlvOf(ecPoint, OCTET_STRING)?.content ?? ecPoint;
  return compressed.length === curve.fieldBytes + 1 ? uncompressed(curve, compressed) : undefined;
}

/** Undefined if the curve has no point with that x-coordinate. */
export function uncompressed(curve: Curve, compressed: Uint8Array): Uint8Array | undefined {
  if (compressed[0] !== 2 && compressed[0] !== 3) return undefined;
  if (curve.openssl === undefined) return pointAt(curve, compressed.subarray(1), { isOdd: compressed[0] === 3 });
  try {
    return new Uint8Array(
      ECDH.convertKey(Buffer.from(compressed), curve.openssl, undefined, undefined, 'uncompressed') as Buffer,
    );
  } catch {
    return undefined;
  }
}

const RSA_ENCRYPTION = tagged(0x30, Buffer.from('06092a864886f70d010101', 'hex'), Buffer.from('0500', 'hex'));
const NO_UNUSED_BITS = Uint8Array.of(0);

export const ecPublicHalf = (curve: Curve, point: Uint8Array): Uint8Array =>
  ecSubject(Buffer.from(curve.params, 'hex'), point);

export function rsaPublicHalf(modulus: Uint8Array, publicExponent: Uint8Array): Uint8Array {
  const key = tagged(0x30, integer(modulus), integer(publicExponent));
  return tagged(0x30, RSA_ENCRYPTION, tagged(0x03, NO_UNUSED_BITS, key));
}

/** The fingerprint by which people and pins identify a key: SHA-256 of its SubjectPublicKeyInfo, hexadecimal. */
export function fingerprint(publicHalf: Uint8Array): string {
  return createHash('sha256').update(publicHalf).digest('hex');
}

/** The key for use in software. Undefined if it is not a key, for example a point that is not on its curve. */
export function openedKey(publicHalf: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(publicHalf), format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

/** The curve of an EC public half that {@link ecPublicHalf} has made. Undefined for any other. */
export function curveIn(publicHalf: Uint8Array): Curve | undefined {
  const curve = curveOf(paramsIn(publicHalf));
  return curve && bytesEqual(ecPublicHalf(curve, pointOf(curve, publicHalf)), publicHalf) ? curve : undefined;
}

/** The point of an EC public half that {@link ecPublicHalf} has made. */
export function pointOf(curve: Curve, publicHalf: Uint8Array): Uint8Array {
  return publicHalf.subarray(publicHalf.length - (2 * curve.fieldBytes + 1));
}

export function integer(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const magnitude = bytes.subarray(start);
  return (magnitude[0] ?? 0) >= 0x80 ? tagged(0x02, Uint8Array.of(0), magnitude) : tagged(0x02, magnitude);
}
