/**
 * The line of calls in front of a token: one at a time, in their order. A call that waits for others than the token can
 * leave the line meanwhile, and comes back at its end.
 */
export type Beside = <T>(work: () => Promise<T>) => Promise<T>;

export class Line {
  #tail: Promise<void> = Promise.resolve();

  async run<T>(work: (beside: Beside) => Promise<T>): Promise<T> {
    let leave = await this.#enter();
    try {
      return await work(async (outside) => {
        leave();
        try {
          return await outside();
        } finally {
          leave = await this.#enter();
        }
      });
    } finally {
      leave();
    }
  }

  /** Resolves when the turn has come, with what ends it. */
  async #enter(): Promise<() => void> {
    const { promise: left, resolve: leave } = Promise.withResolvers<void>();
    const before = this.#tail;
    this.#tail = before.then(() => left);
    await before;
    return leave;
  }
}
