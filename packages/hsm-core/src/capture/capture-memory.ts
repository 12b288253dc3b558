/** What the last capture of a partition leaves for the next one, in this process and nowhere else. */
import type { Handle, ObjectId } from '../model/object.ts';

export interface Remembered {
  /** The first look of that capture: what has not changed since is as that generation has it. */
  readonly look: number;
  /** What decided, besides the objects themselves, which of them that capture took. */
  readonly filterKey: string;
  readonly objectIds: ReadonlyMap<Handle, ObjectId>;
}

/**
 * Which handle is which object, in the generation that was captured last through one provider. It counts only while that
 * generation is the newest: one that was signed and then not stored leaves no trace here. Make a new one with a new provider.
 */
export class CaptureMemory {
  #generation: string | undefined;
  #remembered: Remembered | undefined;

  /** What is known of the objects of a generation: nothing, unless it is the one remembered. */
  of(generation: string | undefined): Remembered | undefined {
    return generation === this.#generation ? this.#remembered : undefined;
  }

  remember(generation: string, remembered: Remembered): void {
    this.#generation = generation;
    this.#remembered = remembered;
  }

  /** The partition was changed by an apply: objects are recognised anew next time. */
  forget(): void {
    this.#remembered = undefined;
  }
}
