/**
 * Wake-ups that the queue has taken and delivers to nobody. A queue that was paused with a tool of its own does that. So
 * does one whose workers have no permission to read. The database is the truth, so such an operation runs without the
 * queue (I8).
 */
import type { Clock } from '@antipode/runtime';
import type { Intent } from '../store/tables/intents.ts';

type Waiting = Pick<Intent, 'id' | 'site' | 'updatedMs'>;

export interface Patience {
  /** For an operation without a site of its own. Its lane has room for all of its kind. */
  readonly ms: number;
  /** For one of a site. It may wait for others there, which take as long as an HSM takes. */
  readonly ofSiteMs: number;
}

export class Undelivered {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #patience: Patience;
  readonly #since = new Map<string, { readonly updatedMs: number; readonly sinceMs: number }>();

  constructor({ clock, patience }: { clock: Pick<Clock, 'monotonicMs'>; patience: Patience }) {
    this.#clock = clock;
    this.#patience = patience;
  }

  /**
   * Those that have waited too long without any progress, each since it was among the waiting first. All others are
   * forgotten: they run, or their time has not come.
   */
  overdueOf<One extends Waiting>(waiting: readonly One[]): One[] {
    const nowMs = this.#clock.monotonicMs();
    const ids = new Set(waiting.map(({ id }) => id));
    for (const id of this.#since.keys()) if (!ids.has(id)) this.#since.delete(id);
    return waiting.filter(({ id, site, updatedMs }) => {
      const known = this.#since.get(id);
      if (known?.updatedMs !== updatedMs) {
        this.#since.set(id, { updatedMs, sinceMs: nowMs });
        return false;
      }
      return nowMs - known.sinceMs >= (site === '' ? this.#patience.ms : this.#patience.ofSiteMs);
    });
  }
}
