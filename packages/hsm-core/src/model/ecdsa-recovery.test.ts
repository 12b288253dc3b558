import { createECDH, createHash, generateKeyPairSync, sign } from 'node:crypto';
import { hex } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import { CURVES, type NamedCurve } from './curve.ts';
import { agreement, recoverPoints } from './ecdsa-recovery.ts';
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

const SMALL = CURVES[0]!;

describe.each(CURVES)('$openssl', (curve) => {
  it('finds the point of a key from one of its signatures, among few', () => {
    const { point, digest, signature } = signed(curve, curve.hash);
    const found = recoverPoints(curve, digest, signature).map(hex);
    expect(found).toContain(point);
    expect(found.length).toBeLessThanOrEqual(4);
  });

  it('makes the public key of any private key, as OpenSSL does', () => {
    const { n } = curve.domain!;
    const half = 1n << BigInt(curve.bits - 2);
    for (const scalar of [1n, 2n, 3n, 4n, 5n, half - 1n, half, half + 1n, n / 2n, n - 3n, n - 2n, n - 1n]) {
      const key = createECDH(curve.openssl);
      key.setPrivateKey(scalar.toString(16).padStart(2 * curve.fieldBytes, '0'), 'hex');
      const other = agreement(curve, curve.generator, scalar - 1n)!;
      expect(hex(other.point)).toBe(key.getPublicKey('hex'));
      expect(hex(other.secret)).toBe(hex(other.point.subarray(1, 1 + curve.fieldBytes)));
    }
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

/** y^2 = x^3 + 2x + 2 over 17 elements: the multiples of (5, 1), from the first to the 18th. The 19th is at infinity. */
const MULTIPLES = '0501 0603 0a06 0301 0910 100d 0006 0d07 0706 070b 0d0a 000b 1004 0901 0310 0a0b 060e 0510'.split(
  ' ',
);

it('finds every multiple of a point, even if its order is not the one that a token says', () => {
  const generator = Buffer.from(`04${MULTIPLES[0]}`, 'hex');
  const domain = { p: 17n, a: 2n, b: 2n, n: 500n, g: { x: 5n, y: 1n } };
  const curve = { ...SMALL, bits: 5, fieldBytes: 1, generator, domain };
  for (let scalar = 1; scalar < 500; scalar += 1) {
    const expected = MULTIPLES[(scalar % 19) - 1];
    const found = agreement(curve, generator, BigInt(scalar - 1));
    expect(found && hex(found.point)).toBe(expected && `04${expected}`);
  }
});
