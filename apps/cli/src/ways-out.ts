/** The way out for an object that is not captured, one line for each reason. docs/glossary.md has the same lines. */
import type { UncapturedReason } from '@antipode/hsm-core';

export const WAYS_OUT: Readonly<Record<UncapturedReason, string>> = {
  unextractable:
    'make a new key with CKA_EXTRACTABLE and let it take over, or import the original again with that flag. No token makes an existing key extractable',
  'wrap-with-trusted':
    'have the security officer of each partition run `antipode partition trust-domain-key <partition>`. A partition without an officer key first needs a new identity with `officerKey: true`',
  'not-wrappable': 'use a key type or size that the token wraps',
  'unsupported-type':
    'use AES, a generic secret, RSA, or EC on a curve that OpenSSL knows, or bring the object to each site by hand',
  'unsupported-attribute':
    'make the key without CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE and CKA_DERIVE_TEMPLATE, or bring it to each site by hand',
  'length-not-multiple-of-8': 'make a new secret of 16, 24, 32, 40, ... bytes, and let it take over',
  'length-unknown':
    'generate the secret in the token again, or import its value there. Then the token shows its length',
  'too-large': 'split it into data objects of at most 4 MiB. Remove certificates and public keys that nobody needs',
  settling: 'do nothing: the next capture takes it. If the reason stays, something changes the object all the time',
  excluded: "do nothing: the group's filter keeps it at its site",
  unreadable:
    'find the object with `antipode partition find <partition> <object>` at its site, and try it with its application. If it does not work there either, it was never completed: destroy it',
  deleted:
    'destroy it at the active site if nobody needs it. To keep it, run `antipode deleted restore <group> <object>`',
  'value-changed':
    'if somebody replaced the key, accept the new value with `antipode deleted accept <group> <object>`. If nobody did, the key is damaged: put the captured one back with `antipode deleted restore <group> <object>`',
  'does-not-work':
    'find out with its application which half of the pair is right, and make the key again. A copy would not work either',
};
