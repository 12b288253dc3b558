/** Keys for HMAC by SHA-224. */
import { CKK, CKM } from '@antipode/cryptoki';
import { hmacKind } from './hmac.ts';

export const sha224Hmac = hmacKind({ type: 'sha224-hmac', number: CKK.SHA224_HMAC, by: CKM.SHA224_HMAC, bytes: 28 });
