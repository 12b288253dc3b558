/** The queue as the coordinators use it: it forgets everything when it is wiped, and may deliver a job twice. */
import { AntipodeError } from '@antipode/runtime';
import type { Chance } from './chance.ts';
import type { SimulatedProcess, WorldClock } from './clock.ts';

/** As many jobs of a lane run side by side. */
const CONCURRENCY = 4;

export class SimulatedQueue {
  isAway = false;
  /** It takes jobs, and delivers none. */
  isMute = false;
  /** How probable it is that a job is delivered twice. */
  doubling = 0;
  readonly #clock: WorldClock;
  readonly #chance: Chance;
  #lanes = new Map<string, { running: number; waiting: string[] }>();
  #jobs = new Set<string>();

  constructor({ clock, chance }: { clock: WorldClock; chance: Chance }) {
    this.#clock = clock;
    this.#chance = chance;
  }

  /** Every job is gone, and so is the memory of those that run. */
  wipe(): void {
    this.#lanes = new Map();
    this.#jobs = new Set();
  }

  /** As one coordinator uses it. */
  wakeUps({ process, run }: { process: SimulatedProcess; run: (intentId: string) => Promise<void> }) {
    return {
      isUp: () => !this.isAway,
      lead: () => this.wipe(),
      standDown: () => {},
      close: async () => {},
      enqueue: async (intentId: string, lane: string) => {
        await this.#clock.sleep(this.#chance.fraction());
        await process.gate();
        if (this.isAway) throw new AntipodeError('QUEUE_UNAVAILABLE', 'the queue is away');
        if (this.#jobs.has(intentId)) return;
        this.#jobs.add(intentId);
        if (this.isMute) return;
        this.#push(intentId, lane, { process, run });
        if (this.doubling > 0 && this.#chance.happens(this.doubling))
          this.#clock.after(this.#chance.fraction() * 2_000, () => this.#push(intentId, lane, { process, run }));
      },
    };
  }

  #push(id: string, lane: string, worker: { process: SimulatedProcess; run: (id: string) => Promise<void> }): void {
    const found = this.#lanes.get(lane) ?? { running: 0, waiting: [] };
    this.#lanes.set(lane, found);
    found.waiting.push(id);
    const pump = (): void => {
      if (worker.process.hasEnded) return;
      const next = found.running < CONCURRENCY ? found.waiting.shift() : undefined;
      if (next === undefined) return;
      found.running += 1;
      void worker.process
        .gate()
        .then(() => worker.run(next))
        // It is on record already; the log of the process shows a defect.
        .catch(() => {})
        .finally(() => {
          found.running -= 1;
          this.#jobs.delete(next);
          pump();
        });
    };
    pump();
  }

  /** The jobs of a worker that is gone come back, as those of a stalled worker do. Here the reconciler wakes them again. */
  forget(): void {
    this.wipe();
  }
}
