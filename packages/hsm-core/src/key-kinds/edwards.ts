/** Keys on Edwards curves differ by their curve only: they sign (RFC 8032), and a signature needs no digest. */
import { randomBytes, verify } from 'node:crypto';
import { CKK, CKM, CryptokiFailure, mechanism } from '@antipode/cryptoki';
import type { ObservedObject } from '../model/object.ts';
import { openedKey } from '../model/public-half.ts';
import { signingUse } from '../pkcs11/proving/use.ts';
import type { Clues } from '../pkcs11/reading/public-keys.ts';
import type { TokenSession } from '../pkcs11/token-session.ts';
import { type KeyKind, mayUse } from './key-kind.ts';
import { twistedPair } from './twisted-key.ts';

export const edwardsKind = <const Type extends 'ed25519' | 'ed448'>(type: Type): KeyKind & { readonly type: Type } => ({
  type,
  number: CKK.EC_EDWARDS,
  isIt: twistedPair(type).isIt,
  pair: { ...twistedPair(type).pair, findPublicHalf },
  prove(proof) {
    const { cryptoki, session } = proof.context;
    const { handle, attributes } = proof.item;
    const publicKey = proof.publicKey();
    if (publicKey === undefined) proof.useUnverified(CKM.EDDSA, proof.nonce);
    else if (attributes.sign)
      proof.use('sign', [CKM.EDDSA], (by) =>
        verify(null, proof.nonce, publicKey, cryptoki.sign(session, mechanism(by), handle, proof.nonce)),
      );
    if (!proof.hasProof) proof.rewrap();
  },
  uses: (context, { attributes }) => [signingUse(context, attributes, { type: CKM.EDDSA, data: randomBytes(32) })],
});

/** The public half that verifies a signature of the key: the expected one, or one of those beside it. */
function findPublicHalf(
  { cryptoki, session }: TokenSession,
  key: ObservedObject,
  { publicKeys, expected }: Clues,
): Uint8Array | undefined {
  if (!mayUse(key, 'sign', CKM.EDDSA)) return undefined;
  const message = Buffer.concat([Buffer.from('antipode public half v1\0'), randomBytes(32)]);
  try {
    const signature = cryptoki.sign(session, mechanism(CKM.EDDSA), key.handle, message);
    const candidates = [...(expected === undefined ? [] : [expected]), ...publicKeys.candidates(key)];
    return candidates.find((candidate) => {
      const publicKey = openedKey(candidate);
      return publicKey?.asymmetricKeyType?.startsWith('ed') && verify(null, message, publicKey, signature);
    });
  } catch (thrown) {
    if (thrown instanceof CryptokiFailure) return undefined;
    throw thrown;
  }
}
