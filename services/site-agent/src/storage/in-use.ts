/**
 * Generations that somebody works with right now: being fetched, waiting to be applied, rehearsed, about to be stored,
 * or served to another site. None of their parts is retired or erased, whether their manifest is stored already or not.
 */
import type { SealedGeneration } from '@antipode/hsm-core';

/** A peer asks for the manifest, and then for sealed objects, a page at a time: a pull may last 10 minutes (transfer.ts). */
const SERVED_MS = 30 * 60_000;

export class InUse {
  readonly #held = new Set<{ readonly sealed: SealedGeneration }>();
  readonly #servedMs = new Map<string, number>();
  readonly #changed: () => void;

  /** @param changed called when something is used that was not before */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Until the function that is returned is called. */
  hold(sealed: SealedGeneration): () => void {
    const one = { sealed };
    this.#held.add(one);
    this.#changed();
    return () => void this.#held.delete(one);
  }

  async during<T>(sealed: SealedGeneration, work: () => Promise<T>): Promise<T> {
    const release = this.hold(sealed);
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** Somebody has asked for it, and will ask for more. */
  served(digest: string, nowMs: number): void {
    for (const [other, sinceMs] of this.#servedMs) if (nowMs - sinceMs > SERVED_MS) this.#servedMs.delete(other);
    this.#servedMs.set(digest, nowMs);
    this.#changed();
  }

  has(digest: string, nowMs: number): boolean {
    if ([...this.#held].some(({ sealed }) => sealed.digest === digest)) return true;
    const servedMs = this.#servedMs.get(digest);
    return servedMs !== undefined && nowMs - servedMs <= SERVED_MS;
  }

  get held(): SealedGeneration[] {
    return [...this.#held].map(({ sealed }) => sealed);
  }
}
