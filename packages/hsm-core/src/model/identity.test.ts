import { generateKeyPairSync, sign } from 'node:crypto';
import { expect, it } from 'vitest';
import { hasReceivingKey, identityOf, receivesFor, signingHalfOf } from './identity.ts';
import { fingerprint } from './public-half.ts';
import { isSignedBy } from './signed-manifest.ts';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const signingHalf = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
const [one, other] = [new Uint8Array(400).fill(1), new Uint8Array(400).fill(2)];

it('covers both keys with one fingerprint', () => {
  const prints = [undefined, one, other].map((receiving) => fingerprint(identityOf(signingHalf, receiving)));
  expect(new Set(prints).size).toBe(3);
});

it('names its receiving key, and no other', () => {
  const identity = identityOf(signingHalf, one);
  expect([hasReceivingKey(identity), receivesFor(identity, one), receivesFor(identity, other)]).toEqual([
    true,
    true,
    false,
  ]);
  expect([hasReceivingKey(signingHalf), receivesFor(signingHalf, one)]).toEqual([false, false]);
});

it('is signed for by its signing key', () => {
  const message = Buffer.from('a message');
  const signature = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const identity = identityOf(signingHalf, one);
  expect(Buffer.from(signingHalfOf(identity))).toEqual(Buffer.from(signingHalf));
  expect([isSignedBy(identity, message, signature), isSignedBy(signingHalf, message, signature)]).toEqual([true, true]);
});
