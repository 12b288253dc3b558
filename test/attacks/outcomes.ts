/**
 * The outcome of each attack on each device. The tests assert it, and docs/security.md repeats it. The page of the
 * device lists the attacks that are not refused.
 */
export type DeviceName = 'softhsm' | 'nss';

/**
 * `refused`: it fails, with a code. `documented`: it works, by the rules of the token or by a limit of ours, and the
 * documents say so. `not-applicable`: the device offers no way to try it. `not-tried`: the outcome does not depend on
 * the device.
 */
export type Outcome = 'refused' | 'documented' | 'not-applicable' | 'not-tried';

/** Who attacks: the holder of a partition's PIN, a stolen coordinator, or a site that is none of ours or gone bad. */
export type Attacker = 'PIN' | 'coordinator' | 'peer';

export interface Attack {
  readonly by: Attacker;
  readonly title: string;
  /** The obstacle of the attack. If there is none: its price, and its bounds. */
  readonly because: string;
  readonly outcomes: Readonly<Record<DeviceName, Outcome>>;
  /** Where another reason holds on a device. */
  readonly becauseOn: Readonly<Partial<Record<DeviceName, string>>>;
}

type OnNss = readonly [outcome: Outcome, because?: string];

const attack = (by: Attacker, softhsm: Outcome, title: string, because: string, nss: OnNss = [softhsm]): Attack => ({
  by,
  title,
  because,
  outcomes: { softhsm, nss: nss[0] },
  becauseOn: nss[1] === undefined ? {} : { nss: nss[1] },
});

/** An order or a call to an agent: the agent decides, whatever its device. */
const toAgent = (by: Attacker, outcome: Outcome, title: string, because: string): Attack =>
  attack(by, outcome, title, because, ['not-tried']);

export const ATTACKS = {
  // --- raw PKCS#11 calls ---
  'take-out-guarded': attack(
    'PIN',
    'refused',
    'take a key with `CKA_WRAP_WITH_TRUSTED` out of a token that has the trusted key',
    'the trusted key unwraps only what no other key may wrap either, and the token lets nobody take that attribute away',
    ['not-applicable', 'NSS does not keep `CKA_WRAP_WITH_TRUSTED`: such keys are not captured there'],
  ),
  'conjure-trusted': attack(
    'PIN',
    'refused',
    'bring a trusted key into being without the security officer',
    'the officer key unwraps nothing but a key with `CKA_TRUSTED`, which no session of the user can give',
    ['not-applicable', 'NSS gets no officer key'],
  ),
  'wrap-decrypt': attack(
    'PIN',
    'refused',
    'wrap a key under the domain key, then decrypt the blob',
    'the domain key has no `DECRYPT`; its `ALLOWED_MECHANISMS` hold one wrapping mechanism',
  ),
  'other-use': attack(
    'PIN',
    'refused',
    'use the domain key to encrypt, sign, derive, or wrap in another way',
    'it has `WRAP` and `UNWRAP` only, and one mechanism',
    [
      'documented',
      'NSS ignores `ALLOWED_MECHANISMS` and `DERIVE`: an unwrap by AES-ECB opens sealed objects block by block',
    ],
  ),
  'wrap-under-known-key': attack(
    'PIN',
    'refused',
    "wrap the domain key or the identity key under a key of one's own",
    'both are unextractable',
    [
      'documented',
      'NSS wraps keys that are not extractable. **Who has the PIN has the domain key, and what every member has sealed**',
    ],
  ),
  'open-elsewhere': attack(
    'PIN',
    'refused',
    'open a sealed object in a token or a program without the domain key',
    'RFC 5649 opens under its own key only',
  ),
  'change-domain-key': attack(
    'PIN',
    'refused',
    'change an attribute of the domain key afterwards',
    '`MODIFIABLE=false`',
  ),
  'copy-domain-key': attack('PIN', 'refused', 'copy the domain key with wider attributes', '`COPYABLE=false`', [
    'documented',
    'NSS knows no `COPYABLE` on token objects: a copy may decrypt',
  ]),
  'change-identity': attack(
    'PIN',
    'refused',
    'change or copy the identity key',
    '`MODIFIABLE=false` and `COPYABLE=false`',
    ['documented', 'it cannot be changed; a copy of it can, and it agrees without `DERIVE`'],
  ),
  'unwrap-readable': attack(
    'PIN',
    'refused',
    'unwrap a sealed key as one that can be read',
    'the domain key has an `UNWRAP_TEMPLATE` with `SENSITIVE=true`',
    ['documented', 'NSS does not look at unwrap templates'],
  ),
  'unwrap-and-export': attack(
    'PIN',
    'documented',
    "unwrap a sealed key, then wrap it under a key of one's own",
    'replicating keys must be `EXTRACTABLE`, and the token gives such keys to its PIN',
  ),
  'unwrap-other-use': attack(
    'PIN',
    'documented',
    'unwrap a sealed key with other usage flags, or as another type of key',
    'a blob carries the value only; agents take everything else from a signed manifest, PKCS#11 calls do not',
  ),
  'open-exact': attack(
    'PIN',
    'documented',
    'take the keys of a secret that is sealed exactly out of the token, and open it in a program',
    'they unwrap under the domain key like every sealed key, with attributes of the caller; the secret is `EXTRACTABLE`, and the token gives it to its PIN',
    ['not-applicable', 'NSS does not get such keys'],
  ),
  'use-opening-key': attack(
    'PIN',
    'refused',
    'use the key that opens secrets sealed exactly, as a member makes it, to read, decrypt, sign or leave the token',
    'it unwraps by RSA-OAEP only, into sensitive keys, and is neither extractable nor copyable nor modifiable',
    ['not-applicable', 'NSS does not get such keys'],
  ),
  'exchange-exact': attack(
    'PIN',
    'refused',
    'put one secret that is sealed exactly in the place of another, or a changed one',
    'AES-GCM binds each to its group and object id, and the manifest has the digest of its blob',
    ['not-applicable', 'NSS does not get such keys'],
  ),
  conjure: attack(
    'PIN',
    'refused',
    'conjure keys from changed, random, truncated or mistyped blobs',
    'RFC 5649 has integrity, and each type of key its form; nothing is left in the token',
  ),
  'conjure-malleable': attack(
    'PIN',
    'not-applicable',
    'conjure keys through a wrapping mechanism without integrity',
    'the token unwraps by no such mechanism; the domain key allows none',
    [
      'documented',
      'NSS unwraps by AES-ECB and AES-CBC under any key that may unwrap, the domain key too; agents use RFC 5649 only',
    ],
  ),
  'decoy-domain-key': attack(
    'PIN',
    'refused',
    'make an object that looks like a domain key of ours',
    'own keys are known by the CKA_ID in the journal and by proof, never by label; a CKA_ID that is forged from that of the identity key adds a version that nobody uses',
  ),
  'replace-domain-key': attack(
    'PIN',
    'refused',
    'put another key in the place of the domain key',
    'its check tag differs: it counts as missing, and nothing is sealed under it',
  ),
  'repeat-own-id': attack(
    'PIN',
    'refused',
    'give another key the CKA_ID of one of ours',
    'of the keys under one id the one that proves itself by use is ours; any other is a key like those of applications',
    [
      'not-applicable',
      'NSS keeps one key of a class per CKA_ID: the other key takes the place of ours, which then counts as missing',
    ],
  ),
  'replace-identity': attack(
    'PIN',
    'refused',
    'put another key in the place of the identity key',
    'its signature does not verify with the public half in the journal',
  ),
  'hide-under-own-id': attack(
    'PIN',
    'refused',
    'hide a public key from captures under the CKA_ID of the identity key',
    'of what bears that id only the true public half counts as our own',
  ),

  // --- the exchange of a domain key ---
  'substituted-identity': attack(
    'peer',
    'refused',
    'answer an exchange with another identity',
    'it is not pinned, or did not sign the transcript',
  ),
  'man-in-the-middle': attack(
    'peer',
    'refused',
    'stand between two members and run one exchange with each',
    'either side sees an identity that is not pinned',
  ),
  'swapped-point': attack(
    'peer',
    'refused',
    'put another public point into an offer or an answer',
    'both identities sign both points',
  ),
  'invalid-point': attack(
    'peer',
    'refused',
    'send a point that is not on the curve, properly signed',
    'the token does not agree with it, and the pair is fresh in every exchange',
  ),
  'replayed-answer': attack(
    'peer',
    'refused',
    'play the recorded answer of an earlier exchange',
    'the signature covers the exchange id, both nonces and both points',
  ),
  'replayed-delivery': attack(
    'peer',
    'refused',
    'play a recorded delivery again, also after its beginning',
    'an exchange is over after one delivery; a new one has a new nonce and a new point',
  ),
  'foreign-wrapped-key': attack(
    'peer',
    'refused',
    'deliver the wrapped key of another exchange',
    'the signature covers its hash',
  ),
  'forged-receipt': attack(
    'peer',
    'refused',
    'keep a delivery, and give a receipt for it',
    'the member signs the receipt, with the check tag of what it has installed',
  ),
  'wrong-seat': attack(
    'peer',
    'refused',
    "answer as a pinned member under another member's serial number",
    'a pin says which partition an identity belongs to',
  ),
  'software-point': attack(
    'PIN',
    'refused',
    "receive the domain key in software: sign the member's part of an exchange by raw calls, over a point of one's own",
    'it is sent under a receiving key that is pinned with the identity, unwraps in the token only, and nothing but an unextractable domain key',
    [
      'documented',
      "NSS keeps no such key: needs the PIN and the member's place on the network while a version is distributed; no token attests that a point is its own",
    ],
  ),
  'planted-domain-key': attack(
    'PIN',
    'documented',
    'distribute a domain key that one knows, signed by raw calls with the identity of a pinned member',
    "where no distributor is pinned: needs the PIN and that member's place on the network; it is used only when the coordinator names that version",
  ),

  // --- generations ---
  'manifest-swap': attack(
    'peer',
    'refused',
    'exchange the blobs of two entries in a manifest',
    'the signature covers the whole manifest, and the digest names it',
  ),
  'manifest-resigned': attack(
    'peer',
    'refused',
    "sign a changed manifest with an identity of one's own",
    'it is not pinned',
  ),
  'manifest-of-other-group': attack(
    'peer',
    'refused',
    'sign it with an identity that is pinned for another group, or pass for another source',
    'pins count for one group, and the signer must be the source that the manifest names',
  ),
  'manifest-by-member': attack(
    'PIN',
    'refused',
    'sign a changed manifest by raw calls, with the identity of a standby or of a scratch partition',
    'a generation counts under the identity of the member that owns its epoch; a scratch partition captures nothing',
  ),
  'manifest-by-active': attack(
    'PIN',
    'documented',
    'sign a changed manifest by raw calls, with the identity of the active partition',
    'a standby applies it when the coordinator orders that digest; but whoever has that PIN can change the partition itself',
  ),
  'blob-of-other-group': attack(
    'peer',
    'refused',
    'restore a sealed object of one group in another',
    'each group has a domain key of its own',
  ),
  'generation-of-other-group': attack(
    'peer',
    'refused',
    'restore a whole generation of one group in another',
    'the manifest names its group and the check tag of its domain key',
  ),

  // --- orders and calls to agents ---
  'distribute-to-own-site': toAgent(
    'coordinator',
    'refused',
    "order a domain key to a site of one's own",
    'its identity is not pinned, and nobody gets the version',
  ),
  'software-point-by-order': toAgent(
    'coordinator',
    'refused',
    "receive the domain key in software at a site of one's own, with the PIN of one pinned partition, scratch included",
    "a pin says at which site an identity is, and the certificate there is another site's",
  ),
  'epoch-jump': toAgent(
    'coordinator',
    'refused',
    'order roles or promotions under a huge epoch',
    'an epoch grows by 1,000 at most in one step',
  ),
  'first-epoch': toAgent(
    'coordinator',
    'refused',
    'name a huge epoch in the first order of a group that an agent has never heard of',
    'a group that was never heard of is taken to begin at 0: 1,000 at most in one step there too',
  ),
  'second-active': toAgent(
    'coordinator',
    'refused',
    'seat a second active member, or give an epoch to another owner',
    'an epoch has one owner, and a member becomes active by promotion',
  ),
  'drill-in-production': toAgent(
    'coordinator',
    'refused',
    'order a drill in a production partition',
    "only what the site's own configuration calls scratch is opened for it",
  ),
  'loss-without-approval': toAgent(
    'coordinator',
    'refused',
    'promote a standby that lacks a generation, where agents guard the group, with approvals short by one, altered, expired or for something else',
    'the target asks the other members by its own pins, and judges approvals by its own configuration, clock and journal',
  ),
  'hidden-loss': toAgent(
    'coordinator',
    'refused',
    'keep such a standby from hearing the members that have more',
    'the target needs an approval where any member is silent but the one that was active last',
  ),
  'approval-again': toAgent(
    'coordinator',
    'refused',
    'use an approval twice: in another epoch, for another operation, or at another site',
    'its nonce is in the journal before the action, and the target asks the other members whether they have used it',
  ),
  'enrol-without-approval': toAgent(
    'coordinator',
    'refused',
    'bring the domain key of a guarded group to a partition that is pinned and not approved, or seat it',
    'a pin counts only while its partition is enrolled, by an approval that names its identity',
  ),
  'release-without-approval': toAgent(
    'coordinator',
    'refused',
    'take the seat of a member of a guarded group away',
    'the agent keeps its seat until an approval names it',
  ),
  'reseat-without-approval': toAgent(
    'coordinator',
    'refused',
    'seat a member of a guarded group again, as after a contradiction',
    'a reseat needs an approval for this site and this epoch',
  ),
  'break-glass-with-too-few': toAgent(
    'coordinator',
    'refused',
    'break the glass with the signatures of an ordinary approval',
    "it needs more of them, by the site's own configuration",
  ),
  'retention-below-floor': toAgent(
    'coordinator',
    'refused',
    'order that deleted objects are kept for less than the site promises',
    "the floor is in the site's own configuration, and no order and no approval lowers it",
  ),
  'sealed-data-as-coordinator': toAgent(
    'coordinator',
    'refused',
    'ask an agent for manifests and blobs, or for an exchange',
    'only sites may call those methods',
  ),
  'source-address': toAgent(
    'coordinator',
    'refused',
    'name a wrong address for a source',
    "the certificate there is another site's",
  ),
  rollback: toAgent(
    'coordinator',
    'refused',
    'order a standby back to an older generation, or promote it with one',
    'heads in the journal only move forward; a promotion is from the newest',
  ),
  'retired-version': toAgent(
    'coordinator',
    'refused',
    'order a capture under a retired domain key version',
    'nothing is sealed under an older version than the newest generation',
  ),
  'sealed-data-as-any-site': toAgent(
    'peer',
    'refused',
    'ask for a manifest as a site that is not a member, knowing its digest',
    'sealed data goes to sites of which a partition is pinned for the group',
  ),
  'planted-past-distributor': toAgent(
    'PIN',
    'refused',
    'distribute a domain key that one knows, with the PIN of a member and the certificate of its site, past a distributor',
    'agents take domain keys from the distributor that they have pinned for the group, and from no member',
  ),
  'exchange-for-another': toAgent(
    'peer',
    'refused',
    'begin an exchange in the name of the active site',
    'the caller of an exchange must own its epoch',
  ),
  'unordered-exchange': toAgent(
    'peer',
    'documented',
    'begin an exchange under a higher epoch of its own, as a pinned member, without any order',
    'the version is installed, and not used; the coordinator, which never recorded it, holds the group until an operator seats it again',
  ),
} as const satisfies Record<string, Attack>;

export type AttackId = keyof typeof ATTACKS;
