/** What a person can do about an object that is not captured. One line for each reason; docs/glossary.md has the same. */
import type { UncapturedReason } from '@antipode/hsm-core';

export const WAYS_OUT: Readonly<Record<UncapturedReason, string>> = {
  unextractable:
    'no token makes such a key extractable. Make a new one with CKA_EXTRACTABLE and let it take over, or import the original anew with that flag',
  'wrap-with-trusted':
    'have the security officer of each partition run `antipode partition trust-domain-key`; a partition without an officer key needs a new identity with `officerKey: true` first',
  'not-wrappable': 'use another key type or size, which the token wraps',
  'unsupported-type':
    'use AES, a generic secret, RSA, or EC on a curve that OpenSSL knows; or bring it to each site by hand',
  'unsupported-attribute':
    'make the key without CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE and CKA_DERIVE_TEMPLATE; or bring it to each site by hand',
  'length-not-multiple-of-8': 'make a new secret of 16, 24, 32, 40, ... bytes, and let it take over',
  'length-unknown': 'make the secret anew in the token, or import its value there: then the token tells its length',
  'too-large': 'keep it in data objects of 4 MiB at most; remove certificates and public keys that nobody needs',
  settling: 'nothing: the next capture takes it. One that stays is being changed all the time',
  excluded: "nothing: the group's filter says that it stays at its site",
  unreadable:
    'try it with its application; `antipode partition find` at its site says which object that is. One that works nowhere was left half made: destroy it',
  deleted: 'destroy it at the active site when nobody misses it. To keep it: `antipode deleted restore`',
  'value-changed':
    'if the key was replaced, accept the new value with antipode deleted accept; if nobody replaced it, it is damaged: put the sound one back with antipode deleted restore',
  'does-not-work':
    'find out with its application which of its halves is right, and make it anew: a copy would not work either',
};
