/** Everything that keys of our own must be, as far as a token keeps it. */
import { CKA, CKK, CKM, CKO, type Mechanism, type Template, ulong } from '@antipode/cryptoki';
import type { Protection } from '../../provider/provider.ts';

/** Attributes that are given for a protection alone. */
const HARDENING: Partial<Record<Protection, number>> = {
  modifiable: CKA.MODIFIABLE,
  copyable: CKA.COPYABLE,
  'allowed-mechanisms': CKA.ALLOWED_MECHANISMS,
  'unwrap-template': CKA.UNWRAP_TEMPLATE,
};

/**
 * Those of the attributes that the token keeps. Any other would be refused, or pretend: NSS softokn stores the
 * addresses inside an unwrap template in its database.
 */
export function hardened(unenforced: readonly Protection[], ...attributes: Template): Template {
  const idle = new Set(unenforced.map((protection) => HARDENING[protection]));
  return attributes.filter(([type]) => !idle.has(type));
}

export interface Policy {
  readonly keyWrap: Mechanism;
  readonly unenforced: readonly Protection[];
}

/** A domain key, wherever it lies and whatever it is called. */
export const domainKeyPolicy = ({ keyWrap, unenforced }: Policy): Template => [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.AES],
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, false],
  [CKA.ENCRYPT, false],
  [CKA.DECRYPT, false],
  [CKA.SIGN, false],
  [CKA.VERIFY, false],
  [CKA.DERIVE, false],
  [CKA.WRAP, true],
  [CKA.UNWRAP, true],
  ...hardened(
    unenforced,
    [CKA.ALLOWED_MECHANISMS, ulong(keyWrap.type)],
    [CKA.UNWRAP_TEMPLATE, [[CKA.SENSITIVE, true]]],
    [CKA.COPYABLE, false],
    [CKA.MODIFIABLE, false],
  ),
];

/** The key under which a domain key crosses. */
export const exchangeKeyPolicy = ({ keyWrap, unenforced }: Policy, use: 'wrap' | 'unwrap'): Template => [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.AES],
  [CKA.VALUE_LEN, 32],
  [CKA.TOKEN, false],
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, false],
  [CKA.ENCRYPT, false],
  [CKA.DECRYPT, false],
  [CKA.SIGN, false],
  [CKA.VERIFY, false],
  [CKA.DERIVE, false],
  [CKA.WRAP, use === 'wrap'],
  [CKA.UNWRAP, use === 'unwrap'],
  ...hardened(
    unenforced,
    [CKA.ALLOWED_MECHANISMS, ulong(keyWrap.type)],
    [CKA.COPYABLE, false],
    [CKA.MODIFIABLE, false],
  ),
];

/** The private half of the pair that carries secrets byte for byte, as a member opens it (ADR 0034). */
export const openingKeyPolicy = ({ unenforced }: Policy): Template => [
  [CKA.CLASS, CKO.PRIVATE_KEY],
  [CKA.KEY_TYPE, CKK.RSA],
  [CKA.TOKEN, false],
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, false],
  [CKA.DECRYPT, false],
  [CKA.SIGN, false],
  [CKA.SIGN_RECOVER, false],
  [CKA.DERIVE, false],
  [CKA.UNWRAP, true],
  ...hardened(
    unenforced,
    [CKA.ALLOWED_MECHANISMS, ulong(CKM.RSA_PKCS_OAEP)],
    [CKA.UNWRAP_TEMPLATE, [[CKA.SENSITIVE, true]]],
    [CKA.COPYABLE, false],
    [CKA.MODIFIABLE, false],
  ),
];

/** Everything that a trusted key must be, and the officer key is bound to. */
export const trustedKeyPolicy = (keyWrap: Mechanism): Template => [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.AES],
  [CKA.TRUSTED, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, false],
  [CKA.ENCRYPT, false],
  [CKA.DECRYPT, false],
  [CKA.SIGN, false],
  [CKA.VERIFY, false],
  [CKA.DERIVE, false],
  [CKA.WRAP, true],
  [CKA.UNWRAP, true],
  [CKA.ALLOWED_MECHANISMS, ulong(keyWrap.type)],
];
