/**
 * The native way out of a partition and back, for keys that no token wraps (ADR 0055). A device gives such a key only to
 * another device of its own kind and of the same cloning domain.
 *
 * There are two ports. {@link NativeCloner} is the part of one kind of device. It runs in the worker process, and its
 * blobs are as the device gives them. {@link NativeSealer} is what a provider offers: the same blobs, encrypted in the
 * token under a data key. Only those leave the worker.
 */
import type { Attributes } from '../model/attributes.ts';
import type { Handle, KeyType, ObjectClass, ObjectId, ObservedObject, UncapturedReason } from '../model/object.ts';
import type { Vector } from '../model/vector.ts';
import type { BatchOutcome, Refusal } from './restorer.ts';
import type { CaptureStamp } from './store-stamps.ts';

export const CLONING_DOMAIN_BYTES = 32;

/** How a partition clones, as it says of itself. */
export interface CloningInUse {
  /** The kind of cloner, for people: `softhsm`. */
  readonly kind: string;
  /** `device`: no blob leaves it. Devices copy objects among themselves (device-cloner.ts). */
  readonly shape: 'blobs' | 'device';
  /**
   * Names the cloning domain. Two partitions with the same name take objects of each other. It is not a secret, and tells
   * nothing of one. Where no device shows an identifier of a domain, people name it, and the devices refuse what does not
   * fit.
   */
  readonly domain: Uint8Array;
}

/** An object by its signed manifest. A blob that makes anything else is refused. */
export interface NativeObject {
  readonly objectClass: ObjectClass;
  readonly keyType?: KeyType;
  /** 0 where the source does not tell. */
  readonly sizeBits: number;
  readonly attributes: Attributes;
  /** Of a private key. */
  readonly publicHalf?: Uint8Array;
}

/** One object as its device gives it, or why it does not. The blob may have names and public attributes in the clear. */
export type TakenObject =
  | { readonly handle: Handle; readonly blob: Uint8Array }
  | { readonly handle: Handle; readonly reason: UncapturedReason; readonly returnValue?: string };

/** One object to be made as its device gave it. */
export interface PlacedObject extends NativeObject {
  readonly blob: Uint8Array;
  /** Names its entry: no other entry has the same bytes. */
  readonly entry: Uint8Array;
}

/** An object of the store that the token does not show. */
export interface StoredUnseen {
  readonly id: ObjectId;
  readonly hasContent: boolean;
  /** It is sound, and of this token. A module that was loaded afresh would show it. */
  readonly isSound: boolean;
}

export interface PlaceOutcome extends BatchOutcome {
  /**
   * Each object as the token has shown it since it was made, in the order of `handles`. Undefined where the cloner did not
   * have to look: then the caller does.
   */
  readonly seen?: readonly (ObservedObject | undefined)[];
}

/**
 * One kind of device. Nothing of it overlaps: the worker calls one after the other. Calls are synchronous where the
 * device's are, so all of them may answer at once or later.
 */
export interface NativeCloner {
  /**
   * The device gives out blobs, and takes them in. The other shape, where the destination sees both devices, is in
   * device-cloner.ts.
   */
  readonly shape: 'blobs';
  readonly kind: string;
  /** See {@link CloningInUse.domain}. {@link CLONING_DOMAIN_BYTES} bytes, the same at every call. */
  domain(): Promise<Uint8Array>;
  /**
   * The objects of these handles, each as one blob that holds this object and no other. One odd object is an outcome,
   * and stops nothing. A blob is consistent, even if other processes write to the token meanwhile: it is the object as
   * it was at one moment.
   */
  take(handles: readonly Handle[]): Promise<TakenObject[]>;
  /**
   * Makes objects from their blobs, each whole or not at all, whatever interrupts it. Stops at the first that fails: what
   * was made before it is returned beside the error. Overwrites nothing, and destroys only what this very call has made.
   * A repeat for the same entry and blob makes no second object, and returns the one that is there.
   *
   * Looks at each blob before it makes anything of it: refuses one of another cloning domain (CLONING_DOMAIN_OTHER), and
   * one that it cannot read or that holds no object or several (BLOB_INVALID). Where the blob itself tells what it makes, a
   * cloner compares that with the item first, and refuses what differs (NATIVE_MISMATCH). The caller
   * compares what the token shows of it in any case.
   */
  place(items: readonly PlacedObject[]): Promise<PlaceOutcome>;
  /**
   * Objects of the token's store that it does not show. `shown` are all that it shows. Absent where nobody sees the store.
   */
  stored?(shown: readonly Handle[]): Promise<readonly StoredUnseen[]>;
  /** See {@link StoreStamps}. Absent where nobody sees the store. */
  readonly stamps?: {
    /** Groups whose stamp in the store is older than the last that this agent has put there, or missing. */
    older(): readonly string[];
    put(stamp: CaptureStamp): boolean;
  };
  /** Takes back objects that the last {@link place} has returned by these handles. Leaves every other object alone. */
  discard(handles: readonly Handle[]): Promise<void>;
}

/** An object, encrypted in the token as `iv || ciphertext || tag` (AES-GCM), or why it was not. */
export type NativeOutcome =
  | { readonly handle: Handle; readonly ciphertext: Uint8Array }
  | { readonly handle: Handle; readonly reason: UncapturedReason; readonly returnValue?: string };

/** An object to be made. Its ciphertext is bound to its `aad`. */
export interface NativeItem extends NativeObject {
  readonly ciphertext: Uint8Array;
  readonly aad: Uint8Array;
}

/** An object that a device is to copy. */
export interface DeviceItem extends NativeObject {
  /** Of a secret key. They tell apart objects that are alike in everything else. */
  readonly vectors?: readonly Vector[];
  /** The object that is here with the same value, and with other attributes. No device copies it a second time. */
  readonly replaces?: Handle;
}

/** Objects that devices are to copy into a partition. */
export interface DeviceOrder {
  readonly domainKey: Handle;
  /** No device is asked without one: then only objects that are here get the attributes of their items. */
  readonly source?: string;
  readonly items: readonly DeviceItem[];
  /** Ends the copy at once. Whatever has arrived by then is compared as ever, and stays where it fits. */
  readonly signal?: AbortSignal;
  /** Lets other calls of the provider run while the devices copy. Only the worker of a partition passes one. */
  readonly meanwhile?: <T>(copying: () => Promise<T>) => Promise<T>;
}

/** An object that was copied, compared and not used yet, or why there is none. */
export type DeviceOutcome = { readonly handle: Handle } | Refusal;

/** {@link PartitionDescription.cloning} says whether a provider can do any of it. */
export interface NativeSealer {
  /**
   * Takes objects natively and encrypts them in the token, each bound to its `aad`. An object that the device does not
   * give is an outcome. Without a cloner, each is `not-wrappable`.
   */
  takeNative(options: {
    dataKey: Handle;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<NativeOutcome[]>;
  /**
   * Makes objects from their native blobs. Stops at the first that fails, like every batch of a {@link Restorer}.
   *
   * Each object is read back and compared with its item in every attribute, including those that only a clone keeps:
   * CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_KEY_GEN_MECHANISM. One that differs in anything is
   * destroyed at once (NATIVE_MISMATCH). Without a cloner the first item fails (NATIVE_UNAVAILABLE).
   */
  putNative(options: { dataKey: Handle; items: readonly NativeItem[] }): Promise<BatchOutcome>;
  /**
   * Has the devices copy objects of another partition: of the one with this serial number, else of the others that this
   * client sees. Answers in the order of the items.
   *
   * Whatever has arrived is compared with the items in every attribute, as {@link putNative} does. An object that fits none
   * is destroyed where this call has surely brought it, and stays where anybody else may have made it. Its item is
   * NATIVE_MISMATCH.
   *
   * An object that an item replaces gets the attributes of the item, and keeps its handle. Where the token does not take
   * them all, it stays as it is, and its item is NATIVE_MISMATCH.
   *
   * Other codes: NATIVE_UNAVAILABLE, NATIVE_SOURCE_UNREACHED, NATIVE_NOT_CLONED, CLONING_DOMAIN_OTHER, HSM_FULL.
   */
  cloneNative(options: DeviceOrder): Promise<readonly DeviceOutcome[]>;
}
