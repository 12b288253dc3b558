/**
 * The contract of an HSM partition. Everything above it (capture, apply, enrol, prove) is the same for every device.
 *
 * A provider is one logged-in session on one partition. Its calls are batched, since each is a message to a worker
 * process, and run strictly one after another. When the process behind it ends, the provider is dead: every later call
 * throws HSM_WORKER_LOST and all handles are void; open a new one. No key, PIN or derived secret ever leaves a provider
 * in the clear (I5); what comes out is attributes, wrapped blobs, signatures and public points.
 *
 * Errors common to all calls: HSM_WORKER_LOST, HSM_UNAVAILABLE (transient), HSM_SESSION_VOID (a new provider is
 * needed), HSM_REFUSED, HSM_FULL; the CKR_ name is in the details. An answer that could be about the object at hand or
 * about the session counts for the object only where the session is shown to be sound. A batch reports per item where
 * the caller can go on with the rest; it throws where it cannot.
 */

import type { Kdf } from '../model/kdf.ts';
import type { ExactSealer } from './exact-sealer.ts';
import type { KeyExchange } from './key-exchange.ts';
import type { CloningInUse, NativeSealer } from './native-cloner.ts';
import type { OwnKeys } from './own-keys.ts';
import type { Prover } from './prover.ts';
import type { PartitionReader } from './reader.ts';
import type { Restorer } from './restorer.ts';
import type { Sealer } from './sealer.ts';
import type { StoreStamps } from './store-stamps.ts';

export type { DeviceCloner, DeviceMove, ListedName } from './device-cloner.ts';
export type { ExactItem, ExactKey, ExactOpening, ExactOutcome, ExactSealer, OpenedKey } from './exact-sealer.ts';
export type { KeyExchange } from './key-exchange.ts';
export type {
  CloningInUse,
  DeviceItem,
  DeviceOutcome,
  NativeCloner,
  NativeItem,
  NativeObject,
  NativeOutcome,
  NativeSealer,
  PlacedObject,
  PlaceOutcome,
  TakenObject,
} from './native-cloner.ts';
export type { DomainKeyEnd, MarkedKey, OwnKey, OwnKeyRecord, OwnKeys, TrustedDelivery } from './own-keys.ts';
export type { Challenge, ProofCheck, ProofItem, ProofOutcome, Prover } from './prover.ts';
export type { HiddenObject, Look, PartitionReader } from './reader.ts';
export type { BatchOutcome, CreateItem, Refusal, Restorer, UnwrapItem } from './restorer.ts';
export type { DataOutcome, Sealer, WrapOutcome } from './sealer.ts';
export type { CaptureStamp, StoreStamps } from './store-stamps.ts';

/**
 * Promises of a token about a key, which it keeps or not. A sensitive key cannot be read, and an unextractable key
 * cannot be wrapped. DECRYPT and DERIVE count. A key that is not modifiable or copyable stays as it is. Only allowed
 * mechanisms are used. An unwrap template binds the keys that are unwrapped.
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

export interface MechanismsInUse {
  /** By which it wraps as RFC 5649 has it. */
  readonly keyWrap: number;
  /** By which it agrees on keys (ECDH), the preferred first. */
  readonly kdfs: readonly Kdf[];
  /** How it takes points. */
  readonly pointEncoding: 'raw' | 'der';
  /** Whether it takes secrets in the clear, which a token in FIPS mode does not. */
  readonly takesSecrets: boolean;
}

/** The token's description of itself, and the results of a self-test. */
export interface PartitionDescription {
  /** The token's own, or the configured one where the token reports none of its own. */
  readonly serial: string;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly firmware: string;
  /**
   * Whether the device gives the handle of a destroyed object to the next one: tried. Then no handle tells anything.
   */
  readonly reusesHandles?: true;
  /** Protections that the token does not keep: our own keys there are as much weaker. Empty on a sound one. */
  readonly unenforced: readonly Protection[];
  /** How the token does what sealing needs, as the self-test has found it or the configuration sets it. */
  readonly mechanisms?: MechanismsInUse;
  /** Absent where the partition clones no objects: none of its keys moves natively. */
  readonly cloning?: CloningInUse;
  /** The answers of other slots that do not tell their token: another HSM is away. Empty when all is well. */
  readonly silentSlots: readonly string[];
  /** Slots of the module in which a token could be made: room for one that keeps the identity key. */
  readonly freeSlots: number;
}

/** Everything that a partition can do. A caller that needs one capability asks for that one. */
export interface HsmProvider
  extends PartitionReader,
    OwnKeys,
    KeyExchange,
    Sealer,
    ExactSealer,
    NativeSealer,
    Restorer,
    Prover,
    StoreStamps {
  /** Reads only. Also runs the self-test of the mechanisms that sealing needs, once. @throws MECHANISM_MISSING */
  describe(): Promise<PartitionDescription>;

  /** Logs out, ends the session and the process behind it. Idempotent. */
  close(): Promise<void>;
}
