import { createECDH, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CKA, CKM, type Cryptoki, CryptokiFailure, type Mechanism, type Template } from '@antipode/cryptoki';
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { hex } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import type { Attributes } from '../model/attributes.ts';
import { CURVES, curveOf } from '../model/curve.ts';
import { derivedBy, type Kdf } from '../model/kdf.ts';
import type { ObservedObject } from '../model/object.ts';
import type { Agreement } from '../pkcs11/agreement.ts';
import { PublicKeys } from '../pkcs11/reading/public-keys.ts';
import { soundSession } from '../testing/sound-session.ts';
import { findPublicHalf, softwareAgreement } from './ec-public-half.ts';

const P256 = CURVES[0]!;
const PARAMS = Buffer.from(P256.params, 'hex');

const pair = () => generateKeyPairSync('ec', { namedCurve: P256.openssl });
const spki = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: 'spki' }));

/** A token that keeps one private key without its point, and agrees and signs with it in software. */
function token(key: KeyObject, { kdf = 'null' }: { kdf?: Kdf } = {}) {
  const agreement: Agreement = { kdfs: [kdf], pointEncoding: 'raw' };
  const derived = new Map<bigint, Buffer>();
  let signatures = 0;
  const cryptoki: Partial<Cryptoki> = {
    attributes: (_session: bigint, object: bigint) => new Map([[CKA.VALUE, derived.get(object)!]]),
    sign: (_session: bigint, { type }: Mechanism, _key: bigint, digest: Uint8Array) => {
      expect(type).toBe(CKM.ECDSA);
      signatures += 1;
      return signDigest(key, digest);
    },
    deriveKey: (_session: bigint, { keep = [] }: Mechanism, _key: bigint, _template: Template) => {
      const ours = createECDH(P256.openssl);
      ours.setPrivateKey(Buffer.from(key.export({ format: 'jwk' }).d!, 'base64url'));
      derived.set(9n, Buffer.from(derivedBy(kdf, ours.computeSecret(keep[0]!), P256.fieldBytes)));
      return 9n;
    },
    destroy: (_session: bigint, handle: bigint) => derived.delete(handle),
  };
  return {
    context: soundSession(partialCryptoki(cryptoki), { agreement }),
    derived,
    signatures: () => signatures,
  };
}

/** node:crypto hashes what it signs, so the signature over a given digest is made by hand: d and k are known here. */
function signDigest(key: KeyObject, digest: Uint8Array): Buffer {
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const number = (bytes: Uint8Array): bigint => BigInt(`0x${hex(bytes)}`);
  const once = createECDH(P256.openssl);
  const r = number(once.generateKeys().subarray(1, 33)) % n;
  const d = number(Buffer.from(key.export({ format: 'jwk' }).d!, 'base64url'));
  const k = number(once.getPrivateKey());
  let inverse = 1n;
  for (let [base, exponent] = [k, n - 2n]; exponent > 0n; exponent >>= 1n, base = (base * base) % n)
    if (exponent & 1n) inverse = (inverse * base) % n;
  const s = (inverse * (number(digest) + r * d)) % n;
  return Buffer.from([r, s].map((value) => value.toString(16).padStart(64, '0')).join(''), 'hex');
}

function observed(
  objectClass: 'private-key' | 'public-key',
  attributes: Attributes,
  publicHalf?: Uint8Array,
): ObservedObject {
  const half = publicHalf === undefined ? {} : { publicHalf };
  return {
    handle: 7n,
    objectClass,
    keyType: 'ec',
    sizeBits: 256,
    curveParams: PARAMS,
    attributes,
    readDigest: '',
    ...half,
  };
}

const publicKey = (key: KeyObject, id: string): ObservedObject =>
  observed('public-key', { id: Buffer.from(id), ecParams: PARAMS }, spki(key));

const beside = (...objects: ObservedObject[]): PublicKeys => new PublicKeys(objects);

describe('the public half of a private key that is kept without its point', () => {
  it('is that of the public key beside it that verifies its signature, whatever the ids say', () => {
    const [ours, other] = [pair(), pair()];
    const key = observed('private-key', { id: Buffer.from('same'), sign: true });
    const { context, signatures } = token(ours.privateKey);
    const found = findPublicHalf(context, key, {
      publicKeys: beside(publicKey(other.publicKey, 'same'), publicKey(ours.publicKey, 'another')),
    });
    expect([found, signatures()]).toEqual([spki(ours.publicKey), 1]);
  });

  it('is recovered from two signatures when no public key beside it fits', () => {
    const [ours, other] = [pair(), pair()];
    const { context, signatures } = token(ours.privateKey);
    const found = findPublicHalf(context, observed('private-key', { sign: true }), {
      publicKeys: beside(publicKey(other.publicKey, '')),
    });
    expect([found, signatures()]).toEqual([spki(ours.publicKey), 2]);
  });

  it('is what was expected when its signature verifies, and never otherwise', () => {
    const [ours, other] = [pair(), pair()];
    const { context, signatures } = token(ours.privateKey);
    const key = observed('private-key', { sign: true });
    const find = (expected: Uint8Array) => findPublicHalf(context, key, { publicKeys: beside(), expected });
    expect([find(spki(ours.publicKey)), signatures()]).toEqual([spki(ours.publicKey), 1]);
    expect([find(spki(other.publicKey)), find(new Uint8Array(91))]).toEqual([
      spki(ours.publicKey),
      spki(ours.publicKey),
    ]);
  });

  it('is what was expected when agreeing gives its x-coordinate, and never otherwise', () => {
    const [ours, other] = [pair(), pair()];
    const { context } = token(ours.privateKey);
    const key = observed('private-key', { derive: true });
    const find = (expected: Uint8Array) => findPublicHalf(context, key, { publicKeys: beside(), expected })!;
    expect(find(spki(ours.publicKey))).toEqual(spki(ours.publicKey));
    expect(hex(find(spki(other.publicKey)).slice(-64, -32))).toBe(hex(spki(ours.publicKey).slice(-64, -32)));
  });

  it('has the x-coordinate that agreeing with the generator gives, and no derived key is left', () => {
    const ours = pair();
    const { context, derived } = token(ours.privateKey);
    const found = findPublicHalf(context, observed('private-key', { derive: true }), { publicKeys: beside() })!;
    expect(hex(found.slice(-64, -32))).toBe(hex(spki(ours.publicKey).slice(-64, -32)));
    expect(derived.size).toBe(0);
  });

  it('is that of a key beside it, or the expected one, where the token only derives by X9.63', () => {
    const [ours, other] = [pair(), pair()];
    const { context } = token(ours.privateKey, { kdf: 'sha256' });
    const key = observed('private-key', { derive: true });
    const publicKeys = beside(publicKey(other.publicKey, ''), publicKey(ours.publicKey, 'another'));
    expect(findPublicHalf(context, key, { publicKeys })).toEqual(spki(ours.publicKey));
    const expected = spki(ours.publicKey);
    expect(findPublicHalf(context, key, { publicKeys: beside(), expected })).toEqual(expected);
    expect(findPublicHalf(context, key, { publicKeys: beside(publicKey(other.publicKey, '')) })).toBeUndefined();
  });

  it.each<[string, Attributes]>([
    ['may be used for nothing', {}],
    ['asks for a login each time', { sign: true, alwaysAuthenticate: true }],
    ['allows another mechanism only', { sign: true, allowedMechanisms: [CKM.ECDH1_DERIVE] }],
  ])('stays unknown when the key %s, and the key is not used', (_how, attributes) => {
    const { context, signatures } = token(pair().privateKey);
    expect(findPublicHalf(context, observed('private-key', attributes), { publicKeys: beside() })).toBeUndefined();
    expect(signatures()).toBe(0);
  });

  it('stays unknown when the key shows no curve, as a half-made one, and the key is not used', () => {
    const { context, derived } = token(pair().privateKey);
    context.cryptoki.destroy = () => true;
    const { curveParams: _none, ...key } = observed('private-key', { derive: true });
    expect(findPublicHalf(context, key, { publicKeys: beside() })).toBeUndefined();
    expect(derived.size).toBe(0);
  });

  it('stays unknown when the token refuses to use the key', () => {
    const { context } = token(pair().privateKey);
    context.cryptoki.sign = () => {
      throw new CryptokiFailure('C_SignInit', 0x068);
    };
    expect(findPublicHalf(context, observed('private-key', { sign: true }), { publicKeys: beside() })).toBeUndefined();
  });
});

it('software agrees with a point that nobody can take for an OCTET STRING', () => {
  // brainpoolP320r1: one of some 210 points has a first byte that is the length of the rest.
  const curve = curveOf(Buffer.from('06092b2403030208010109', 'hex'))!;
  const theirs = createECDH(curve.openssl!);
  const point = new Uint8Array(theirs.generateKeys());
  for (let round = 0; round < 1_500; round += 1)
    expect(softwareAgreement(curve, point).point[1]).not.toBe(2 * curve.fieldBytes - 1);
});
