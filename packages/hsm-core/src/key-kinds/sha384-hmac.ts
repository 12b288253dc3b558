/** Keys for HMAC by SHA-384. */
import { CKK, CKM } from '@antipode/cryptoki';
import { hmacKind } from './hmac.ts';

export const sha384Hmac = hmacKind({ type: 'sha384-hmac', number: CKK.SHA384_HMAC, by: CKM.SHA384_HMAC, bytes: 48 });
