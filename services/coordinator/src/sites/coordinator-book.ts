/**
 * The reports of the sites on the coordinators in their configuration: where each is called, and whether it answers. For
 * people only. Nothing is decided by it: the database says who leads.
 */
import { type CoordinatorReport, isName, type KnownCoordinator } from '@antipode/protocol';
import { isAddress } from '@antipode/runtime';

/** More than anybody runs. A site that names more is not believed. */
const COORDINATORS_MAX = 16;

export interface SiteReport {
  readonly site: string;
  /** Monotonic time at which it came. */
  readonly atMs: number;
  readonly coordinators: readonly CoordinatorReport[];
}

export class CoordinatorBook {
  readonly #addresses = new Map<string, string>();
  readonly #reports = new Map<string, SiteReport>();

  /** A site has asked whether this coordinator leads, or has sent a heartbeat. */
  learn(coordinators: readonly Pick<KnownCoordinator, 'coordinator' | 'address'>[]): void {
    for (const { coordinator, address } of coordinators.slice(0, COORDINATORS_MAX)) {
      const isFull = this.#addresses.size >= COORDINATORS_MAX && !this.#addresses.has(coordinator);
      if (isName(coordinator) && isAddress(address) && !isFull) this.#addresses.set(coordinator, address);
    }
  }

  /** With a heartbeat: in place of what the site said before. */
  report({ site, atMs, coordinators }: SiteReport): void {
    this.learn(coordinators);
    const known = coordinators.slice(0, COORDINATORS_MAX).filter(({ coordinator }) => this.#addresses.has(coordinator));
    this.#reports.set(site, { site, atMs, coordinators: known });
  }

  /** Where sites call it; undefined while none has said so. */
  addressOf(coordinator: string): string | undefined {
    return this.#addresses.get(coordinator);
  }

  get reports(): readonly SiteReport[] {
    return [...this.#reports.values()];
  }
}
