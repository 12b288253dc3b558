/** DSA keys (FIPS 186-4). A private key shows no public half, and a signature does not tell it: it must lie beside it. */
import { createHash, randomBytes, verify } from 'node:crypto';
import { CKA, CKK, CKM, CryptokiFailure, mechanism } from '@antipode/cryptoki';
import { bitsOf, dsaPublicHalf, fieldIn } from '../model/finite-field.ts';
import type { ObservedObject } from '../model/object.ts';
import { openedKey } from '../model/public-half.ts';
import { signingUse } from '../pkcs11/proving/use.ts';
import type { Clues } from '../pkcs11/reading/public-keys.ts';
import { isSoftwareRefusal } from '../pkcs11/reading/software-refusal.ts';
import type { TokenSession } from '../pkcs11/token-session.ts';
import { fieldPair } from './field-key.ts';
import { type KeyKind, mayUse } from './key-kind.ts';

export const dsa = {
  type: 'dsa',
  number: CKK.DSA,
  pair: {
    ...fieldPair({ domain: [CKA.PRIME, CKA.SUBPRIME, CKA.BASE], publicHalf: dsaPublicHalf }),
    findPublicHalf,
  },
  prove(proof) {
    const { cryptoki, session } = proof.context;
    const { handle, attributes, publicHalf } = proof.item;
    const publicKey = proof.publicKey();
    if (publicKey === undefined || publicHalf === undefined) proof.useUnverified(CKM.DSA, proof.nonce.subarray(0, 20));
    else if (attributes.sign) {
      const hash = hashFor(publicHalf);
      proof.use('sign', [CKM.DSA], (type) => {
        const digest = createHash(hash).update(proof.nonce).digest();
        const signature = cryptoki.sign(session, mechanism(type), handle, digest);
        return verify(hash, proof.nonce, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
      });
    }
    if (!proof.hasProof) proof.rewrap();
  },
  uses: (context, { attributes }) => [signingUse(context, attributes, { type: CKM.DSA, data: randomBytes(20) })],
} as const satisfies KeyKind;

/** A hash as long as the order of the group, or shorter. */
function hashFor(publicHalf: Uint8Array): 'sha1' | 'sha224' | 'sha256' {
  const bits = bitsOf(fieldIn(publicHalf)?.subprime);
  if (bits < 224) return 'sha1';
  return bits < 256 ? 'sha224' : 'sha256';
}

function findPublicHalf(
  { cryptoki, session }: TokenSession,
  key: ObservedObject,
  { publicKeys, expected }: Clues,
): Uint8Array | undefined {
  if (!mayUse(key, 'sign', CKM.DSA)) return undefined;
  const message = Buffer.concat([Buffer.from('antipode public half v1\0'), randomBytes(32)]);
  const signs = (publicHalf: Uint8Array): boolean => {
    const publicKey = openedKey(publicHalf);
    if (publicKey?.asymmetricKeyType !== 'dsa') return false;
    const hash = hashFor(publicHalf);
    const signature = cryptoki.sign(session, mechanism(CKM.DSA), key.handle, createHash(hash).update(message).digest());
    return verify(hash, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
  };
  try {
    if (expected !== undefined && signs(expected)) return expected;
    for (const candidate of publicKeys.candidates(key)) if (signs(candidate)) return candidate;
  } catch (thrown) {
    if (!(thrown instanceof CryptokiFailure) && !isSoftwareRefusal(thrown)) throw thrown;
  }
  return undefined;
}
