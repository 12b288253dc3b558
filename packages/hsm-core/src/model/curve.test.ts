import { createECDH, createHash, generateKeyPairSync, getCurves, type KeyObject, sign, verify } from 'node:crypto';
import { hex } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import { CURVES, type Curve, curveOf, paramsIn } from './curve.ts';
import { agreement, recoverPoints } from './ecdsa-recovery.ts';
import { barePoint, curveIn, ecPublicHalf, pointOf, uncompressed } from './public-half.ts';

const spki = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: 'spki' }));
const pairOn = (namedCurve: string, paramEncoding: 'named' | 'explicit' = 'named') =>
  generateKeyPairSync('ec', { namedCurve, paramEncoding });
const paramsOf = (name: string, encoding: 'named' | 'explicit' = 'named'): Uint8Array =>
  paramsIn(spki(pairOn(name, encoding).publicKey))!;

/** OpenSSL has two without an identifier, which no token can name either. */
const NAMED = getCurves().filter((name) => !name.startsWith('Oakley'));

it.each(NAMED)('%s is known by its identifier, and by its explicit parameters', (name) => {
  for (const encoding of ['named', 'explicit'] as const) {
    const half = spki(pairOn(name, encoding).publicKey);
    const curve = curveOf(paramsIn(half))!;
    // SM2 has no name by its parameters.
    expect(curve.openssl).toSatisfy((found) =>
      found === undefined ? name === 'SM2' : createECDH(found) !== undefined,
    );
    expect(curve.generator).toHaveLength(2 * curve.fieldBytes + 1);
    expect(new Uint8Array(ecPublicHalf(curve, pointOf(curve, half)))).toEqual(half);
    expect(curveIn(half)).toBe(curve);
  }
});

it('tells curves of one size from each other', () => {
  const params = ['prime256v1', 'secp256k1', 'brainpoolP256r1', 'brainpoolP256t1'].map((name) => paramsOf(name));
  const curves = params.map((one) => curveOf(one)!);
  expect(curves.map(({ bits }) => bits)).toEqual([256, 256, 256, 256]);
  expect(new Set(curves.map(({ generator }) => hex(generator))).size).toBe(4);
});

it('finds no curve for an unknown identifier, a name, or malformed parameters', () => {
  for (const params of ['', '06032b6570', '130c656477617264733235353139', '0500', '3003020101', '06', '30', 'ff'])
    expect(curveOf(Buffer.from(params, 'hex'))).toBeUndefined();
  expect(curveOf(undefined)).toBeUndefined();
  expect(curveOf(new Uint8Array(2_000).fill(0x30))).toBeUndefined();
});

it('never takes a curve for a named one if any bit of its parameters differs', () => {
  const params = paramsOf('secp256k1', 'explicit');
  const { domain } = curveOf(params)!;
  for (let at = 0; at < params.length; at += 1) {
    const changed = Uint8Array.from(params);
    changed[at]! ^= 1;
    const curve = curveOf(changed);
    if (curve?.openssl !== undefined) expect(curve.domain).toEqual(domain);
  }
});

/**
 * Of primes that are 3 and 1 modulo 4, with a = 0, a = -3 and others, a cofactor above 1, and orders longer than the
 * field.
 */
const PRIME = ['secp256k1', 'brainpoolP256r1', 'brainpoolP320t1', 'secp224r1', 'secp224k1', 'secp112r2', 'secp160r1'];

describe.each(PRIME)('%s', (name) => {
  const curve = curveOf(paramsOf(name))!;
  const { publicKey, privateKey } = pairOn(name);
  const point = pointOf(curve, spki(publicKey));

  it('recovers the point of a key from one of its signatures', () => {
    const message = Buffer.from('a message');
    const signature = sign(curve.hash, message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    const digest = createHash(curve.hash).update(message).digest();
    expect(recoverPoints(curve, digest, signature).map(hex)).toContain(hex(point));
    expect(verify(curve.hash, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
  });

  it.each<[string, Curve]>([
    ['by OpenSSL', curve],
    ['by hand', withoutName(curve)],
  ])('has points of every form made uncompressed %s', (_how, one) => {
    const head = 2 + (point.at(-1)! & 1);
    const compressed = Buffer.concat([Uint8Array.of(head), point.subarray(1, 1 + curve.fieldBytes)]);
    const hybrid = Buffer.concat([Uint8Array.of(head + 4), point.subarray(1)]);
    for (const form of [compressed, hybrid, point]) {
      expect(barePoint(one, form)).toEqual(point);
      expect(barePoint(one, Buffer.concat([Uint8Array.of(4, form.length), form]))).toEqual(point);
    }
    expect(barePoint(one, Buffer.concat([Uint8Array.of((head ^ 1) + 4), point.subarray(1)]))).toBeUndefined();
    expect(uncompressed(one, new Uint8Array(curve.fieldBytes + 1).fill(0xff))).toBeUndefined();
  });

  it('agrees by hand as OpenSSL does', () => {
    const theirs = createECDH(name);
    theirs.generateKeys();
    const agreed = agreement(curve, new Uint8Array(theirs.getPublicKey()), 123_456_789n)!;
    expect(hex(theirs.computeSecret(agreed.point))).toBe(hex(agreed.secret));
  });
});

it('finds no point on a curve over a binary field', () => {
  const curve = curveOf(paramsOf('sect233k1'))!;
  expect(recoverPoints(curve, new Uint8Array(32), new Uint8Array(60).fill(1))).toEqual([]);
  expect(curve.domain).toBeUndefined();
});

function withoutName({ openssl: _name, ...rest }: Curve): Curve {
  return rest;
}

it.each(CURVES)(
  '$openssl is written out as OpenSSL has it',
  ({ openssl, domain, generator, bits, fieldBytes, hash }) => {
    const explicit = curveOf(paramsOf(openssl, 'explicit'));
    expect({ openssl, domain, generator, bits, fieldBytes, hash }).toEqual({ ...explicit, params: undefined });
  },
);

it('uses for each curve the longest hash that fits its order', () => {
  const hashes = ['secp112r1', 'secp224r1', 'secp256k1', 'brainpoolP320r1', 'brainpoolP384r1', 'brainpoolP512r1'].map(
    (name) => curveOf(paramsOf(name))?.hash,
  );
  expect(hashes).toEqual(['sha1', 'sha224', 'sha256', 'sha256', 'sha384', 'sha512']);
  expect(CURVES.map(({ hash }) => hash)).toEqual(['sha256', 'sha384', 'sha512']);
});
