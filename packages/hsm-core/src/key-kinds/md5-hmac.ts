/** Keys for HMAC by MD5. */
import { CKK, CKM } from '@antipode/cryptoki';
import { hmacKind } from './hmac.ts';

export const md5Hmac = hmacKind({ type: 'md5-hmac', number: CKK.MD5_HMAC, by: CKM.MD5_HMAC, bytes: 16 });
