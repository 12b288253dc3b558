/**
 * Sites that operators have retired. Their heartbeats are refused, so that a machine which somebody switches on years
 * later does not come back unnoticed. The records of the database are the truth; this is what the leader knows of them,
 * and of the agents that call all the same.
 */
import type { Clock } from '@antipode/runtime';
import { AntipodeError } from '@antipode/runtime';
import type { ForgottenSiteRecord } from '../store/tables/sites/forgotten-sites.ts';

/** Calls of an agent whose site is forgotten. Monotonic times. */
export interface LateCalls {
  /** Where it says that it can be reached. */
  readonly address: string;
  /** Where its connection comes from. */
  readonly peer: string;
  readonly sinceMs: number;
  readonly lastMs: number;
  readonly heartbeats: number;
}

/** An agent that was not heard for this long has been stopped. */
const CALLS_KEPT_MS = 60_000;

export class ForgottenSites {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #records = new Map<string, ForgottenSiteRecord>();
  readonly #calls = new Map<string, LateCalls>();
  /** How often this process has taken each site back: what is known of it from before is void then. */
  readonly #returns = new Map<string, number>();

  constructor({ clock }: { clock: Pick<Clock, 'monotonicMs'> }) {
    this.#clock = clock;
  }

  /** At the start of a leadership. */
  load(records: readonly ForgottenSiteRecord[]): void {
    this.#records.clear();
    this.#calls.clear();
    for (const record of records) this.#records.set(record.site, record);
  }

  add(record: ForgottenSiteRecord): void {
    this.#records.set(record.site, record);
  }

  remove(site: string): void {
    this.#records.delete(site);
    this.#calls.delete(site);
    this.#returns.set(site, this.returnsOf(site) + 1);
  }

  has(site: string): boolean {
    return this.#records.has(site);
  }

  returnsOf(site: string): number {
    return this.#returns.get(site) ?? 0;
  }

  /** By name, with the calls of an agent that goes on calling. */
  get all(): { readonly record: ForgottenSiteRecord; readonly calls: LateCalls | undefined }[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#records.values()]
      .sort((one, other) => (one.site < other.site ? -1 : 1))
      .map((record) => {
        const calls = this.#calls.get(record.site);
        return { record, calls: calls !== undefined && nowMs - calls.lastMs <= CALLS_KEPT_MS ? calls : undefined };
      });
  }

  /**
   * Takes note of a heartbeat of a forgotten site.
   * @throws SITE_FORGOTTEN
   */
  refuse(site: string, from: Pick<LateCalls, 'address' | 'peer'>): void {
    if (!this.has(site)) return;
    const lastMs = this.#clock.monotonicMs();
    const before = this.all.find(({ record }) => record.site === site)?.calls;
    this.#calls.set(site, {
      ...from,
      lastMs,
      sinceMs: before?.sinceMs ?? lastMs,
      heartbeats: (before?.heartbeats ?? 0) + 1,
    });
    this.require(site);
  }

  /** @throws SITE_FORGOTTEN */
  require(site: string): void {
    const record = this.#records.get(site);
    if (record === undefined) return;
    throw new AntipodeError('SITE_FORGOTTEN', `operator ${record.operator} has retired site ${site}`, {
      details: { site, operator: record.operator },
    });
  }
}
