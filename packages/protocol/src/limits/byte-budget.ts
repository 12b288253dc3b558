/** Bytes that may be held at once. A request that finds too few left waits, first come, first served. */

export interface Holding {
  /** Gives back what is more than `bytes`. */
  shrink(bytes: number): void;
  /** Gives back everything, or stops waiting. Idempotent. */
  end(): void;
}

export class ByteBudget {
  readonly #max: number;
  #free: number;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];

  constructor(max: number) {
    this.#max = max;
    this.#free = max;
  }

  get isIdle(): boolean {
    return this.#free === this.#max && this.#waiting.length === 0;
  }

  /** Calls `go` as soon as so many are free, which may be at once. More than the whole budget counts as the whole. */
  take(wanted: number, go: () => void): Holding {
    let held = 0;
    const bytes = Math.min(wanted, this.#max);
    const place = {
      bytes,
      go: (): void => {
        held = bytes;
        go();
      },
    };
    this.#waiting.push(place);
    this.#serve();
    return {
      shrink: (to) => {
        const surplus = Math.max(0, held - to);
        held -= surplus;
        this.#free += surplus;
        this.#serve();
      },
      end: () => {
        const index = this.#waiting.indexOf(place);
        if (index >= 0) this.#waiting.splice(index, 1);
        this.#free += held;
        held = 0;
        this.#serve();
      },
    };
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined && next.bytes <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.bytes;
      next.go();
    }
  }
}
