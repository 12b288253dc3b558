/** Keys for HMAC by SHA-1. */
import { CKK, CKM } from '@antipode/cryptoki';
import { hmacKind } from './hmac.ts';

export const sha1Hmac = hmacKind({ type: 'sha-1-hmac', number: CKK.SHA_1_HMAC, by: CKM.SHA_1_HMAC, bytes: 20 });
