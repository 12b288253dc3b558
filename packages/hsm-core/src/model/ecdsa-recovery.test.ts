import { createECDH, createHash, generateKeyPairSync, sign } from 'node:crypto';
import { hex } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import { CURVES, type NamedCurve } from './curve.ts';
import { recoverPoints } from './ecdsa-recovery.ts';
import { pointOf } from './public-half.ts';

function signed(curve: NamedCurve, hash: string) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: curve.openssl });
  const point = pointOf(curve, new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })));
  const message = Buffer.from(`a message for ${curve.openssl}`);
  return {
    point: hex(point),
    digest: createHash(hash).update(message).digest(),
    signature: new Uint8Array(sign(hash, message, { key: privateKey, dsaEncoding: 'ieee-p1363' })),
  };
}

/** Recovering a point costs P-521 half a second, so only the small curve is tried more than once. */
const SMALL = CURVES[0]!;

describe.each(CURVES)('$openssl', (curve) => {
  it('finds the point of a key from one of its signatures, among few', () => {
    const { point, digest, signature } = signed(curve, curve.hash);
    const found = recoverPoints(curve, digest, signature).map(hex);
    expect(found).toContain(point);
    expect(found.length).toBeLessThanOrEqual(4);
  });

  it('has the generator of the standard: the public key of the private key 1', () => {
    const one = createECDH(curve.openssl);
    one.setPrivateKey(Buffer.concat([Buffer.alloc(curve.fieldBytes - 1), Uint8Array.of(1)]));
    expect(hex(curve.generator)).toBe(one.getPublicKey('hex'));
  });
});

it('takes the leftmost bits of a digest that is longer than the order', () => {
  const { point, digest, signature } = signed(SMALL, 'sha512');
  expect(recoverPoints(SMALL, digest, signature).map(hex)).toContain(point);
});

it('does not find the point from another digest or a changed signature', () => {
  const { point, digest, signature } = signed(SMALL, 'sha256');
  const other = Buffer.from(digest);
  other[0]! ^= 1;
  expect(recoverPoints(SMALL, other, signature).map(hex)).not.toContain(point);
  const changed = Uint8Array.from(signature);
  changed[changed.length - 1]! ^= 1;
  expect(recoverPoints(SMALL, digest, changed).map(hex)).not.toContain(point);
});
