/** DES keys of two parts, which encrypt by the first, the second and the first again. */
import { CKK, CKM } from '@antipode/cryptoki';
import { desKind } from './des.ts';

export const des2 = desKind({ type: 'des2', number: CKK.DES2, bits: 128, generate: CKM.DES2_KEY_GEN });
