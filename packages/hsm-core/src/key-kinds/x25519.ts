/** X25519 keys (RFC 7748). */
import { montgomeryKind } from './montgomery.ts';

export const x25519 = montgomeryKind('x25519');
