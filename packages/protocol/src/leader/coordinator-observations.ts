/** The coordinators of a configuration, as they were found when they were last called. */
import { type Clock, elapsedMs } from '@antipode/runtime';
import type { CoordinatorAddress } from './coordinators.ts';

/** The outcome of a call. */
export type CoordinatorOutcome = 'leads' | 'stands-by' | 'silent';

export interface CoordinatorObservation extends CoordinatorAddress {
  readonly outcome: CoordinatorOutcome;
  /** For how long every call has ended like the last one. */
  readonly sinceMs: number;
  /** Since its last answer; undefined for none. */
  readonly answeredMs: number | undefined;
}

interface Observed {
  readonly outcome: CoordinatorOutcome;
  /** Elapsed time of this process. */
  readonly since: number;
  readonly answered: number | undefined;
}

export class CoordinatorObservations {
  readonly #coordinators: readonly CoordinatorAddress[];
  readonly #clock: Clock;
  readonly #observed = new Map<string, Observed>();

  constructor({ coordinators, clock }: { coordinators: readonly CoordinatorAddress[]; clock: Clock }) {
    this.#coordinators = coordinators;
    this.#clock = clock;
  }

  note(id: string, outcome: CoordinatorOutcome): void {
    const now = elapsedMs(this.#clock);
    const before = this.#observed.get(id);
    this.#observed.set(id, {
      outcome,
      since: before?.outcome === outcome ? before.since : now,
      answered: outcome === 'silent' ? before?.answered : now,
    });
  }

  /** Those that were called, in the order of the configuration. */
  get all(): readonly CoordinatorObservation[] {
    const now = elapsedMs(this.#clock);
    const ago = (at: number): number => Math.max(0, Math.round(now - at));
    return this.#coordinators.flatMap((coordinator) => {
      const observed = this.#observed.get(coordinator.id);
      if (observed === undefined) return [];
      const { outcome, since, answered } = observed;
      const answeredMs = answered === undefined ? undefined : ago(answered);
      return [{ ...coordinator, outcome, sinceMs: ago(since), answeredMs }];
    });
  }
}
