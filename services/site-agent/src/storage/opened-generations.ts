/**
 * Opened generations by digest. The latest few are kept, up to a limit of bytes, so that memory is bounded however many
 * groups and objects a site has. A generation that somebody else still uses is found as well, so that none is in memory
 * twice.
 */
import type { SealedGeneration } from '@antipode/hsm-core';

/**
 * Room for two generations of 10,000 objects, as a round needs: the one applied last, and the next. A larger one is
 * kept alone.
 */
const KEPT_BYTES_MAX = 6 * 1024 * 1024;

/** The least that an opened generation has; its owner may need more. */
type Kept = Pick<SealedGeneration, 'digest' | 'signed'>;

export class OpenedGenerations<Opened extends Kept = SealedGeneration> {
  readonly #keptBytesMax: number;
  /** The latest used last. */
  readonly #kept = new Map<string, Opened>();
  readonly #used = new Map<string, WeakRef<Opened>>();
  readonly #opening = new Map<string, Promise<Opened>>();
  readonly #collected = new FinalizationRegistry<string>((digest) => {
    if (this.#used.get(digest)?.deref() === undefined) this.#used.delete(digest);
  });

  constructor({ keptBytesMax = KEPT_BYTES_MAX }: { keptBytesMax?: number } = {}) {
    this.#keptBytesMax = keptBytesMax;
  }

  /** Digests of those that are kept here, the latest used last. */
  get kept(): string[] {
    return [...this.#kept.keys()];
  }

  /** A generation that is opened already. Asking here does not count as a use. */
  peek(digest: string): Opened | undefined {
    return this.#used.get(digest)?.deref();
  }

  /** The generation is not in the store any more. A user that holds it keeps it. */
  forget(digest: string): void {
    this.#kept.delete(digest);
    this.#used.delete(digest);
  }

  /**
   * Opens a generation once, however many ask meanwhile. An error of `open` goes to all of them, and is not remembered.
   */
  async get(digest: string, open: () => Promise<Opened>): Promise<Opened> {
    const known = this.#used.get(digest)?.deref();
    if (known !== undefined) return this.keep(known);
    const opening =
      this.#opening.get(digest) ??
      open()
        .then((sealed) => this.keep(sealed))
        .finally(() => this.#opening.delete(digest));
    this.#opening.set(digest, opening);
    return opening;
  }

  keep(sealed: Opened): Opened {
    const { digest } = sealed;
    if (this.#used.get(digest)?.deref() !== sealed) {
      this.#used.set(digest, new WeakRef(sealed));
      this.#collected.register(sealed, digest);
    }
    this.#kept.delete(digest);
    this.#kept.set(digest, sealed);
    let bytes = [...this.#kept.values()].reduce((sum, { signed }) => sum + signed.length, 0);
    for (const [oldest, { signed }] of this.#kept) {
      if (bytes <= this.#keptBytesMax || oldest === digest) break;
      this.#kept.delete(oldest);
      bytes -= signed.length;
    }
    return sealed;
  }
}
