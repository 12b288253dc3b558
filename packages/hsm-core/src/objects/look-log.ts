/**
 * The memory of a provider's looks, so that the next one reports only changes: for each handle the digest of the last
 * read, and in which look it became that. The answer is right for every caller and every look that it names: several
 * may ask in turn.
 */
import type { Handle } from '../model/object.ts';

interface Seen {
  readDigest: string;
  changedIn: number;
  seenIn: number;
}

export class LookLog {
  #number = 0;
  readonly #seen = new Map<Handle, Seen>();

  /** Begins a look, and numbers it. */
  begin(): number {
    this.#number += 1;
    return this.#number;
  }

  /** Whether the object was another in the look `since`, or not there; true where that is none of ours. */
  hasChanged(handle: Handle, readDigest: string, since = 0): boolean {
    const seen = this.#seen.get(handle);
    if (seen === undefined) {
      this.#seen.set(handle, { readDigest, changedIn: this.#number, seenIn: this.#number });
      return true;
    }
    seen.seenIn = this.#number;
    if (seen.readDigest !== readDigest) {
      seen.readDigest = readDigest;
      seen.changedIn = this.#number;
    }
    return since < 1 || since >= this.#number || seen.changedIn > since;
  }

  /** The object is gone: should its handle come back, it is new. */
  forget(handle: Handle): void {
    this.#seen.delete(handle);
  }

  /** Ends a look at everything: forgets what it did not see, and returns that. */
  endWhole(): Handle[] {
    const gone = [...this.#seen].filter(([, { seenIn }]) => seenIn !== this.#number).map(([handle]) => handle);
    for (const handle of gone) this.#seen.delete(handle);
    return gone;
  }
}
