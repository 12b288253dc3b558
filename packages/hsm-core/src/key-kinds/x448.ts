/** X448 keys (RFC 7748). */
import { montgomeryKind } from './montgomery.ts';

export const x448 = montgomeryKind('x448');
