/** Ed448 keys (RFC 8032). */
import { edwardsKind } from './edwards.ts';

export const ed448 = edwardsKind('ed448');
