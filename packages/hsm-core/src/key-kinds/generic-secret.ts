/** Secrets without a cipher of their own: MACs, and derivation. */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, derivationFrom, mechanism } from '@antipode/cryptoki';
import type { Proof } from '../pkcs11/proving/proof.ts';
import { signingUse } from '../pkcs11/proving/use.ts';
import { HIDDEN_DERIVING_WAY, macWay } from '../pkcs11/proving/vectors.ts';
import type { KeyKind } from './key-kind.ts';

export const genericSecret = {
  type: 'generic-secret',
  number: CKK.GENERIC_SECRET,
  prove(proof) {
    proof.rewrap();
    useSecret(proof);
  },
  // SoftHSM wants a key as long as the hash.
  vectors: [macWay(CKM.SHA256_HMAC, CKM.SHA_1_HMAC, CKM.MD5_HMAC), HIDDEN_DERIVING_WAY],
  uses: (context, { attributes }) => {
    const data = randomBytes(32);
    return [CKM.SHA256_HMAC, CKM.SHA_1_HMAC].map((type) => signingUse(context, attributes, { type, data }));
  },
} as const satisfies KeyKind;

function useSecret(proof: Proof): void {
  proof.useMac([CKM.SHA256_HMAC, CKM.SHA_1_HMAC], 32);
  if (!proof.item.attributes.derive) return;
  const { cryptoki, session, values } = proof.context;
  const block = proof.nonce.subarray(0, 32);
  proof.use('derive', [CKM.SHA256_KEY_DERIVATION, CKM.CONCATENATE_BASE_AND_DATA], (type) => {
    const how = type === CKM.SHA256_KEY_DERIVATION ? mechanism(type) : derivationFrom(type, block);
    // It tells of the secret, so that nobody reads it: rewrapping has shown the value.
    const hidden = values.readable.map(
      ([attribute, value]) =>
        [attribute, attribute === CKA.SENSITIVE ? true : attribute === CKA.EXTRACTABLE ? false : value] as const,
    );
    cryptoki.destroy(session, cryptoki.deriveKey(session, how, proof.item.handle, hidden));
    return true;
  });
}
