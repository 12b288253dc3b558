/** Ed25519 keys (RFC 8032), as PKCS#11 3.0 has them, section 2.3.5. An example: no device known to us wraps one. */
import { randomBytes, verify } from 'node:crypto';
import { CKA, CKK, CKM, mechanism } from '@antipode/cryptoki';
import type { KeyKind, PairKind } from '../../key-kinds/key-kind.ts';
import { OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, tagged, tlvOf } from '../../model/der.ts';
import { signingUse } from '../../pkcs11/proving/use.ts';

/** id-Ed25519 (RFC 8410, section 3). */
const ED25519 = tagged(OBJECT_IDENTIFIER, Buffer.from('2b6570', 'hex'));
const BIT_STRING = 0x03;
const POINT_BYTES = 32;

const pair: PairKind = {
  publicParts: [CKA.EC_PARAMS, CKA.EC_POINT],
  privateParts: [CKA.EC_PARAMS],
  showsPublicHalf: false,
  sizeBits: (value) => (value(CKA.EC_PARAMS)?.equals(ED25519) ? 255 : 0),
  publicHalf(value) {
    const encoded = value(CKA.EC_POINT);
    const point = encoded && (tlvOf(encoded, OCTET_STRING)?.content ?? encoded);
    if (point?.length !== POINT_BYTES || !value(CKA.EC_PARAMS)?.equals(ED25519)) return undefined;
    return tagged(SEQUENCE, tagged(SEQUENCE, ED25519), tagged(BIT_STRING, Uint8Array.of(0), point));
  },
};

export const ed25519 = {
  type: 'ed25519',
  number: CKK.EC_EDWARDS,
  pair,
  prove(proof) {
    const { cryptoki, session } = proof.context;
    const { handle, attributes } = proof.item;
    const publicKey = proof.publicKey();
    if (publicKey === undefined) proof.useUnverified(CKM.EDDSA, proof.nonce);
    else if (attributes.sign)
      proof.use('sign', [CKM.EDDSA], (type) =>
        verify(null, proof.nonce, publicKey, cryptoki.sign(session, mechanism(type), handle, proof.nonce)),
      );
    if (!proof.hasProof) proof.rewrap();
  },
  uses: (context, { attributes }) => [signingUse(context, attributes, { type: CKM.EDDSA, data: randomBytes(32) })],
} as const satisfies Omit<KeyKind, 'type'> & { readonly type: string };
