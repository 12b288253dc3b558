/** Keys for HMAC by SHA-256. */
import { CKK, CKM } from '@antipode/cryptoki';
import { hmacKind } from './hmac.ts';

export const sha256Hmac = hmacKind({ type: 'sha256-hmac', number: CKK.SHA256_HMAC, by: CKM.SHA256_HMAC, bytes: 32 });
