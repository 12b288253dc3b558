/** How keys on Edwards and Montgomery curves are read: the curve tells the kind, since two kinds share a key type. */
import { CKA, type Template } from '@antipode/cryptoki';
import { isOn, TWISTED, type TwistedName, twistedPublicHalf } from '../model/twisted-curve.ts';
import type { KeyKind, PairKind } from './key-kind.ts';

export function twistedPair(name: TwistedName): {
  readonly pair: PairKind;
  readonly isIt: NonNullable<KeyKind['isIt']>;
} {
  const isIt: NonNullable<KeyKind['isIt']> = (value) => isOn(name, value(CKA.EC_PARAMS));
  return {
    isIt,
    pair: {
      publicParts: [CKA.EC_PARAMS, CKA.EC_POINT],
      privateParts: [CKA.EC_PARAMS],
      showsPublicHalf: false,
      sizeBits: () => TWISTED[name].bits,
      publicHalf: (value) => (isIt(value) ? twistedPublicHalf(name, value(CKA.EC_POINT)) : undefined),
      besideBlob: ({ publicHalf }): Template =>
        publicHalf === undefined ? [] : [[CKA.NSS_DB, publicHalf.subarray(-TWISTED[name].pointBytes)]],
    },
  };
}
