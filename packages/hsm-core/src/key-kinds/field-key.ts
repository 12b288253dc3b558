/** How keys in finite fields are read: domain parameters in both halves, and a public value in the public one. */
import { CKA } from '@antipode/cryptoki';
import { bitsOf, type FieldHalf } from '../model/finite-field.ts';
import type { PairKind, Values } from './key-kind.ts';

export function fieldPair({
  domain,
  publicHalf,
}: {
  /** The attributes of its domain parameters. */
  domain: readonly number[];
  publicHalf: (parts: FieldHalf) => Uint8Array | undefined;
}): PairKind {
  return {
    publicParts: [...domain, CKA.VALUE],
    privateParts: domain,
    showsPublicHalf: false,
    sizeBits: (value) => bitsOf(value(CKA.PRIME)),
    publicHalf(value: Values) {
      const [prime, subprime, base] = [value(CKA.PRIME), value(CKA.SUBPRIME), value(CKA.BASE)];
      // Of a public key only: nobody asks a private key for its value.
      const publicValue = value(CKA.VALUE);
      if (!prime?.length || !base?.length || !publicValue?.length) return undefined;
      return publicHalf({ prime, ...(subprime?.length ? { subprime } : {}), base, publicValue });
    },
  };
}
