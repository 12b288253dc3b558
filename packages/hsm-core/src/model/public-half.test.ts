import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { CURVES, curveOf } from './curve.ts';
import { barePoint, ecPublicHalf, fingerprint, pointOf, rsaPublicHalf } from './public-half.ts';

describe.each(CURVES)('$openssl', (curve) => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: curve.openssl });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  const point = spki.slice(-(2 * curve.fieldBytes + 1));
  const length = point.length < 0x80 ? [point.length] : [0x81, point.length];

  it('gives the same public half as OpenSSL, and its point back', () => {
    expect(new Uint8Array(ecPublicHalf(curve, point))).toEqual(spki);
    expect(new Uint8Array(pointOf(curve, spki))).toEqual(point);
  });

  it('is identified by its parameters', () => {
    expect(curveOf(Buffer.from(curve.params, 'hex'))).toBe(curve);
  });

  it('accepts a point bare and as an OCTET STRING', () => {
    expect(barePoint(curve, point)).toEqual(point);
    expect(barePoint(curve, Uint8Array.of(0x04, ...length, ...point))).toEqual(point);
  });

  it('accepts no point that is short, long or malformed', () => {
    expect(barePoint(curve, point.subarray(1))).toBeUndefined();
    expect(barePoint(curve, Uint8Array.of(0, 0, 0, 0, ...point))).toBeUndefined();
    expect(barePoint(curve, Uint8Array.of(5, ...point.subarray(1)))).toBeUndefined();
    expect(barePoint(curve, new Uint8Array())).toBeUndefined();
  });
});

it.each([1024, 2048])('gives the same public half as OpenSSL for RSA of %i bits', (modulusLength) => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength });
  const { n, e } = publicKey.export({ format: 'jwk' });
  const modulus = Buffer.from(n!, 'base64url');
  const exponent = Buffer.from(e!, 'base64url');
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  expect(rsaPublicHalf(modulus, exponent)).toEqual(spki);
  // Some tokens pad their big integers with zeros.
  expect(rsaPublicHalf(Buffer.concat([Buffer.alloc(2), modulus]), Buffer.concat([Buffer.alloc(1), exponent]))).toEqual(
    spki,
  );
});

it('adds no byte to a modulus whose first bit is clear', () => {
  const half = Buffer.from(rsaPublicHalf(Buffer.from(`3f${'11'.repeat(127)}`, 'hex'), Uint8Array.of(1, 0, 1)));
  const key = createPublicKey({ key: half, format: 'der', type: 'spki' });
  expect(key.export({ format: 'der', type: 'spki' })).toEqual(half);
});

it('fingerprints by SHA-256 of the whole public half', () => {
  expect(fingerprint(Buffer.from('abc'))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});
