/** Keeps what one capture of a partition leaves for the next one, in this process only. */
import type { Handle, ObjectId } from '../model/object.ts';
import { Backoff } from '../objects/backoff.ts';

export interface Remembered {
  /** Number of the first look of that capture. An object that did not change since is as that generation has it. */
  readonly look: number;
  /** What decided, besides the objects themselves, which of them that capture took. */
  readonly filterKey: string;
  readonly objectIds: ReadonlyMap<Handle, ObjectId>;
  /** Uncaptured objects that the token may give next time, although nothing in the partition changes until then. */
  readonly mayPass: ReadonlySet<Handle>;
  /** Objects that lay in the store, and that the token did not show. */
  readonly hidden: ReadonlySet<ObjectId>;
}

/**
 * Which handle is which object, in the generation that was last captured through one provider. It counts only while
 * that generation is the newest. So a generation that was signed and never stored leaves no trace here.
 *
 * A new provider needs a new memory.
 */
export class CaptureMemory {
  readonly #backoff = new Backoff();
  #asksAgain = true;
  #generation: string | undefined;
  #remembered: Remembered | undefined;

  /** Returns undefined for any generation but the remembered one. */
  of(generation: string | undefined): Remembered | undefined {
    return generation === this.#generation ? this.#remembered : undefined;
  }

  /**
   * Called once for each capture. Whether it asks the token again for what it failed to give. Each time may cost an RSA
   * key, so while the token goes on failing, ever fewer captures ask.
   */
  asksAgain(): boolean {
    this.#asksAgain = this.#backoff.isDue();
    return this.#asksAgain;
  }

  remember(generation: string, remembered: Remembered): void {
    const known = this.#remembered?.mayPass;
    const isFresh = [...remembered.mayPass].some((handle) => known?.has(handle) !== true);
    if (isFresh || remembered.mayPass.size === 0) this.#backoff.reset();
    if (isFresh || (this.#asksAgain && remembered.mayPass.size > 0)) this.#backoff.failed();
    this.#generation = generation;
    this.#remembered = remembered;
  }

  /** Called when an apply has changed the partition. The next capture recognises every object again. */
  forget(): void {
    this.#remembered = undefined;
  }
}
