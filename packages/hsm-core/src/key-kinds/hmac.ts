/** Keys of one MAC each, HMAC by one hash. All that they do is sign and verify, so that they share everything else. */
import { randomBytes } from 'node:crypto';
import type { CKK } from '@antipode/cryptoki';
import type { KeyType } from '../model/object.ts';
import { signingUse } from '../pkcs11/proving/use.ts';
import { macWay } from '../pkcs11/proving/vectors.ts';
import type { KeyKind } from './key-kind.ts';

/** `by` is the mechanism, `bytes` the length of its MAC. */
export const hmacKind = <const Type extends KeyType>({
  type,
  number,
  by,
  bytes,
}: {
  type: Type;
  number: (typeof CKK)[keyof typeof CKK];
  by: number;
  bytes: number;
}): KeyKind & { readonly type: Type } => ({
  type,
  number,
  prove(proof) {
    // An HMAC does not tell a key from one with zeros behind it: the value is shown by wrapping it again.
    proof.rewrap();
    proof.useMac([by], bytes);
  },
  vectors: [macWay(by)],
  uses: (context, { attributes }) => [signingUse(context, attributes, { type: by, data: randomBytes(32) })],
});
