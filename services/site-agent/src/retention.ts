/**
 * What of the store is not kept for ever. Each changed capture brings a whole manifest: of 10,000 keys some 4 MB, hundreds of
 * times a day. A manifest goes when nobody may ask for it any more. Sealed objects stay: they are small, and a manifest that
 * is kept, or a deleted key that somebody wants back, may need them.
 */
import type { Log } from '@antipode/runtime';
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

  /** Each manifest goes in a transaction of its own; what is kept is read at the same moment. */
  async pass(signal?: AbortSignal): Promise<void> {
    for (const [group, needed] of this.#needed) {
      let retired = 0;
      while (retired < RETIRED_MAX && signal?.aborted !== true) {
        const digest = this.#oldestOf(group, needed);
        if (digest === undefined) break;
        this.#ports.store.retire(digest);
        retired += 1;
        // Others have their turn: a large manifest takes its time to delete.
        await Promise.resolve();
      }
      if (retired > 0) this.#ports.log.info('old generations have been taken from the store', { group, retired });
    }
  }

  #oldestOf(group: string, needed: ReadonlySet<string>): string | undefined {
    const { journal, store } = this.#ports;
    const kept = new Set<string | undefined>([
      ...needed,
      ...KINDS.map((kind) => journal.head(group, kind)),
      ...journal.divergent(group).map(({ digest }) => digest),
    ]);
    return store
      .list(group)
      .slice(NEWEST_KEPT)
      .findLast(({ digest }) => !kept.has(digest))?.digest;
  }
}
