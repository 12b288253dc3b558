/** The ways out for objects that are not captured, or not as they should be at a site: one line for each reason. */
import type { UncapturedReason } from '@antipode/hsm-core';
import type { ListedObject, ObjectState } from '@antipode/site-agent';

/** docs/glossary.md has the same lines. */
export const WAYS_OUT: Readonly<Record<UncapturedReason, string>> = {
  unextractable:
    'make a new key with CKA_EXTRACTABLE and let it take over, or import the original again with that flag. No token makes an existing key extractable. Where the devices clone, set `--movement native` for the group',
  'wrap-with-trusted':
    'have the security officer of each partition run `antipode partition trust-domain-key <partition>`. A partition without an officer key first needs a new identity with `officerKey: true`',
  'not-wrappable':
    'use a key type or size that the token wraps. SoftHSM wraps Ed25519 and its like from release 2.7 on, and an RSA key only with all of its parts',
  'unsupported-type':
    'use a type of key that moves (the page of the device lists them), or bring the object to each site by hand',
  'unsupported-attribute': 'make the key with templates of known attributes only, or bring it to each site by hand',
  'length-not-multiple-of-8':
    'make a new secret of at most 470 bytes where the token offers the exact way, otherwise of 16, 24, 32, 40, ... bytes, and let it take over',
  'length-unknown':
    'generate the secret in the token again, or import its value there, with 16, 24, 32, 40, ... bytes. Then the token shows its length',
  'too-large': 'split it into data objects of at most 8 MiB. Remove certificates and public keys that nobody needs',
  settling: 'do nothing: the next capture takes it. If the reason stays, something changes the object all the time',
  excluded: "do nothing: the group's filter keeps it at its site",
  unreadable:
    'find the object with `antipode partition objects <partition> <object>` at its site. If `antipode deleted list` has it as `not shown by the token`, its file in the token store is damaged or not readable for the user of the agent: mend that, run `antipode deleted restore`, or accept the loss. If the state there is `refused`, other members have it: move the group to one of them, or find out why this token does not take it. Otherwise try it with its application. If it does not work there either, it was never completed: destroy it',
  deleted:
    'destroy it at the active site if nobody needs it. To keep it, run `antipode deleted restore <group> <object>`',
  'value-changed':
    'if somebody replaced the key, accept the new value with `antipode deleted accept <group> <object>`. If nobody did, the key is damaged: put the captured one back with `antipode deleted restore <group> <object>`',
  'does-not-work':
    'find out with its application which half of the pair is right, and make the key again. A copy would not work either',
};

const RESTORE = 'to use it again, run `antipode deleted restore <group> <object>` at the active site';
const DECIDE =
  'captures wait for a decision: accept the loss with `antipode deleted accept <group> <object>`, or put it back with `antipode deleted restore <group> <object>`';

/** Reasons that only the list of a site has. */
const AT_SITE: Readonly<Record<string, string>> = {
  new: 'do nothing: the next capture takes it. `antipode replicate <group>` captures now',
  deleted: RESTORE,
  'set-aside': RESTORE,
  held: DECIDE,
  replaced: DECIDE,
  changed: WAYS_OUT['value-changed'],
  revived:
    'captures wait for a decision: destroy it in the token if it is to stay deleted, or take it back into the group with `antipode deleted accept <group> <object>`',
  gone: 'if somebody deleted it on purpose, do nothing: the next capture records that. If not, run `antipode replicate <group>` and then `antipode deleted restore <group> <object>`',
  kept: 'it was deleted at the active site, and this token would not destroy it: destroy it here if nobody needs it',
};

/** States that need something from a person, whatever the reason. */
const OF_STATE: Partial<Record<ObjectState, string>> = {
  refused:
    'the reason is the answer of this token: find out why it does not take the object. Every replication tries again',
  missing:
    'run `antipode scrub run <group>`: it reads the whole partition, and a damaged standby is repaired afterwards',
  divergent:
    'run `antipode divergence merge` to bring it into the group, or `antipode divergence keep` to leave it here. docs/runbooks/divergence.md has the steps',
  unaccounted:
    'find out which program made it in this token: only the active site is captured. `antipode divergence` merges or keeps it, too',
};

/** Undefined where nothing is to be done. */
export function wayOutOf({ state, reason }: Pick<ListedObject, 'state' | 'reason'>): string | undefined {
  const ofState = OF_STATE[state];
  if (ofState !== undefined || reason === undefined) return ofState;
  return state === 'uncaptured' && reason in WAYS_OUT ? WAYS_OUT[reason as UncapturedReason] : AT_SITE[reason];
}
