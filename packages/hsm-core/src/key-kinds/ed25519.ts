/** Ed25519 keys (RFC 8032). */
import { edwardsKind } from './edwards.ts';

export const ed25519 = edwardsKind('ed25519');
