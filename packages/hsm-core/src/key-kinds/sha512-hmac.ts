/** Keys for HMAC by SHA-512. */
import { CKK, CKM } from '@antipode/cryptoki';
import { hmacKind } from './hmac.ts';

export const sha512Hmac = hmacKind({ type: 'sha512-hmac', number: CKK.SHA512_HMAC, by: CKM.SHA512_HMAC, bytes: 64 });
