/** The kinds of objects of which docs/devices/softhsm2.md has a table, in its order. */
import { CURVES, GUARDED_PAIRS, halfPair, openPrivate, withPublicKeyInfo } from './curves.ts';
import { FINITE_FIELD } from './finite-field.ts';
import { DATED, guarded, indestructible, NAMED, nameless, RESTRICTED, withVendorAttribute } from './marked-keys.ts';
import { CERTIFICATES, lockedData, OTHER_CLASSES } from './objects.ts';
import { limitedRsa, RSA, RSA_PUBLIC } from './rsa.ts';
import { SECRETS } from './secrets.ts';
import type { Specimen } from './specimen.ts';
import { TWISTED } from './twisted.ts';

export const ZOO: readonly Specimen[] = [
  ...SECRETS,
  ...CURVES,
  ...TWISTED,
  ...RSA,
  halfPair,
  ...RSA_PUBLIC,
  ...FINITE_FIELD,
  ...OTHER_CLASSES,
  ...CERTIFICATES,
  ...NAMED,
  ...DATED,
  ...GUARDED_PAIRS,
  guarded,
  openPrivate,
  ...RESTRICTED,
  limitedRsa,
  withVendorAttribute,
  withPublicKeyInfo,
  lockedData,
  nameless,
  indestructible,
];
