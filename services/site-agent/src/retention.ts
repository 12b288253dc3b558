/**
 * What of the store is not kept for ever. Each changed capture brings a whole manifest: of 10,000 keys some 4 MB, hundreds of
 * times a day. A manifest goes when nobody may ask for it any more. Sealed objects stay: they are small, and a manifest that
 * is kept, or a deleted key that somebody wants back, may need them.
 */
import { inSlices, type Log } from '@antipode/runtime';
import type { GenerationStore } from './generation-store.ts';
import type { HeadKind, Journal } from './journal.ts';

const KINDS = ['captured', 'applied', 'staged'] as const satisfies readonly HeadKind[];
/** More than any member is behind while it still catches up, and what a rehearsal under way may be reading. */
const NEWEST_KEPT = 16;
/** A pass of an agent that has kept everything for a year ends in time all the same. */
const RETIRED_MAX = 200;

export interface RetentionPorts {
  readonly journal: Journal;
  readonly store: GenerationStore;
  readonly log: Log;
}

export class Retention {
  readonly #ports: RetentionPorts;
  /** By group, what some member has acknowledged last, as the coordinator says. */
  readonly #needed = new Map<string, ReadonlySet<string>>();

  constructor(ports: RetentionPorts) {
    this.#ports = ports;
  }

  /** The coordinator's word on what must stay. Without it, nothing of the group goes. */
  learn(group: string, digests: readonly string[]): void {
    this.#needed.set(group, new Set(digests));
  }

  /** Each manifest goes in a transaction of its own, and is compared with what is kept at that very moment. */
  async pass(signal?: AbortSignal): Promise<void> {
    for (const group of this.#needed.keys()) {
      if (signal?.aborted === true) return;
      const retired = await inSlices(this.#retiring(group));
      if (retired > 0) this.#ports.log.info('old generations have been taken from the store', { group, retired });
    }
  }

  /** In slices: a large manifest takes its time to delete, and leases and heartbeats must not wait for two hundred. */
  *#retiring(group: string): Generator<void, number> {
    const { store } = this.#ports;
    let retired = 0;
    // The oldest of them first.
    const old = store.list(group).slice(NEWEST_KEPT).reverse();
    for (const { digest } of old) {
      if (retired >= RETIRED_MAX) break;
      if (this.#isKept(group, digest)) continue;
      store.retire(digest);
      retired += 1;
      yield;
    }
    return retired;
  }

  #isKept(group: string, digest: string): boolean {
    const { journal } = this.#ports;
    return (
      this.#needed.get(group)?.has(digest) === true ||
      KINDS.some((kind) => journal.head(group, kind) === digest) ||
      journal.divergent(group).some((object) => object.digest === digest) ||
      // What was set aside is listed there, and nowhere else.
      journal.asides(group).includes(digest)
    );
  }
}
