/** Points of elliptic curves as PKCS#11 keeps them: an OCTET STRING with the uncompressed point (PKCS#11 3.0, 6.3.3). */
import { createPublicKey, type KeyObject } from 'node:crypto';

export function ecPoint(x: Buffer, y: Buffer): Buffer {
  const bare = Buffer.concat([Uint8Array.of(4), x, y]);
  return Buffer.concat([Uint8Array.of(0x04, bare.length), bare]);
}

const CURVE_OF_BYTES = { 32: 'P-256', 48: 'P-384' } as const;

/** Undefined for curves that no key of the test is on. */
export function ecPublicKey(point: Buffer): KeyObject | undefined {
  const size = (point.length - 3) / 2;
  const curve = CURVE_OF_BYTES[size as keyof typeof CURVE_OF_BYTES];
  if (curve === undefined) return undefined;
  const [x, y] = [point.subarray(3, 3 + size), point.subarray(3 + size)].map((one) => one.toString('base64url'));
  return createPublicKey({ key: { kty: 'EC', crv: curve, x: x!, y: y! }, format: 'jwk' });
}
