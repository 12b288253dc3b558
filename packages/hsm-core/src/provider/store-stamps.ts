/**
 * Stamps of captures in the store of a token. An older copy of the store in the place of the one in use looks as if
 * programs had deleted what was made since, and had made again what was deleted. It also has the stamp of an earlier
 * capture, and that tells the two apart.
 */

/** A capture that went on. */
export interface CaptureStamp {
  readonly group: string;
  readonly epoch: bigint;
  readonly number: bigint;
  /** The look of this capture found an older stamp, and nothing speaks against the store all the same. */
  readonly replacesOlder: boolean;
}

export interface StoreStamps {
  /**
   * Called after a capture has gone on, with its newest generation. Returns whether the store has this stamp now: it
   * does not if it cannot be written, or if an older copy has come into its place since the look. Undefined where nobody
   * sees the store.
   */
  stampStore(stamp: CaptureStamp): Promise<boolean | undefined>;
}
