import { generateKeyPairSync, sign } from 'node:crypto';
import { expect, it } from 'vitest';
import { hasOfficerKey, hasReceivingKey, identityOf, isOfficerKeyOf, receivesFor, signingHalfOf } from './identity.ts';
import { isSignedBy } from './manifest/signed-manifest.ts';
import { fingerprint } from './public-half.ts';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const signingHalf = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
const [one, other] = [new Uint8Array(400).fill(1), new Uint8Array(400).fill(2)];

it('covers all keys with one fingerprint', () => {
  const halves = [
    {},
    { receiving: one },
    { receiving: other },
    { receiving: one, officer: one },
    { receiving: one, officer: other },
  ];
  expect(new Set(halves.map((half) => fingerprint(identityOf(signingHalf, half)))).size).toBe(5);
});

it('names its receiving key, and no other', () => {
  const identity = identityOf(signingHalf, { receiving: one });
  expect([hasReceivingKey(identity), receivesFor(identity, one), receivesFor(identity, other)]).toEqual([
    true,
    true,
    false,
  ]);
  expect([hasReceivingKey(signingHalf), receivesFor(signingHalf, one)]).toEqual([false, false]);
});

it('names its officer key, and no other, besides the receiving key', () => {
  const identity = identityOf(signingHalf, { receiving: one, officer: other });
  expect([hasOfficerKey(identity), isOfficerKeyOf(identity, other), isOfficerKeyOf(identity, one)]).toEqual([
    true,
    true,
    false,
  ]);
  expect([hasReceivingKey(identity), receivesFor(identity, one), receivesFor(identity, other)]).toEqual([
    true,
    true,
    false,
  ]);
  expect(Buffer.from(signingHalfOf(identity))).toEqual(Buffer.from(signingHalf));
  // Without a receiving key there is none: what an identity says does not depend on what is left out.
  expect(identityOf(signingHalf, { officer: one })).toBe(signingHalf);
  expect(isOfficerKeyOf(identityOf(signingHalf, { receiving: one }), one)).toBe(false);
});

it('verifies signatures of its signing key', () => {
  const message = Buffer.from('a message');
  const signature = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const identity = identityOf(signingHalf, { receiving: one });
  expect(Buffer.from(signingHalfOf(identity))).toEqual(Buffer.from(signingHalf));
  expect([isSignedBy(identity, message, signature), isSignedBy(signingHalf, message, signature)]).toEqual([true, true]);
});
