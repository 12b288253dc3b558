/**
 * The contract of an HSM partition. Everything above it (seal, unseal, enrol, prove) is the same for every device.
 *
 * A provider is one logged-in session on one partition. Its calls are batched, since each is a message to a worker
 * process, and run strictly one after another. When the process behind it ends, the provider is dead: every later call
 * throws HSM_WORKER_LOST and all handles are void; open a new one. No key, PIN or derived secret ever leaves a provider
 * in the clear (I5); what comes out is attributes, wrapped blobs, signatures and public points.
 *
 * Errors common to all calls: HSM_WORKER_LOST, HSM_UNAVAILABLE (transient), HSM_SESSION_VOID (a new provider is needed),
 * HSM_REFUSED, HSM_FULL; the CKR_ name is in the details. An answer that could be about the object at hand or about the
 * session counts for the object only where the session is shown to be sound. A batch reports per item where the caller can go on with the rest; it throws where it cannot.
 */
import type { Attributes } from '../model/attributes.ts';
import type { Handle, KeyType, ObjectClass, ObservedObject, UncapturedReason } from '../model/object.ts';

/**
 * What a token may promise of a key, and keep or not: that a sensitive key cannot be read, an unextractable one not be
 * wrapped, that DECRYPT and DERIVE count, that what is not modifiable or copyable stays what it is, that only allowed
 * mechanisms are used, and that an unwrap template binds what is unwrapped.
 */
export const PROTECTIONS = [
  'sensitive',
  'extractable',
  'decrypt',
  'derive',
  'modifiable',
  'copyable',
  'allowed-mechanisms',
  'unwrap-template',
] as const;

export type Protection = (typeof PROTECTIONS)[number];

/** What the token says of itself, and what a self-test has shown. */
export interface PartitionDescription {
  /** The token's own; from the configuration where the token has none. */
  readonly serial: string;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly firmware: string;
  /** Whether the device gives the handle of a destroyed object to the next one: tried. Then no handle tells anything. */
  readonly reusesHandles?: true;
  /** Protections that the token does not keep: our own keys there are as much weaker. Empty on a sound one. */
  readonly unenforced: readonly Protection[];
  /** What other slots of the module answered that do not tell their token: another HSM is away. Empty when all is well. */
  readonly silentSlots: readonly string[];
  /** Slots of the module in which a token could be made: room for one that keeps the identity key. */
  readonly freeSlots: number;
}

/** A handle's blob, or why there is none. */
export type WrapOutcome =
  | { readonly handle: Handle; readonly blob: Uint8Array }
  | { readonly handle: Handle; readonly reason: UncapturedReason; readonly returnValue?: string };

/** A key to be rebuilt from its blob. `attributes` come from a verified manifest and are never widened. */
export interface UnwrapItem {
  readonly objectClass: ObjectClass;
  readonly keyType: KeyType;
  readonly attributes: Attributes;
  readonly publicHalf?: Uint8Array;
  readonly blob: Uint8Array;
  /** What the caller will destroy afterwards, of equal value. See {@link HsmProvider.unwrap}. */
  readonly replaces?: Handle;
}

/** A public object to be rebuilt from its attributes. */
export interface CreateItem {
  readonly objectClass: 'public-key' | 'certificate';
  readonly keyType?: KeyType;
  readonly attributes: Attributes;
  readonly replaces?: Handle;
}

/** A data object, encrypted in the token: `iv || ciphertext || tag` (AES-GCM). */
export interface SealedData {
  readonly ciphertext: Uint8Array;
  readonly valueTag: Uint8Array;
}

/** What has to hold for one restored object. */
export interface ProofItem {
  readonly handle: Handle;
  readonly objectClass: ObjectClass;
  readonly keyType?: KeyType;
  readonly sizeBits: number;
  readonly attributes: Attributes;
  readonly publicHalf?: Uint8Array;
  /** Digest of the blob that re-wrapping must give again (wrapping by RFC 5649 is deterministic). */
  readonly blobSha256?: Uint8Array;
  readonly valueTag?: Uint8Array;
  /**
   * Of an RSA private key: digest of the blob that this very device gave of it when it was proved before. Other vendors
   * write the same key otherwise, so it is no part of a manifest.
   */
  readonly wrapsTo?: Uint8Array;
}

/** One thing that was tried with a restored object. */
export interface ProofCheck {
  /** `rewrap`, `sign`, `decrypt`, `unwrap`, `derive`, `encrypt`, `verify`, `wrap`, `value`. */
  readonly use: string;
  readonly outcome: 'proved' | 'failed' | 'not-exercised';
  /** Mechanism used, or why it was not exercised. */
  readonly detail: string;
}

export interface ProofOutcome {
  readonly handle: Handle;
  readonly proved: boolean;
  readonly checks: readonly ProofCheck[];
  /** Of an RSA private key that was proved: digest of the blob that the device gives of it. */
  readonly print?: Uint8Array;
}

/**
 * What a key that nobody vouches for answers to every use that its flags and mechanisms allow: at least one works, all
 * that could be tried fail, or none could be tried.
 */
export type Challenge = 'works' | 'refuses' | 'untried';

/** Where one of the partition's own keys was found. */
export interface OwnKey {
  readonly handle: Handle;
  /** Other objects that belong to it (the public half of an identity key that an earlier release left in the token). */
  readonly companions: readonly Handle[];
  /** The trusted key of a domain key version, where the officer has brought it into the token (ADR 0021). */
  readonly trusted?: Handle;
  /** In a token of its own: its handle says nothing of the partition. */
  readonly isElsewhere?: true;
}

/** What has become of a domain key that was to be destroyed. `absent`: it was not there any more. */
export type DomainKeyEnd = 'destroyed' | 'absent' | 'unproven' | 'kept';

/** By what a secret key of ours is found and known. */
export interface OwnKeyRecord {
  readonly ckaId: Uint8Array;
  readonly checkTag: Uint8Array;
}

/** A trusted key as it was delivered, and where it is to lie. */
export interface TrustedDelivery {
  /** RSA-OAEP, for the officer key. */
  readonly sealed: Uint8Array;
  readonly ckaId: Uint8Array;
  readonly label: string;
}

/** What one look at a partition, or at some of its objects, has shown. */
export interface Look {
  /** Counts the looks of one provider, from 1. */
  readonly number: number;
  /** All that is there of what was looked at, as a list of {@link Handle}. */
  readonly handles: BigUint64Array;
  /** Of these, what was another or was not there in the look `since`: everything where none was named. */
  readonly objects: readonly ObservedObject[];
}

export interface HsmProvider {
  /** Reads only. Also runs the self-test of the mechanisms that sealing needs, once. @throws MECHANISM_MISSING */
  describe(): Promise<PartitionDescription>;

  // --- reading ---

  /**
   * Reads all token objects, or those with `handles` without a search for others. The token is asked for everything each
   * time; `since` only keeps what the caller knows from an earlier look from being told again. Looks are kept at least 250 ms
   * apart, whoever asks: tight scans make key generation in other processes fail, and show their half-made keys.
   */
  look(options: { since?: number; handles?: readonly Handle[] }): Promise<Look>;
  /** A look that trusts nothing: everything, told whole. */
  inventory(): Promise<ObservedObject[]>;
  /**
   * Reads objects again without a search; `undefined` where the object is gone. `publicHalves` are what private keys are
   * expected to have, in the order of the handles: each is believed only when the key's own use bears it out, and saves a
   * search that costs a hundred times as much.
   */
  read(
    handles: readonly Handle[],
    publicHalves?: readonly (Uint8Array | undefined)[],
  ): Promise<(ObservedObject | undefined)[]>;
  /**
   * Destroys token objects. Those already gone are no error. Returned are those that are left: the token keeps them, or they
   * are not what was read under their handle. `readDigests`, in the order of the handles, say what that was: each object is
   * read again right before, since a device may have given its handle to another. Without one, nothing is compared.
   */
  destroy(handles: readonly Handle[], readDigests?: readonly (string | undefined)[]): Promise<Handle[]>;

  /**
   * Takes names and uses from token objects that the token does not destroy, so that no program finds them by a name or can use
   * them. Compares as {@link destroy} does. Returned are those that still have their names: CKA_MODIFIABLE is false, say.
   */
  hide(handles: readonly Handle[], readDigests: readonly string[]): Promise<Handle[]>;

  // --- the partition's own keys: found by random CKA_ID from the journal, proved by use, never by label ---

  /**
   * Makes the identity key (EC P-256, unextractable, sign only) under `ckaId`, and keeps its private half alone in the token.
   * @throws PROTECTION_UNENFORCED when the token makes it wider
   */
  generateIdentity(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array }>;
  /** Finds the identity key by `ckaId` and proves it with a signature. `undefined` when it is not there. */
  findIdentity(record: { ckaId: Uint8Array; publicHalf: Uint8Array }): Promise<OwnKey | undefined>;
  /**
   * Makes the key under which this partition receives domain keys (RSA, unwrap only, bound to a template), under `ckaId`.
   * Undefined where the token keeps none that is bound.
   */
  generateReceivingKey(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array } | undefined>;
  /** Finds the receiving key that the identity names. */
  findReceivingKey(record: {
    ckaId: Uint8Array;
    identity: Uint8Array;
  }): Promise<{ handle: Handle; publicHalf: Uint8Array } | undefined>;
  /**
   * Makes the key under which this partition receives trusted keys (RSA, unwrap only, of use to the security officer alone),
   * under an id that follows from `ckaId`. Undefined where the token keeps none that is bound, or does not keep
   * CKA_WRAP_WITH_TRUSTED.
   */
  generateOfficerKey(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array } | undefined>;
  /** Finds the officer key that the identity names. */
  findOfficerKey(record: {
    ckaId: Uint8Array;
    identity: Uint8Array;
  }): Promise<{ handle: Handle; publicHalf: Uint8Array } | undefined>;
  /**
   * Has the security officer bring trusted keys into the token: a login of his, by a PIN from a file, tried once. All handles
   * from before are void, so that the provider is only to be closed afterwards. Returns the check tags, in the order given.
   * @throws PIN_REFUSED, PIN_LOCKED, PIN_FILE_UNREADABLE, PIN_FILE_EXPOSED, IDENTITY_MISSING, HSM_REFUSED,
   * PROTECTION_UNENFORCED; nothing is left in the token then
   */
  trustKeys(options: {
    readonly identity: { readonly ckaId: Uint8Array; readonly publicHalf: Uint8Array };
    readonly officerPinFile: string;
    readonly deliveries: readonly TrustedDelivery[];
  }): Promise<Uint8Array[]>;
  /** ECDSA P-256 over SHA-256 of `message`, r || s. The caller has put the domain-separation prefix first. */
  signAsIdentity(identity: Handle, message: Uint8Array): Promise<Uint8Array>;
  /**
   * Finds a domain key by `ckaId` and proves it by its check tag. `undefined` when it is not there. Its trusted key is found the
   * same way, and counts where the token says that the officer trusts it. From then on all that is asked of the domain key is
   * done by the trusted key for keys with CKA_WRAP_WITH_TRUSTED, and refused without one.
   */
  findDomainKey(record: OwnKeyRecord & { readonly trusted?: OwnKeyRecord }): Promise<OwnKey | undefined>;
  /**
   * Destroys a domain key, or a trusted key, for ever, right after it has proved by its check tag that it is the one recorded, and looks again.
   * `unproven`: there is an object under the id, and none or several that prove themselves; nothing is destroyed.
   * `kept`: the token does not destroy it.
   */
  destroyDomainKey(record: OwnKeyRecord): Promise<DomainKeyEnd>;
  /**
   * Every object under one of these ids that only a session with a login can make, proved or not; and the officer key of the
   * identity that was made, or was about to be, under the same id.
   */
  findUnder(ckaIds: readonly Uint8Array[]): Promise<Handle[]>;

  // --- the domain key exchange; every handle here is a session object ---

  /** A fresh AES-256 domain key as a session key: sensitive, extractable only so that it can be sent once. */
  generateDomainKey(): Promise<Handle>;
  /** A fresh ECDH P-256 pair, session only. The point is uncompressed (SEC 1, 2.3.3). */
  generateEphemeral(): Promise<{ handle: Handle; point: Uint8Array }>;
  /** Derives the unextractable AES-256 exchange key from our ephemeral key and the peer's point. */
  deriveExchangeKey(options: { ephemeral: Handle; peerPoint: Uint8Array; use: 'wrap' | 'unwrap' }): Promise<Handle>;
  /**
   * Wraps the session domain key under the exchange key (RFC 5649); for a `receiver`, the public half of a receiving key, under
   * that one first (RSA-OAEP).
   */
  wrapDomainKey(options: { exchangeKey: Handle; domainKey: Handle; receiver?: Uint8Array }): Promise<Uint8Array>;
  /**
   * Unwraps the domain key into the token, hardened as design section 4 says, tries what it keeps, and returns its check tag.
   * @throws PROTECTION_UNENFORCED when it keeps less than the site has accepted; it is destroyed then
   */
  installDomainKey(options: {
    exchangeKey: Handle;
    blob: Uint8Array;
    ckaId: Uint8Array;
    /** In the token; of no other object there: Java opens no key store in which two secret keys have one. */
    label: string;
    /** The receiving key, where it was wrapped for one. */
    receiver?: Handle;
  }): Promise<{ checkTag: Uint8Array }>;
  /**
   * Takes the exchange key off a trusted key that was delivered. What is left is of use to the security officer of this token
   * alone ({@link trustKeys}).
   */
  openTrustedDelivery(options: { exchangeKey: Handle; blob: Uint8Array }): Promise<Uint8Array>;
  /** Ends session objects of an exchange. Those already gone are no error. */
  forget(handles: readonly Handle[]): Promise<void>;

  // --- sealing ---

  /**
   * Wraps token keys under the domain key; a key that the token does not give is an outcome, not an error.
   * @throws HSM_SESSION_VOID when it is the domain key that does not wrap any more
   */
  wrap(domainKey: Handle, handles: readonly Handle[]): Promise<WrapOutcome[]>;
  /** A fresh AES-256 data key (session) and its blob under the domain key. */
  generateDataKey(domainKey: Handle): Promise<{ handle: Handle; blob: Uint8Array }>;
  /** Encrypts the values of data objects in the token, each bound to its `aad`. */
  sealData(options: {
    domainKey: Handle;
    dataKey: Handle;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<SealedData[]>;
  /** Keyed tags of data objects' values under the domain key, by which they are recognised. */
  tagData(domainKey: Handle, handles: readonly Handle[]): Promise<Uint8Array[]>;
  /** Keyed tags of any bytes under the domain key: names that do not tell what they name. */
  tagBytes(domainKey: Handle, values: readonly Uint8Array[]): Promise<Uint8Array[]>;

  // --- unsealing ---

  /**
   * Rebuilds keys in the token. Stops at the first that fails: what was made before it is returned beside the error.
   *
   * Nothing that is there is overwritten, also on a token that keeps one key per CKA_ID: there an object changes in place
   * when it is the one that the item replaces, and its handle is returned; under any other's id the item fails (ID_TAKEN).
   */
  unwrap(domainKey: Handle, items: readonly UnwrapItem[]): Promise<BatchOutcome>;
  /** Rebuilds public objects, by the rules of {@link unwrap}. */
  create(items: readonly CreateItem[]): Promise<BatchOutcome>;
  unwrapDataKey(domainKey: Handle, blob: Uint8Array): Promise<Handle>;
  createData(options: {
    dataKey: Handle;
    items: readonly { attributes: Attributes; ciphertext: Uint8Array; aad: Uint8Array }[];
  }): Promise<BatchOutcome>;

  // --- proving ---

  /** Uses each object in every way its flags allow and compares (design section 4, Proof). */
  prove(domainKey: Handle, items: readonly ProofItem[]): Promise<ProofOutcome[]>;
  /** Tries keys without anything to compare with, to tell those that an unwrap left half made. */
  challenge(domainKey: Handle, handles: readonly Handle[]): Promise<Challenge[]>;

  /** Logs out, ends the session and the process behind it. Idempotent. */
  close(): Promise<void>;
}

/** Handles in the order of the items, and the error that ended the batch early, if any. */
export interface BatchOutcome {
  readonly handles: readonly Handle[];
  readonly failure?: {
    readonly index: number;
    readonly code:
      | 'BLOB_INVALID'
      | 'ID_TAKEN'
      | 'HSM_REFUSED'
      | 'HSM_FULL'
      | 'HSM_UNAVAILABLE'
      | 'HSM_SESSION_VOID'
      | 'DOMAIN_KEY_UNTRUSTED';
    /** Absent where it was not the token that refused. */
    readonly returnValue?: string;
  };
}
