/** Counts the work on the entries of a manifest. A slice of it is over after some milliseconds (slices.ts of runtime). */
const ENTRIES_A_SLICE = 500;

/** One certificate may be larger than that. It is a slice of its own. */
const BYTES_A_SLICE = 1024 * 1024;

export class Slice {
  #entries = 0;
  #bytes = 0;

  /** Counts one entry. True if everything else is to go on now. */
  isOverAfter(bytes: number): boolean {
    this.#entries += 1;
    this.#bytes += bytes;
    if (this.#entries < ENTRIES_A_SLICE && this.#bytes < BYTES_A_SLICE) return false;
    [this.#entries, this.#bytes] = [0, 0];
    return true;
  }
}
