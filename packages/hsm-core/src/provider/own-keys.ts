/** The partition's own keys: found by random CKA_ID from the journal, proved by use, never by label. */
import type { Handle } from '../model/object.ts';
import type { KeyVersion } from '../model/own-key-name.ts';

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

/** The end of a domain key that was to be destroyed. `absent`: it was not there any more. */
export type DomainKeyEnd = 'destroyed' | 'absent' | 'unproven' | 'kept';

/** By what a secret key of ours is found and known. */
export interface OwnKeyRecord {
  readonly ckaId: Uint8Array;
  readonly checkTag: Uint8Array;
}

/** A secret key of ours as it shows itself, by its id and its label. */
export interface MarkedKey extends KeyVersion {
  readonly kind: 'domain' | 'trusted';
  readonly handle: Handle;
  readonly ckaId: Uint8Array;
  /** Absent where the key does not wrap, or lacks a protection that it was made with: it is half made, or was changed. */
  readonly checkTag?: Uint8Array;
}

/** A trusted key as it was delivered, and where it is to lie. */
export interface TrustedDelivery {
  /** RSA-OAEP, for the officer key. */
  readonly sealed: Uint8Array;
  readonly ckaId: Uint8Array;
  readonly label: string;
}

export interface OwnKeys {
  /**
   * Makes the identity key (EC P-256, unextractable, sign only) under `ckaId`, and keeps its private half alone in the
   * token.
   * @throws PROTECTION_UNENFORCED when the token makes it wider
   */
  generateIdentity(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array }>;
  /** Finds the identity key by `ckaId` and proves it with a signature. `undefined` when it is not there. */
  findIdentity(record: { ckaId: Uint8Array; publicHalf: Uint8Array }): Promise<OwnKey | undefined>;
  /**
   * Makes the key under which this partition receives domain keys (RSA, unwrap only, bound to a template), under
   * `ckaId`. Undefined where the token keeps none that is bound.
   */
  generateReceivingKey(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array } | undefined>;
  /** Finds the receiving key that the identity names. */
  findReceivingKey(record: {
    ckaId: Uint8Array;
    identity: Uint8Array;
  }): Promise<{ handle: Handle; publicHalf: Uint8Array } | undefined>;
  /**
   * Makes the key under which this partition receives trusted keys (RSA, unwrap only, of use to the security officer
   * alone), under an id that follows from `ckaId`. Undefined where the token keeps none that is bound, or does not keep
   * CKA_WRAP_WITH_TRUSTED.
   */
  generateOfficerKey(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array } | undefined>;
  /** Finds the officer key that the identity names. */
  findOfficerKey(record: {
    ckaId: Uint8Array;
    identity: Uint8Array;
  }): Promise<{ handle: Handle; publicHalf: Uint8Array } | undefined>;
  /**
   * Has the security officer bring trusted keys into the token: a login of his, by a PIN from a file, tried once. All
   * handles from before are void, so that the provider is only to be closed afterwards. Returns the check tags, in the
   * order given.
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
   * Finds a domain key by `ckaId` and proves it by its check tag. `undefined` when it is not there. Its trusted key is
   * found the same way, and counts where the token says that the officer trusts it. From then on all that is asked of
   * the domain key is done by the trusted key for keys with CKA_WRAP_WITH_TRUSTED, and refused without one.
   */
  findDomainKey(record: OwnKeyRecord & { readonly trusted?: OwnKeyRecord }): Promise<OwnKey | undefined>;
  /**
   * Destroys a domain key, or a trusted key, for ever, right after it has proved by its check tag that it is the one
   * recorded, and looks again. `unproven`: there is an object under the id, and none or several that prove themselves;
   * nothing is destroyed. `kept`: the token does not destroy it.
   */
  destroyDomainKey(record: OwnKeyRecord): Promise<DomainKeyEnd>;
  /**
   * Every object under one of these ids that only a session with a login can make, proved or not. Also the officer key
   * of the identity that was made, or was about to be, under the same id.
   */
  findUnder(ckaIds: readonly Uint8Array[]): Promise<Handle[]>;
  /**
   * Every domain key and trusted key whose id shows that it was made under one of these identities, by the CKA_ID of the
   * identity key (model/own-key-name.ts). An object that a session without a login can see is none of ours.
   */
  findMarked(identityIds: readonly Uint8Array[]): Promise<MarkedKey[]>;
}
