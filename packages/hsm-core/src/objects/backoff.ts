/**
 * Repeats something that failed at later opportunities, such as captures, ever more seldom: at the next one, then at the
 * second, fourth and eighth after it, and so on.
 */
export class Backoff {
  #failures = 0;
  #toSkip = 0;

  /** Called once for each opportunity. Whether to try. */
  isDue(): boolean {
    if (this.#toSkip === 0) return true;
    this.#toSkip -= 1;
    return false;
  }

  failed(): void {
    this.#toSkip = Math.min(2 ** this.#failures, GAP_MAX) - 1;
    this.#failures += 1;
  }

  /** The next failure is the first one again. */
  reset(): void {
    this.#failures = 0;
    this.#toSkip = 0;
  }
}

/** In opportunities. */
const GAP_MAX = 64;
