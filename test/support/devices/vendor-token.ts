/**
 * A token that differs from the standard as AWS CloudHSM does: ECDH derives by X9.63 only, RFC 5649 has a number of the
 * vendor's own, and no secret is taken in the clear. It is SoftHSM behind the lying module.
 */
import { CKD, CKO } from '@antipode/cryptoki';
import { makeToken } from '../tokens.ts';
import { type LyingToken, lying } from './lying-token.ts';

/** No number that the self-test knows: the configuration names it. */
export const VENDOR_KEY_WRAP = 0x8000_0901;

export function makeVendorToken(label: string): LyingToken {
  const token = lying(
    makeToken(label),
    { lie: 'kdf', number: CKD.SHA256_KDF },
    { lie: 'der-points' },
    { lie: 'wrap-number', number: VENDOR_KEY_WRAP },
    { lie: 'refuse', code: 'CKR_TEMPLATE_INCONSISTENT', function: 'C_CreateObject', class: CKO.SECRET_KEY },
  );
  return { ...token, config: { ...token.config, keyWrapMechanism: VENDOR_KEY_WRAP } };
}
