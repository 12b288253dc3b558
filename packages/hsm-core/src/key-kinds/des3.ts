/** DES keys of three parts. */
import { CKK, CKM } from '@antipode/cryptoki';
import { desKind } from './des.ts';

export const des3 = desKind({ type: 'des3', number: CKK.DES3, bits: 192, generate: CKM.DES3_KEY_GEN });
