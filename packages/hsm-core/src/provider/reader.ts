/** Reading what lies in the partition, and taking single objects away again. */
import type { Handle, ObjectId, ObservedObject } from '../model/object.ts';

/** An object that lies in the store of a token, and that the token does not show. */
export interface HiddenObject {
  /** Names it among all others of this store, at every look. No entry has this id. */
  readonly id: ObjectId;
  /** There is something of it. A killed process leaves files in which nothing is. */
  readonly hasContent: boolean;
  /** The look before saw it too. Otherwise another process may be making it. */
  readonly seenTwice: boolean;
}

/** The result of one look at a partition, or at some of its objects. */
export interface Look {
  /** Counts the looks of one provider, from 1. */
  readonly number: number;
  /** All that is there of what was looked at, as a list of {@link Handle}. */
  readonly handles: BigUint64Array;
  /** Of these, what was another or was not there in the look `since`: everything where none was named. */
  readonly objects: readonly ObservedObject[];
  /**
   * Of a look at everything: what the token does not show of its store. Files are damaged, or this user must not read
   * them. Absent where nobody sees the store, and where nothing is hidden.
   */
  readonly hidden?: readonly HiddenObject[];
  /**
   * Of a look at everything: groups for which the store has an older stamp than this agent has put there last
   * (store-stamps.ts). Absent where there is none.
   */
  readonly olderFor?: readonly string[];
}

export interface PartitionReader {
  /**
   * Reads all token objects, or those with `handles` without a search for others. The token is asked for everything
   * each time; `since` only keeps what the caller knows from an earlier look from being told again. Looks are kept at
   * least 250 ms apart, whoever asks: tight scans make key generation in other processes fail, and show their half-made
   * keys.
   */
  look(options: { since?: number; handles?: readonly Handle[] }): Promise<Look>;
  /** A look that trusts nothing: everything, told whole. */
  inventory(): Promise<ObservedObject[]>;
  /**
   * Reads objects again without a search; `undefined` where the object is gone. `publicHalves` are expected of private
   * keys, in the order of the handles. Each is believed only when the key's own use bears it out. It saves a search
   * that costs a hundred times as much.
   */
  read(
    handles: readonly Handle[],
    publicHalves?: readonly (Uint8Array | undefined)[],
  ): Promise<(ObservedObject | undefined)[]>;
  /**
   * Destroys token objects. Objects that are already gone do not count as an error. Returned are those that are left:
   * the token keeps them, or they are not what was read under their handle. `readDigests`, in the order of the handles,
   * say what that was: each object is read again right before, since a device may have given its handle to another.
   * Without one, nothing is compared.
   */
  destroy(handles: readonly Handle[], readDigests?: readonly (string | undefined)[]): Promise<Handle[]>;

  /**
   * Takes names and uses from token objects that the token does not destroy, so that no program finds them by a name or
   * can use them. Compares as {@link destroy} does. Returned are those that still have their names: CKA_MODIFIABLE is
   * false, say.
   */
  hide(handles: readonly Handle[], readDigests: readonly string[]): Promise<Handle[]>;
}
